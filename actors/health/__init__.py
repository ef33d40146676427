"""Health as one fold over what the others report."""
