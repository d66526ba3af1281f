"""Which question is asked, and by whom: remembered byte for byte once its reply was given, for its own caller alone."""

from __future__ import annotations

import gzip

import proxy.caching.asking as asking_module
from proxy.caching.asking import Ask, Asking
from proxy.caching.control import Control
from proxy.exchange import Exchange
from tests.unit.proxy.caching.exchanges import exchange

BODY = b'{"model":"gpt-5","messages":[{"role":"user","content":"Hello"}]}'
ON = Control(serve=True, keep=True)


def asked(body: bytes = BODY, **headers: str) -> Exchange:
    made = exchange(**headers)
    made.body.data = body
    made.upstream = made.provider = "openai"
    return made


def ask(asking: Asking, one: Exchange, control: Control = ON) -> Ask:
    found = asking.ask(one, control)
    assert found is not None
    return found


def test_a_question_whose_reply_was_given_is_not_read_again() -> None:
    asking = Asking(())
    for headers in ({"authorization": "Bearer a"}, {"authorization": "Bearer a", "openai_organization": "org"}):
        first = ask(asking, asked(**headers))
        assert ask(asking, asked(**headers)) is not first
        asking.repeated(first)
        assert ask(asking, asked(**headers)) is first


def test_what_is_remembered_is_its_callers_alone() -> None:
    asking = Asking(())
    mine = ask(asking, asked(authorization="Bearer a"))
    asking.repeated(mine)
    for other in ({"authorization": "Bearer b"}, {"authorization": "Bearer a", "openai_project": "p"}):
        assert ask(asking, asked(**other)).key != mine.key
    assert ask(asking, asked(authorization="Bearer a"), Control(serve=True, keep=False)) is not mine
    assert ask(asking, asked(BODY.replace(b"Hello", b"hello"), authorization="Bearer a")).key != mine.key


def test_variants_take_turns_and_codings_are_taken_off_each_time() -> None:
    asking = Asking(())
    turns = Control(serve=True, keep=True, variants=2)
    keys = []
    for _ in range(4):
        found = ask(asking, asked(), turns)
        asking.repeated(found)
        keys.append(found.key)
    assert keys[0] == keys[2] != keys[1] == keys[3]
    packed = asked(gzip.compress(BODY), content_encoding="gzip")
    first = ask(asking, packed)
    asking.repeated(first)
    assert first.key == ask(asking, asked()).key
    assert ask(asking, packed) is not first
    assert asking.ask(asked(b"no gzip", content_encoding="gzip"), ON) is None


def test_no_more_is_remembered_than_is_worth_it() -> None:
    asking = Asking(())
    for number in range(3 * asking_module._REPEATED_MAX):
        one = asked(BODY.replace(b"Hello", b"%d" % number))
        asking.repeated(ask(asking, one))
    long = asked(BODY.replace(b"Hello", b"x" * asking_module._REPEATED_BYTES_MAX))
    asking.repeated(ask(asking, long))
    assert 0 < len(asking._repeated) <= asking_module._REPEATED_MAX
    assert all(len(body) <= asking_module._REPEATED_BYTES_MAX for body, _, _ in asking._repeated)


def test_a_question_at_any_depth_is_asked_or_not_but_never_fails() -> None:
    asking = Asking(())
    found = [asking.ask(asked(b'{"a":' * depth + b"1" + b"}" * depth), ON) for depth in range(800, 1010)]
    assert found[0] is not None
    assert found[-1] is None
