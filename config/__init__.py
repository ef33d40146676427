"""Typed settings and their sources, sessions and calendars, secrets, feature flags."""
