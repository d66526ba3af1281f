"""An exchange whose answer an item makes: recorded as put off, without what the item's own record says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from exporters.record import CallRecord, decode_record, encode
from proxy.background import Claims
from proxy.entry import Entry, Journal
from proxy.exchange import RequestBody
from proxy.metered import whole
from proxy.metering.complete import completer, pricer
from proxy.openai.call import Call
from proxy.reply import Reply
from proxy.settings import Price, Settings
from tests.unit.proxy.caching.exchanges import exchange

REPLY = {"id": "chatcmpl-1", "model": "m", "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}}
BODY = b'{"model":"m","messages":[{"role":"user","content":"secret"}]}'
HEADERS = [(b"content-type", b"application/json")]


class Kept:
    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def begin(self, begin: object) -> None:
        pass

    def append(self, record: CallRecord) -> None:
        self.records.append(decode_record(encode(record)))

    def feedback(self, feedback: object) -> bool:
        return False


def sealed(tmp_path: Path, content: Any = "full", **fields: Any) -> tuple[CallRecord, Reply]:
    settings = Settings(prices={"m": Price(input=1.0, output=1.0)})
    kept = Kept()
    journal = Journal(
        spool=kept,
        monotonic=lambda: 1.0,
        price=pricer(settings),
        complete=completer(settings, exact=False),
        content=content,
        capture_bytes_max=1000,
        claims=Claims(tmp_path / "background"),
    )
    made = exchange(call=Call(model="m"), content_type="application/json")
    made.body = RequestBody(None, len(BODY), len(BODY))
    made.body.data = BODY
    for name, value in fields.items():
        setattr(made, name, value)
    entry = Entry(journal, made)
    entry.answered_with(200, HEADERS)
    reply = whole(entry, Reply(200, list(HEADERS)), msgspec.json.encode(REPLY))
    return kept.records[0], reply


@pytest.mark.parametrize("content", ["full", "redacted", "off"])
def test_a_deferral_has_no_bodies_no_usage_and_no_cost(tmp_path: Path, content: str) -> None:
    made, reply = sealed(tmp_path, content, item_id="item_1")
    assert (made.kind, made.item_id, made.request_model) == ("deferral", "item_1", "m")
    assert (made.request_body, made.response_body, made.input_messages) == (None, None, None)
    assert (made.usage_source, made.input_tokens, made.cost, made.response_id) == ("", None, None, "")
    assert (made.status, made.outcome, made.response_bytes) == (200, "answered", len(cast(bytes, reply.body)))
    assert reply.headers == HEADERS, "the answer brings its own"


def test_every_other_exchange_is_a_call(tmp_path: Path) -> None:
    made, reply = sealed(tmp_path)
    assert (made.kind, made.item_id, made.links) == ("call", "", [])
    assert (made.input_tokens, made.cost) == (5, 12e-6)
    assert b"secret" in (made.request_body or b"")
    assert (b"x-penstock-tokens", b"input=5, output=7") in reply.headers


def test_what_the_dispatcher_asks_says_of_which_batch_it_is(tmp_path: Path) -> None:
    made, _ = sealed(tmp_path, batch_id="batch_1", links=[("9" * 32, "8" * 16)])
    assert (made.batch_id, made.links) == ("batch_1", [("9" * 32, "8" * 16)])
