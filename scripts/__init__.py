"""The command line, the gateway emulator, and set-up entry points."""
