"""A secret shows a mask wherever it could be printed and cannot be copied out; the backstop masks what others wrote."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import marshal
import pickle
import traceback

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tickloom.config.secrets import MASK, RedactingFilter, Secret, redact, redact_value, redacting_processor

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
KEY = "canary+key/with=signs&more"


class TestSecret:
    def test_every_way_of_printing_it_gives_the_mask(self):
        secret = Secret(JWT)
        shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>200}", f"{secret:.1000}", f"{secret}"]
        shown += [repr([secret]), repr({"token": secret}), ascii(secret), str(vars(type(secret)))]
        assert all("canary" not in text and JWT[:12] not in text for text in shown)
        assert str(secret) == MASK

    def test_the_mask_says_nothing_about_the_length(self):
        assert repr(Secret("a")) == repr(Secret("a" * 1000))

    def test_reveal_gives_the_text(self):
        assert Secret(KEY).reveal() == KEY

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_refuses_to_be_pickled_by_every_protocol(self, protocol: int):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps({"deep": [Secret(KEY)]}, protocol=protocol)

    @pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
    def test_it_refuses_to_be_copied(self, copier):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            copier(Secret(KEY))
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            Secret(KEY).__getstate__()

    def test_a_dataclass_that_holds_it_does_not_turn_into_a_dict(self):
        holder = dataclasses.make_dataclass("Holder", ["token"])(Secret(KEY))
        with pytest.raises(TypeError):
            dataclasses.asdict(holder)

    @pytest.mark.parametrize(
        "encode", [msgspec.json.encode, msgspec.msgpack.encode, msgspec.to_builtins, json.dumps, marshal.dumps]
    )
    def test_no_encoder_takes_it(self, encode):
        with pytest.raises((TypeError, ValueError)) as caught:
            encode({"token": Secret(KEY)})
        assert KEY not in str(caught.value)

    def test_an_encoder_that_falls_back_to_str_writes_the_mask(self):
        assert json.dumps({"token": Secret(KEY)}, default=str) == f'{{"token": "{MASK}"}}'

    def test_it_equals_a_secret_of_the_same_text_and_nothing_else(self):
        assert Secret(KEY) == Secret(KEY)
        assert Secret(KEY) != Secret(JWT)
        assert Secret(KEY) != KEY
        assert Secret("ü") == Secret("ü")

    def test_it_has_no_hash(self):
        with pytest.raises(TypeError, match="unhashable"):
            hash(Secret(KEY))

    def test_it_cannot_be_changed_or_subclassed(self):
        secret = Secret(KEY)
        with pytest.raises(TypeError, match="cannot be changed"):
            secret.other = 1
        with pytest.raises(TypeError, match="cannot be changed"):
            secret._Secret__text = "other"
        with pytest.raises(TypeError, match="cannot be changed"):
            del secret._Secret__text
        with pytest.raises(TypeError, match="subclassed"):
            type("Leaky", (Secret,), {})
        assert secret.reveal() == KEY

    def test_it_has_no_dict_to_look_into(self):
        with pytest.raises(TypeError):
            vars(Secret(KEY))

    @pytest.mark.parametrize("wrong", [None, b"bytes", 7])
    def test_only_text_makes_a_secret_and_the_error_does_not_show_the_value(self, wrong):
        with pytest.raises(TypeError, match=f"not of {type(wrong).__name__}") as caught:
            Secret(wrong)
        assert str(wrong) not in str(caught.value) or wrong is None

    def test_an_empty_secret_is_refused(self):
        with pytest.raises(ValueError, match="empty"):
            Secret("")

    def test_a_traceback_with_local_variables_shows_the_mask(self):
        def fails() -> None:
            token = Secret(JWT)
            raise RuntimeError(f"login with {token} failed")

        with pytest.raises(RuntimeError) as caught:
            fails()
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert "canary" not in "".join(frames.format())


LEAKS = [
    f"token {JWT} refused",
    f"GET /hubs/market?access_token={JWT}&x=1",
    "GET /hubs/market?id=canary-connection_token-123 101",
    "wss://host/hubs/market?v=1&id=canaryXYZ",
    "Authorization: Bearer canary.opaque-token_123",
    "{'Authorization': 'Bearer canary123456'}",
    "<CIMultiDict('Host': 'x', 'Authorization': 'Bearer canary123456')>",
    "[(b'Authorization', b'Bearer canary123456')]",
    "authorization: Basic Y2FuYXJ5OmNhbmFyeQ==canary",
    'body {"userName":"me","apiKey":"canary-key"}',
    'body {\\"token\\":\\"canary-key\\",\\"success\\":true}',
    "{'newToken': 'canary', 'success': True}",
    '{"connectionToken": "canary-1", "connectionId": "canary-2"}',
    "Login(token='canary-key', name='x')",
    "api_key=canary;",
    "?token=canary#fragment",
    "curl -H 'authorization: bearer canary-lower-case'",
    "Bearer%20canary123456",
]


class TestRedact:
    @pytest.mark.parametrize("text", LEAKS)
    def test_what_looks_like_a_token_is_masked(self, text: str):
        assert "canary" not in redact(text)
        assert MASK in redact(text)

    def test_a_token_cut_off_by_a_length_limit_is_masked(self):
        assert redact(f"…{JWT[:30]}") == f"…{MASK}"

    @pytest.mark.parametrize(
        "text",
        [
            "tick 4410 of CON.F.US.MNQ.Z25 at 21000.25",
            "https://api.topstepx.com/api/Auth/loginKey answered 200",
            "the token was renewed and lives 24 h",
            "id=5 in the log",
            "bearer of bad news",
            "eyJ is how a token begins",
            "",
        ],
    )
    def test_ordinary_words_stay_as_they_are(self, text: str):
        assert redact(text) == text

    def test_the_words_around_a_token_stay(self):
        assert redact(f"GET /hub?access_token={JWT}&v=1 401") == f"GET /hub?access_token={MASK}&v=1 401"

    def test_a_known_secret_is_found_plain_url_quoted_and_in_json(self):
        secret = Secret('ca"nary/k+y')
        for text in ('ca"nary/k+y', "ca%22nary%2Fk%2By", "ca%22nary/k%2By", json.dumps('ca"nary/k+y')):
            assert redact(f"<{text}>", [secret]) in (f"<{MASK}>", f'<"{MASK}">')

    @given(st.text(alphabet=st.characters(exclude_characters="\\"), min_size=8, max_size=40), st.text(), st.text())
    def test_a_known_secret_never_survives(self, plain: str, before: str, after: str):
        if plain in MASK * 20:
            return
        assert plain not in redact(f"{before}{plain}{after}", [Secret(plain)])

    @given(st.text())
    def test_redacting_twice_changes_nothing_more(self, text: str):
        assert redact(redact(text)) == redact(text)

    def test_a_megabyte_of_near_misses_takes_no_time(self):
        assert redact("eyJ" * 300_000 + " " + "bearer " * 50_000 + '\\"' * 100_000) is not None


class TransportError(Exception):
    """Like aiohttp's handshake error: `str` is harmless, `repr` holds the headers."""

    def __str__(self) -> str:
        return "401, message='Invalid response status'"

    def __repr__(self) -> str:
        return f"TransportError(headers={{'Authorization': 'Bearer {JWT}'}})"


class TestRedactValue:
    def test_nested_values_are_redacted_and_the_rest_stays(self):
        value = {"url": f"?access_token={JWT}", "n": [1, 2.5, None, ("x", f"Bearer {JWT}")], "set": {f"id {JWT}"}}
        assert redact_value(value) == {
            "url": f"?access_token={MASK}",
            "n": [1, 2.5, None, ("x", f"Bearer {MASK}")],
            "set": {f"id {MASK}"},
        }

    def test_any_text_under_a_name_that_means_a_token_is_masked(self):
        assert redact_value({"token": "abc", "Authorization": b"x", "apiKey": "k"}) == {
            "token": MASK,
            "Authorization": MASK,
            "apiKey": MASK,
        }

    def test_an_object_whose_repr_shows_a_token_becomes_its_redacted_text(self):
        assert redact_value(TransportError()) == f"TransportError(headers={{'Authorization': 'Bearer {MASK}'}})"

    def test_an_object_that_shows_none_is_the_same_object(self):
        harmless = object()
        assert redact_value(harmless) is harmless
        assert redact_value(secret := Secret(JWT)) is secret

    def test_a_repr_that_fails_is_a_sentence(self):
        class Broken:
            def __repr__(self) -> str:
                raise RuntimeError("no")

        broken = Broken()
        assert redact_value([broken]) == [broken]

    def test_a_structure_nested_without_end_is_cut_off_redacted(self):
        deep: list[object] = [f"Bearer {JWT}"]
        for _ in range(50):
            deep = [deep]
        assert "canary" not in repr(redact_value(deep))
        assert JWT not in repr(redact_value(deep))


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def logger(stream):
    """A logger whose handler has the filter, with one secret alive."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(extra_field)s", defaults={"extra_field": ""}))
    handler.addFilter(RedactingFilter(lambda: (Secret(KEY),)))
    logger = logging.Logger("test.redaction", logging.DEBUG)
    logger.addHandler(handler)
    return logger


class TestRedactingFilter:
    def test_tokens_in_message_arguments_and_extras_are_masked(self, logger, stream):
        logger.debug("url %s key %s", f"?access_token={JWT}", KEY, extra={"extra_field": {"token": "canary"}})
        assert stream.getvalue().count(MASK) == 3
        assert "canary" not in stream.getvalue()
        assert JWT not in stream.getvalue()

    def test_a_harmless_record_keeps_its_arguments(self, stream):
        record = logging.LogRecord("x", logging.INFO, __file__, 1, "bars %d", (7,), None)
        assert RedactingFilter().filter(record) is True
        assert (record.msg, record.args) == ("bars %d", (7,))

    def test_a_token_in_a_traceback_is_masked_and_the_traceback_kept(self, logger, stream):
        try:
            raise ConnectionError(f"GET wss://host/hub?access_token={JWT}")
        except ConnectionError:
            logger.exception("connect failed")
        assert "Traceback" in stream.getvalue()
        assert "ConnectionError: GET wss://host/hub?access_token=****" in stream.getvalue()
        assert JWT not in stream.getvalue()

    def test_an_exception_whose_repr_holds_the_header_is_not_passed_on_as_an_object(self):
        try:
            try:
                raise TransportError
            except TransportError as error:
                raise RuntimeError("no connection") from error
        except RuntimeError as error:
            record = logging.LogRecord(
                "x", logging.ERROR, __file__, 1, "failed", None, (type(error), error, error.__traceback__)
            )
        RedactingFilter().filter(record)
        assert record.exc_info is None
        assert "no connection" in (record.exc_text or "")
        assert JWT not in repr(record.__dict__)

    def test_a_traceback_another_handler_rendered_before_is_redacted_too(self):
        error = ConnectionError(f"?access_token={JWT}")
        exc_info = (ConnectionError, error, None)
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", None, exc_info)
        logging.Formatter().format(record)
        assert JWT in (record.exc_text or "")
        RedactingFilter().filter(record)
        assert (record.exc_text, record.exc_info) == (f"ConnectionError: ?access_token={MASK}", None)

    def test_a_harmless_exception_stays_an_object(self):
        error = ValueError("seven")
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", None, (ValueError, error, None))
        RedactingFilter().filter(record)
        assert record.exc_info is not None
        assert record.exc_info[1] is error

    def test_arguments_that_do_not_fit_the_message_are_not_printed(self, logger, stream):
        logger.info("one %s two %s", JWT)
        assert "do not fit" in stream.getvalue()
        assert JWT not in stream.getvalue()

    def test_stack_text_is_masked(self):
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "m", None, None, sinfo=f"Stack: {JWT}")
        RedactingFilter().filter(record)
        assert record.stack_info == f"Stack: {MASK}"

    def test_secrets_that_come_later_are_known_for_later_records(self):
        alive: list[Secret] = []
        redacting = RedactingFilter(lambda: alive)
        record = logging.LogRecord("x", logging.INFO, __file__, 1, "say friend", None, None)
        alive.append(Secret("friend"))
        redacting.filter(record)
        assert record.getMessage() == f"say {MASK}"


class TestRedactingProcessor:
    def test_before_the_renderer_it_redacts_every_value(self):
        processor = redacting_processor(lambda: [Secret(KEY)])
        event = processor(None, "info", {"event": f"key {KEY}", "headers": {"Authorization": "Bearer x"}, "n": 1})
        assert event == {"event": f"key {MASK}", "headers": {"Authorization": MASK}, "n": 1}

    def test_behind_the_renderer_it_redacts_the_line(self):
        assert redacting_processor()(None, "info", f"token {JWT}") == f"token {MASK}"
        assert redacting_processor()(None, "info", f"token {JWT}".encode()) == f"token {MASK}".encode()

    @pytest.mark.parametrize("given", ["object", "tuple", "true"])
    def test_an_exception_becomes_redacted_text_before_a_renderer_can_format_it(self, given):
        try:
            raise ConnectionError(f"?access_token={JWT}")
        except ConnectionError as error:
            exc_info = {"object": error, "tuple": (type(error), error, error.__traceback__), "true": True}[given]
            event = redacting_processor()(None, "error", {"event": "failed", "exc_info": exc_info})
        assert isinstance(event, dict)
        assert "exc_info" not in event
        assert "ConnectionError: ?access_token=****" in event["exception"]

    def test_in_a_chain_of_structlog_nothing_gets_through(self):
        stream = io.StringIO()
        chain = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(), redacting_processor()]
        logger = structlog.wrap_logger(structlog.PrintLogger(stream), processors=chain)
        try:
            raise TransportError(JWT)
        except TransportError:
            logger.exception("failed", url=f"?id={JWT}", body=f'{{"token":"{JWT}"}}')
        assert "failed" in stream.getvalue()
        assert JWT not in stream.getvalue()
