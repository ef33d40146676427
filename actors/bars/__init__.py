"""Bars: reduction, roll-up, the life of a bar, and the actors around them."""
