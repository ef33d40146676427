"""Errors the face raises, each a sentence: what, where, what to do. `exit_code` is what the command line ends with."""

from __future__ import annotations


class TickloomError(Exception):
    """Base of what a session or a replay can raise by itself."""

    exit_code = 1


class UsageError(TickloomError):
    """Something asked for cannot be done as asked: settings, contracts, folders."""

    exit_code = 2


class AuthenticationError(TickloomError):
    """The gateway refused the credentials."""

    exit_code = 3


class FeedLostError(TickloomError):
    """The gateway cannot be reached, or has been lost for good."""

    exit_code = 4


class LogDamagedError(TickloomError):
    """A message log that cannot be read as it is."""

    exit_code = 5


class Cancelled(TickloomError):
    """The caller called it off while it was being started; nothing of it is left."""

    exit_code = 130
