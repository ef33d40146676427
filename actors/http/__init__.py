"""The http actor: dashboard, JSON API, health and metrics, on loopback only and read-only."""
