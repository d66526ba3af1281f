"""The redactor of `content = "redacted"`: private text is replaced by placeholders such as `[EMAIL]`.

Three who use it: a worker, on a body before it is written to the spool (`redact_body`); the recorder, on a completed
record (`redact_record`); a sink whose own `content` is "redacted" while the record is full (`redact_record` again).
JSON stays JSON: keys, numbers, order and blanks are as they were, only strings change (and a number that is a card's).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from .detectors import ANY, BUILT_IN, CANDIDATES_MAX, Detector, card, compile_pattern
from .record import CallRecord
from .redact_stream import redact_events

_USER: Final = b"[REDACTED]"
_CARD: Final = b'"[CREDIT_CARD]"'

# A string with whether a colon follows (then it is a key), or a number as long as a card's. Unrolled, so it is linear.
# A body cut by the capture limit may end inside a string.
_tokens: Final = re.compile(
    rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"(?P<key>\s*:)?|\\?\Z)|(?<![\w.+-])(?P<number>[2-6][0-9]{12,18})(?![\w.+-])', re.DOTALL
)


class Redactor:
    """The built-in detectors, and the user's patterns after them. Immutable; safe to share between threads.

    Raises `ValueError` when one of `extra_patterns` is not a pattern of RE2 or matches the empty text.
    """

    def __init__(self, extra_patterns: Sequence[str] = ()) -> None:
        extra = tuple(Detector(_USER, compile_pattern(pattern)) for pattern in extra_patterns)
        self._detectors = (*BUILT_IN, *extra)
        self._prefilters = (ANY, *(detector.pattern for detector in extra))

    def redact_text(self, text: str) -> str:
        """`text` itself, the same object, when there is nothing to hide."""
        data = text.encode("utf-8", "surrogatepass")
        redacted = self._redact(data)
        return text if redacted is data else redacted.decode("utf-8", "surrogatepass")

    def redact_json(self, body: bytes) -> bytes:
        """A JSON document, or the beginning of one, with its strings redacted; `body` itself when none changed.

        Text that is not JSON at all is redacted as text.
        """
        if b"\\" not in body and not self._suspicious(body):
            return body
        if not _looks_like_json(body):
            return self._redact(body)
        redacted = _tokens.sub(self._redact_token, body)
        return body if redacted == body else redacted

    def redact_json_text(self, text: str | None) -> str | None:
        if not text:
            return text
        data = text.encode("utf-8", "surrogatepass")
        redacted = self.redact_json(data)
        return text if redacted is data else redacted.decode("utf-8", "surrogatepass")

    def redact_body(self, body: bytes, content_type: str, content_encoding: str = "") -> bytes | None:
        """A captured body as it may be kept; None when it cannot be looked into (compressed, or not text).

        A secret in a streamed reply is spread over many events: those are joined, searched and written back into the
        same events, so that nothing private is kept even for a moment and the stream still parses.
        """
        if content_encoding not in ("", "identity"):
            return None
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return redact_events(body, self.redact_json, self._redact)
        if (
            kind == "application/json"
            or kind.endswith("+json")
            or kind in ("application/jsonl", "application/x-ndjson")
        ):
            return self.redact_json(body)
        if kind.startswith("text/") or kind == "":
            return self.redact_json(body)
        return None

    def redact_record(self, record: CallRecord) -> CallRecord:
        """A copy without private text in messages, tools, parameters, error message and bodies.

        A body that cannot be looked into is left out. Who called (user, session, tags, key id) is not content and
        stays.
        """
        if record.content == "off":
            return record
        text = self.redact_json_text
        request, response = record.request_body, record.response_body
        return msgspec.structs.replace(
            record,
            content="redacted",
            input_messages=text(record.input_messages),
            output_messages=text(record.output_messages),
            system_instructions=text(record.system_instructions),
            tool_definitions=text(record.tool_definitions),
            parameters=self._redact_parameters(record.parameters),
            error_message=self.redact_text(record.error_message) if record.error_message else "",
            request_body=request and self.redact_body(request, record.request_type, record.request_encoding),
            response_body=response and self.redact_body(response, record.response_type, record.response_encoding),
        )

    def _redact_parameters(self, parameters: dict[str, object]) -> dict[str, object]:
        if not parameters:
            return parameters
        body = msgspec.json.encode(parameters)
        redacted = self.redact_json(body)
        return parameters if redacted is body else msgspec.json.decode(redacted, type=dict[str, object])

    def _suspicious(self, data: bytes) -> bool:
        return any(pattern.search(data) is not None for pattern in self._prefilters)

    def _redact(self, data: bytes) -> bytes:
        if not self._suspicious(data):
            return data
        before = data
        for detector in self._detectors:
            data = _replace(detector, data)
        return before if data == before else data

    def _redact_token(self, found: re.Match[bytes]) -> bytes:
        token = found[0]
        if found["number"]:
            return _CARD if card(token, 0, len(token)) else token
        if found["key"]:
            return token
        return self._redact(token) if b"\\" not in token else self._redact_escaped(token)

    def _redact_escaped(self, token: bytes) -> bytes:
        """A string with escapes is searched as what it means, and written anew when something was found."""
        for whole, cut in ((token, 0), (token + b'"', 1), (token[: token.rindex(b"\\")] + b'"', 1)):
            # The stdlib's decoder, because it takes lone surrogates and control characters, which occur.
            try:
                text = json.loads(whole.decode("utf-8", "replace"), strict=False)
            except ValueError:
                continue
            redacted = self.redact_text(text)
            if redacted is text:
                return token
            written = json.dumps(redacted).encode()
            return written[: len(written) - cut]
        return self._redact(token)


def _replace(detector: Detector, data: bytes) -> bytes:
    pieces = []
    done = at = refused = 0
    while (found := detector.pattern.search(data, at)) is not None:
        span = detector.check(data, *found.span()) if detector.check else found.span()
        if span is None:
            # What is private may begin a little later than the candidate did: look again from its next byte.
            refused += 1
            at = found.start() + 1 if refused < CANDIDATES_MAX else found.end()
            continue
        pieces += [data[done : span[0]], detector.placeholder]
        done = at = span[1]
    return b"".join([*pieces, data[done:]]) if pieces else data


def _looks_like_json(body: bytes) -> bool:
    """Whether it is JSON, one document or one a line, whole or cut off. Only then may strings alone be looked at."""
    return _is_json(body) or (b"\n" in body and all(_is_json(line) for line in body.splitlines() if line.strip()))


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        return "truncated" in str(error) or _is_lax_json(text)
    return True


def _is_lax_json(text: bytes) -> bool:
    """With the lone surrogates that JavaScript writes, which msgspec refuses."""
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


BUILT_IN_REDACTOR: Final = Redactor()
"""Without patterns of the user's."""
