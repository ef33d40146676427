"""Soak: two days of a market in minutes, through the real actors, with all that goes wrong, against the truth."""
