"""Mailboxes, actors, supervisors, breakers, clocks: the actor system, free of market data."""
