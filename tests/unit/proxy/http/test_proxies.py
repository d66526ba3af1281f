"""Which way an origin is reached, by the variables of the environment."""

from __future__ import annotations

import pytest

from proxy.errors import UpstreamFault
from proxy.http.message import Origin
from proxy.http.proxies import Route, route

API = Origin("https", "api.test", 443)
PLAIN = Origin("http", "models.test", 8080)


def test_direct_without_a_proxy() -> None:
    assert route(API, {}) == Route("api.test", 443)
    assert route(API, {"http": "http://proxy.test:3128"}) == Route("api.test", 443)


def test_https_goes_through_a_tunnel() -> None:
    way = route(API, {"https": "http://us%40er:p%3Aw@proxy.test:3128"})
    assert (way.host, way.port, way.tunnel, way.absolute) == ("proxy.test", 3128, b"api.test:443", b"")
    assert way.credentials == [(b"Proxy-Authorization", b"Basic dXNAZXI6cDp3")]
    assert "dXNAZXI6cDp3" not in repr(way)


def test_http_is_asked_for_by_its_whole_address() -> None:
    way = route(PLAIN, {"http": "proxy.test"})
    assert (way.host, way.port, way.tunnel, way.absolute) == ("proxy.test", 80, b"", b"http://models.test:8080")
    assert way.credentials == []


def test_all_proxy_stands_in() -> None:
    assert route(API, {"all": "http://proxy.test:1"}).host == "proxy.test"
    assert route(API, {"all": "http://proxy.test:1", "https": "http://other.test:1"}).host == "other.test"


@pytest.mark.parametrize("no_proxy", ["*", "api.test", ".test", "other.test, api.test", "api.test:443", "API.TEST"])
def test_no_proxy_goes_direct(no_proxy: str) -> None:
    assert route(API, {"https": "http://proxy.test:1", "no": no_proxy}) == Route("api.test", 443)


def test_no_proxy_for_others_does_not() -> None:
    assert route(API, {"https": "http://proxy.test:1", "no": "other.test,pi.test"}).host == "proxy.test"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost", "x.localhost"])
def test_loopback_is_reached_directly(host: str) -> None:
    assert route(Origin("http", host, 80), {"http": "http://proxy.test:1"}) == Route(host, 80)


def test_addresses_of_version_6_are_bracketed() -> None:
    assert route(Origin("https", "2001:db8::1", 8443), {"https": "http://p.test:1"}).tunnel == b"[2001:db8::1]:8443"


@pytest.mark.parametrize("url", ["socks5://secret:word@proxy.test:1", "https://secret:word@proxy.test", "http://:3128"])
def test_other_proxies_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(UpstreamFault) as caught:
        route(API, {"https": url})
    assert caught.value.code == "connect_failed"
    assert "word" not in caught.value.message
