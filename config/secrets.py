"""The one opaque type a token, a key or a connection token may live in, and the backstop for what slips past it.

A `Secret` shows a mask wherever something prints it and refuses every way of being copied out: pickling, copying,
encoding. Its text leaves by `reveal()` alone, which belongs on the line that builds a header and nowhere else.

The method is the type. Redaction of text (`redact`, `RedactingFilter`, `redacting_processor`) is the backstop for
words others wrote: transport errors, access logs, tracebacks. Where each was seen to leak is in the protocol notes
("Where tokens leak"). Nothing here logs, reads the environment or keeps state beyond what the caller hands in.
"""

from __future__ import annotations

import hmac
import logging
import re
import traceback
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any, Final, NoReturn, final
from urllib.parse import quote

MASK: Final = "****"
"""What stands where a secret would have stood."""


@final
class Secret:
    """Text that must not be seen: a token, an API key, a connection token.

    `repr`, `str` and `format` give a mask of fixed length. Pickling, copying, deep copying, subclassing and
    changing it raise `TypeError`; msgspec and json do not know the type and refuse it as well. Two secrets compare
    in constant time; a secret never equals plain text, and has no hash, because a hash is a fingerprint of the
    text.

    Raises:
        TypeError: the value is not a string.
        ValueError: the value is empty.
    """

    __slots__ = ("__text",)
    __hash__ = None  # type: ignore[assignment]
    __text: str

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a secret is made of str, not of {type(text).__name__}")
        if not text:
            raise ValueError("a secret cannot be empty")
        object.__setattr__(self, "_Secret__text", text)

    def reveal(self) -> str:
        """Return the text itself. For the line that builds the header or the login body, and nowhere else."""
        return self.__text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK  # whatever the spec: a width would tell nothing, a precision could cut the mask away

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode("utf-8", "surrogatepass"), _bytes(other))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("a Secret cannot be changed; make a new one")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("a Secret cannot be changed; make a new one")

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("Secret cannot be subclassed: a subclass could show what it hides")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied; pass the object itself, and only within the process")

    def __copy__(self) -> NoReturn:
        self.__reduce_ex__(2)

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__reduce_ex__(2)

    def __getstate__(self) -> NoReturn:
        self.__reduce_ex__(2)


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")


_QUOTE = r"""\\*["']"""
_NAMED = "access_?token|new_?token|connection_?token|connection_?id|api_?key|password|secret|token"
# Each pattern keeps its first group and masks the rest. They are linear: no quantifier nests in another.
_PATTERNS: Final = (
    # the scheme is kept, so that one can still see that a header was sent
    re.compile(
        rf"(?i)(\bauthorization\b(?:{_QUOTE})?\s*[:=,]\s*(?:b?{_QUOTE})?(?:bearer\s+|basic\s+)?)[^\s\"'\\,;}}\])]+"
    ),
    re.compile(r"(?i)(\bbearer(?:\s+|%20))[A-Za-z0-9._~+/=-]{8,}"),
    # query strings, forms and keyword arguments: access_token=…, token='…'
    re.compile(rf"(?i)(\b(?:{_NAMED})=(?:b?{_QUOTE})?)[^&\s\"'\\<>,;)\]}}]+"),
    # a SignalR connection token travels as ?id=…
    re.compile(r"(?i)([?&]id=)[^&\s\"'\\<>,;)\]}]+"),
    # JSON and dict literals, quotes escaped or not: "apiKey": "…"
    re.compile(rf"(?i)({_QUOTE}(?:{_NAMED}){_QUOTE}\s*:\s*b?{_QUOTE})[^\"'\\]+"),
    # a JSON Web Token anywhere: base64url of '{"…', then one or two more parts, or cut off by a line's end
    re.compile(r"()(?<![A-Za-z0-9])eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,2}"),
)


def redact(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Return `text` with the given secrets, and everything that looks like a token, masked.

    A secret is found as it is, URL-quoted, and with JSON's escapes. What looks like a token: a JSON Web Token, an
    `Authorization` header, `Bearer …`, `access_token=…` and its kin in a URL or a form, a `?id=…` (the SignalR
    connection token), and those names in JSON or a dict literal. Words around it stay.
    """
    for secret in secrets:
        plain = secret.reveal()
        forms = {plain, plain.replace("\\", "\\\\").replace('"', '\\"')}
        forms |= {quote(plain, safe=safe, errors="replace") for safe in ("", "/")}
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(_masked, text)
    return text


def _masked(match: re.Match[str]) -> str:
    return f"{match.group(1)}{MASK}"


_PLAIN = (bool, int, float, type(None), Secret)
_DEPTH = 8


def redact_value(value: Any, secrets: Iterable[Secret] = ()) -> Any:
    """Return `value` with every text within it redacted; what holds nothing to redact comes back as it is.

    Mappings, lists, tuples and sets are gone through, to a depth of eight (deeper ones become their redacted
    `repr`). Any other object whose `repr` or `str` would show a token becomes that text, redacted; an exception's
    `repr` may hold a whole request.
    """
    return _value(value, tuple(secrets), 0)


def _value(value: Any, secrets: tuple[Secret, ...], depth: int) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, str):
        return redact(value, secrets)
    if depth < _DEPTH:
        if isinstance(value, dict):
            return {_value(k, secrets, depth + 1): _named(k, v, secrets, depth + 1) for k, v in value.items()}
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(_value(item, secrets, depth + 1) for item in value)
    shown, printed = _shown(value), _printed(value)
    redacted = redact(shown, secrets)
    return value if redacted == shown and redact(printed, secrets) == printed else redacted


_NAMES = re.compile(rf"(?i)^(?:authorization|{_NAMED})$")


def _named(key: Any, value: Any, secrets: tuple[Secret, ...], depth: int) -> Any:
    """Redact a mapping's value; under a name that always holds a token, any text is masked whole."""
    if isinstance(key, str) and isinstance(value, str | bytes) and _NAMES.match(key):
        return MASK
    return _value(value, secrets, depth)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a repr that fails must not take logging down
        return f"<{type(value).__name__} whose repr failed: {type(error).__name__}>"


def _printed(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - as above
        return f"<{type(value).__name__} whose str failed: {type(error).__name__}>"


SecretsSource = Callable[[], Iterable[Secret]]
"""Gives the secrets alive at the moment; tokens come and go, so it is asked for each record."""


def _none() -> Iterable[Secret]:
    return ()


_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class RedactingFilter(logging.Filter):
    """The backstop on a log handler: what a record says is redacted before the handler sees it.

    Attach it to handlers: a filter on a logger does not see the records of its children. A record that shows no token
    passes untouched, arguments and traceback included. One that does is rendered, redacted and frozen: message without
    arguments, traceback as text (`exc_info` is dropped, since a formatter would print it afresh), and its extras.

    It never drops a record and never raises: a message that cannot be rendered is replaced by a sentence saying so.
    """

    def __init__(self, secrets: SecretsSource = _none) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact `record` in place; always True."""
        secrets = tuple(self._secrets())
        try:
            message = record.getMessage()
        except Exception as error:  # noqa: BLE001 - the arguments may hold the token: do not let logging print them
            message = f"a log message whose arguments do not fit it ({type(error).__name__}): {record.msg!s}"
            record.msg, record.args = redact(message, secrets), None
        else:
            redacted = redact(message, secrets)
            if redacted != message:
                record.msg, record.args = redacted, None
        if record.exc_info and record.exc_info[0] is not None:
            # an earlier handler may have left its own rendering in exc_text
            text = record.exc_text or "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            redacted = redact(text, secrets)
            if redacted != text or _hides(record.exc_info[1], secrets):
                record.exc_text, record.exc_info = redacted, None
        elif record.exc_text:
            record.exc_text = redact(record.exc_text, secrets)
        if record.stack_info:
            record.stack_info = redact(record.stack_info, secrets)
        for name, value in list(record.__dict__.items()):
            if name not in _STANDARD:
                record.__dict__[name] = _named(name, value, secrets, 0)
        return True


def _hides(error: BaseException | None, secrets: tuple[Secret, ...]) -> bool:
    """Whether the `repr` of an exception, or of one behind it, shows a token that its traceback text does not."""
    for _ in range(32):
        if error is None:
            return False
        shown = _shown(error)
        if redact(shown, secrets) != shown:
            return True
        error = error.__cause__ or error.__context__
    return True


def redacting_processor(
    secrets: SecretsSource = _none,
) -> Callable[[Any, str, MutableMapping[str, Any] | str | bytes], MutableMapping[str, Any] | str | bytes]:
    """Return a structlog processor that redacts.

    Put it last: behind the renderer it redacts the finished line; before it, the event dict, where `exc_info` is
    turned into redacted text under `exception` so that no renderer formats it afresh.
    """

    def process(
        _logger: Any, _method: str, event: MutableMapping[str, Any] | str | bytes
    ) -> MutableMapping[str, Any] | str | bytes:
        now = tuple(secrets())
        if isinstance(event, str):
            return redact(event, now)
        if isinstance(event, bytes):
            return redact(event.decode("utf-8", "replace"), now).encode()
        error = event.get("exc_info")
        if error:
            if isinstance(error, BaseException):
                event["exception"] = "".join(traceback.format_exception(error)).rstrip("\n")
            elif isinstance(error, tuple):
                event["exception"] = "".join(traceback.format_exception(*error)).rstrip("\n")
            else:
                event["exception"] = traceback.format_exc().rstrip("\n")
            del event["exc_info"]
        for name in list(event):
            event[name] = _named(name, event[name], now, 0)
        return event

    return process
