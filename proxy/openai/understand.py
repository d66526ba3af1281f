"""A record's captured bodies read into its typed fields. Runs in the recorder, so its cost is the recorder's rate."""

from __future__ import annotations

import logging
from typing import Any, Final, cast

from exporters.completion import where
from exporters.files import Throttle
from exporters.record import CallRecord

from .assemble import assemble
from .call import Endpoint
from .coding import decode
from .conversation import conversation, tools_of
from .document import read_object, write
from .facts import Facts, facts_of, text, unary_facts
from .parameters import parameters_of
from .usage import counts_tokens

_log = logging.getLogger(__name__)

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a decoded body; more of it is not read."""

_throttle = Throttle()


def understand(record: CallRecord) -> CallRecord:
    """Fill what the bodies say and drop them. Changes and returns the same record; a second time changes nothing.

    What the worker has filled stays: usage, ids, tier and error are only added where they are missing. Messages and
    tool definitions are left out when `record.content` is "off"; the numbers never are. Bodies that are not JSON, nor
    a stream of it, give nothing. Never raises: what cannot be read stays empty, and is logged without its content.
    """
    if record.request_body is None and record.response_body is None:
        return record
    try:
        _understand(record)
    except Exception as error:  # noqa: BLE001 - a record is exported with what is known, whatever its bodies hold
        if _throttle.due(type(error).__name__):
            _log.warning("The bodies of request %s were not understood: %s", record.request_id, where(error))
    record.request_body = None
    record.response_body = None
    return record


def _understand(record: CallRecord) -> None:
    endpoint = cast("Endpoint", record.endpoint)
    request = read_object(_plain(record.request_body, record.request_encoding, record.request_type))
    reply, facts = _reply(record, endpoint)
    if request:
        _fill_request(record, request)
    _fill_facts(record, facts)
    if record.content == "off":
        return
    said = conversation(endpoint, request, reply)
    if said.input:
        record.input_messages = write(said.input)
    if said.output:
        record.output_messages = write(said.output)
    if said.system:
        record.system_instructions = write(said.system)
    if endpoint != "other" and (tools := tools_of(request)):
        record.tool_definitions = write(tools)


def _plain(body: bytes | None, encoding: str, media_type: str) -> bytes:
    """The decoded body; b"" when there is none, its coding is not known, or its type is not text."""
    if not body or media_type.lower().startswith(_BINARY):
        return b""
    if not encoding:
        return body
    decoded = decode(body, encoding, BODY_BYTES_MAX)
    return b"" if decoded is None else decoded.data


_BINARY: Final = ("multipart/", "audio/", "image/", "video/", "application/octet-stream", "application/zip")


def _reply(record: CallRecord, endpoint: Endpoint) -> tuple[dict[str, Any], Facts]:
    """The reply as far as its messages are wanted, and its facts."""
    body = _plain(record.response_body, record.response_encoding, record.response_type)
    media_type = record.response_type.lower()
    if "event-stream" in media_type or (record.stream and "json" not in media_type):
        reply = assemble(endpoint, body)
    elif record.content == "off" or endpoint in _WITHOUT_MESSAGES:
        return {}, unary_facts(endpoint, body)
    else:
        reply = read_object(body)
    return reply, facts_of(reply, with_usage=not record.usage_source)


_WITHOUT_MESSAGES: Final = ("embeddings", "other")
"""Their replies are vectors, images and the like: read for their facts without building the rest."""


def _fill_request(record: CallRecord, request: dict[str, Any]) -> None:
    record.request_model = record.request_model or text(request.get("model"))
    record.service_tier_requested = record.service_tier_requested or text(request.get("service_tier"))
    if not record.parameters:
        record.parameters = parameters_of(request)


def _fill_facts(record: CallRecord, facts: Facts) -> None:
    record.response_id = record.response_id or facts.response_id
    record.response_model = record.response_model or facts.response_model
    record.finish_reasons = record.finish_reasons or list(facts.finish_reasons)
    record.system_fingerprint = record.system_fingerprint or facts.system_fingerprint
    record.service_tier = record.service_tier or facts.service_tier
    if not record.usage_source and facts.usage is not None and counts_tokens(record.method, record.path):
        record.usage_source = "upstream"
        for name, count in facts.usage._asdict().items():
            setattr(record, name, count)
    if record.status >= 400 or facts.error_type:
        record.error_type = record.error_type or facts.error_type
        # The message may quote the request, which is not to be kept when content is off.
        if record.content != "off":
            record.error_message = record.error_message or facts.error_message
