"""What a call wants of the cache: nothing unless it asks or a rule fits, and never more than it allows."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.caching.control import Control, Controls
from proxy.errors import ClientFault
from proxy.openai.call import Call
from proxy.settings import Cache, CacheRule
from tests.unit.proxy.caching.exchanges import exchange

NONE = Cache(ttl_s=60)
EVERYTHING = Cache(ttl_s=60, rules=(CacheRule(),))


def control(settings: Cache = NONE, **headers: str) -> Control | None:
    return Controls(settings).of(exchange(**headers))


def test_nothing_is_done_unasked() -> None:
    assert control() is None
    assert control(cache_control="max-age=60") is None
    assert control(cache_control="no-cache") is None
    assert control(x_penstock_cache_namespace="n") is None


def test_asking_is_enough() -> None:
    assert control(x_penstock_cache="on") == Control(serve=True, keep=True, ttl_s=60)
    assert control(x_penstock_cache=" ON ") == Control(serve=True, keep=True, ttl_s=60)
    assert control(x_penstock_cache="refresh") == Control(serve=False, keep=True, ttl_s=60)


def test_a_call_can_leave_what_a_rule_would_take() -> None:
    assert control(EVERYTHING) == Control(serve=True, keep=True, ttl_s=60)
    assert control(EVERYTHING, x_penstock_cache="off") is None
    assert control(EVERYTHING, x_penstock_cache="off", cache_control="only-if-cached") is None


@pytest.mark.parametrize(
    ("directives", "expected"),
    [
        ("no-cache", {"serve": False, "keep": True}),
        ("no-store", {"serve": False, "keep": False}),
        ("No-Store, max-age=5", {"serve": False, "keep": False, "max_age_s": 5.0}),
        ("max-age=30", {"serve": True, "keep": True, "max_age_s": 30.0}),
        ('max-age="30"', {"serve": True, "keep": True, "max_age_s": 30.0}),
        ("max-age=soon", {"serve": True, "keep": True, "max_age_s": 0.0}),
        ("max-age", {"serve": True, "keep": True, "max_age_s": 0.0}),
        ("max-age=²", {"serve": True, "keep": True, "max_age_s": 0.0}),
        ("only-if-cached", {"serve": True, "keep": True, "only_if_cached": True}),
        ("private, x=1,, ", {"serve": True, "keep": True}),
    ],
)
def test_cache_control(directives: str, expected: dict[str, Any]) -> None:
    assert control(x_penstock_cache="on", cache_control=directives) == Control(ttl_s=60, **expected)


def test_only_if_cached_alone_serves_and_keeps_nothing() -> None:
    assert control(cache_control="only-if-cached") == Control(serve=True, keep=False, only_if_cached=True, ttl_s=60)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x_penstock_cache", "yes"),
        ("x_penstock_cache", ""),
        ("x_penstock_cache_variants", "0"),
        ("x_penstock_cache_variants", "101"),
        ("x_penstock_cache_variants", "-1"),
        ("x_penstock_cache_variants", "²"),
        ("x_penstock_cache_variants", "1.5"),
        ("x_penstock_cache_namespace", ""),
        ("x_penstock_cache_namespace", "x" * 129),
        ("x_penstock_cache_namespace", "a\x00b"),
    ],
)
def test_a_header_that_cannot_be_meant(header: str, value: str) -> None:
    with pytest.raises(ClientFault) as caught:
        control(EVERYTHING, **{header: value})
    assert (caught.value.http_status, caught.value.code) == (400, "invalid_cache_control")
    assert caught.value.param == header.replace("_", "-")


def test_namespace_and_variants_of_a_call_come_before_those_of_the_rule() -> None:
    rules = Cache(rules=(CacheRule(namespace="rule", variants=3),))
    mine = control(rules, x_penstock_cache_namespace="mine", x_penstock_cache_variants="5")
    assert mine is not None
    assert (mine.namespace, mine.variants) == ("mine", 5)
    its = control(rules)
    assert its is not None
    assert (its.namespace, its.variants) == ("rule", 3)


RULES = Cache(
    ttl_s=60,
    rules=(
        CacheRule(models=("gpt-4*",), cache="off"),
        CacheRule(paths=("/v1/embeddings", "/v1/moder*"), ttl_s=0),
        CacheRule(tags={"app": "faq*", "env": "prod"}, namespace="faq", semantic=0.9, force=True),
        CacheRule(temperature_max=0, cache="refresh"),
    ),
)


@pytest.mark.parametrize(
    ("call", "path", "tags", "expected"),
    [
        (Call(model="gpt-4o", temperature=0), "/v1/embeddings", {}, None),
        (Call(model="gpt-5"), "/v1/embeddings", {}, Control(serve=True, keep=True, ttl_s=0)),
        (Call(model="gpt-5"), "/v1/moderations", {}, Control(serve=True, keep=True, ttl_s=0)),
        (Call(model="gpt-5"), "/v1/chat/completions", {"app": "faq-1"}, None),
        (
            Call(model="gpt-5"),
            "/v1/chat/completions",
            {"app": "faq-1", "env": "prod"},
            Control(serve=True, keep=True, ttl_s=60, namespace="faq", semantic=0.9, force=True),
        ),
        (Call(model="gpt-5"), "/v1/chat/completions", {}, None),
        (Call(model="gpt-5", temperature=0.0), "/v1/responses", {}, Control(serve=False, keep=True, ttl_s=60)),
        (Call(model="gpt-5", temperature=0.1), "/v1/responses", {}, None),
        (Call(model="gpt-5", temperature=False), "/v1/responses", {}, None),
        (Call(model="gpt-5", temperature="0"), "/v1/responses", {}, None),
    ],
)
def test_the_first_rule_that_fits_decides(
    call: Call, path: str, tags: dict[str, str], expected: Control | None
) -> None:
    made = exchange(path=path, call=call)
    made.tags = tags
    controls = Controls(RULES)
    assert controls.of(made) == expected
    assert controls.of(made) is controls.of(made)
