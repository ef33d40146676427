"""Account events to whoever subscribed."""
