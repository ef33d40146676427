"""Log-in, validation and renewal of the token."""
