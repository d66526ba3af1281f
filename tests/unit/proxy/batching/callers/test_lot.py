"""Names in the queue: equal for those who are one, different for all others, and nothing to be read from them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from proxy.batching.callers.lot import Whom, lot_of, question_of, rejoin_by_body, rejoin_by_key, scope_of
from tests.unit.proxy.caching.exchanges import exchange

HOUR = 3600 * 10**9
WHOM = Whom("openai", "c", "/v1/chat/completions", [(b"OpenAI-Beta", b"a")])
OTHERS = [
    WHOM._replace(upstream="other"),
    WHOM._replace(credential="d"),
    WHOM._replace(path="/v1/responses"),
    WHOM._replace(headers=[]),
    WHOM._replace(headers=[(b"openai-beta", b"b")]),
]


def keyed(key_id: str, **headers: str) -> str:
    made = exchange(**headers)
    made.key_id = key_id
    return scope_of(made)


def test_a_caller_is_its_proxy_key_or_its_own() -> None:
    assert keyed("k1") == keyed("k1", authorization="Bearer x") != keyed("k2")
    scopes = [
        scope_of(exchange(**headers))
        for headers in (
            {},
            {"authorization": "Bearer k1"},
            {"authorization": "Bearer k2"},
            {"api_key": "Bearer k1"},
            {"authorization": "Bearer k1", "x_api_key": "x"},
        )
    ]
    assert len({*scopes, keyed("k1"), keyed("Bearer k1")}) == 7
    assert scope_of(exchange(authorization="Bearer k1", user_agent="b", openai_project="p")) == scopes[1]
    assert "k1" not in scopes[1]
    assert scopes[1] != hashlib.sha256(b"Bearer k1").hexdigest()


def test_a_batch_has_lines_of_one_kind() -> None:
    def lot(whom: Whom = WHOM, model: str = "m", wait_ns: int = HOUR) -> str:
        return lot_of(whom, model=model, wait_ns=wait_ns)

    assert lot() == lot(WHOM._replace(headers=[(b"openai-beta", b"a")]))
    assert len({lot(), lot(model="n"), *map(lot, OTHERS)}) == 7


@pytest.mark.parametrize(
    ("one", "other", "same"), [(0.1, 1, True), (1, 2, False), (2, 6, True), (6, 24, False), (25, 700, True)]
)
def test_who_can_wait_is_not_hurried_by_who_cannot(one: float, other: float, same: bool) -> None:
    lots = [lot_of(WHOM, model="m", wait_ns=int(hours * HOUR)) for hours in (one, other)]
    assert (lots[0] == lots[1]) is same


def test_a_question_is_one_callers_in_the_same_bytes() -> None:
    def question(whom: Whom = WHOM, **changes: Any) -> str:
        return question_of(whom, **{"scope": "s", "body": b"{}", **changes})

    assert question() == question()
    assert len({question(), question(scope="t"), question(body=b"{ }"), *map(question, OTHERS)}) == 8


def test_asking_again() -> None:
    assert rejoin_by_key("s", b"k") == rejoin_by_key("s", b"k")
    names = {rejoin_by_key("s", b"k"), rejoin_by_key("t", b"k"), rejoin_by_key("s", b"l"), rejoin_by_body("k"), "k"}
    assert len(names) == 5
