"""The gateway emulator: a process that speaks the real protocol, for demo, tests and other people's clients."""
