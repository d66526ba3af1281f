"""The head of a request: framing is added, injection is refused, all else stays as it was."""

from __future__ import annotations

import pytest

from proxy.errors import ClientFault
from proxy.http.h1 import encode_head
from proxy.http.message import UpstreamRequest


class Pieces:
    async def read(self) -> bytes:
        return b""


def head(
    method: bytes = b"POST", body: bytes | Pieces = b"", length: int | None = 0, target: bytes = b"/v1/x"
) -> bytes:
    return encode_head(UpstreamRequest(method, target, [(b"Host", b"api.test")], body, length))


def test_fields_keep_order_case_and_duplicates() -> None:
    fields = [(b"HOST", b"a"), (b"x-Two", b"2"), (b"X-two", b""), (b"X-TWO", b"caf\xe9")]
    assert encode_head(UpstreamRequest(b"GET", b"/v1/models?a=%20b", fields)) == (
        b"GET /v1/models?a=%20b HTTP/1.1\r\nHOST: a\r\nx-Two: 2\r\nX-two: \r\nX-TWO: caf\xe9\r\n\r\n"
    )


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS"])
def test_no_length_without_a_body_where_none_is_expected(method: bytes) -> None:
    assert head(method) == method + b" /v1/x HTTP/1.1\r\nHost: api.test\r\n\r\n"
    assert head(method, b"{}").endswith(b"\r\nContent-Length: 2\r\n\r\n")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH"])
def test_an_empty_body_is_stated_where_one_is_expected(method: bytes) -> None:
    assert head(method).endswith(b"\r\nContent-Length: 0\r\n\r\n")
    assert head(method, b"abc").endswith(b"\r\nContent-Length: 3\r\n\r\n")


def test_pieces_have_a_length_or_are_chunked() -> None:
    assert head(b"POST", Pieces(), 7).endswith(b"\r\nContent-Length: 7\r\n\r\n")
    assert head(b"POST", Pieces(), None).endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_a_plain_proxy_sees_the_whole_address_and_its_own_fields() -> None:
    request = UpstreamRequest(b"GET", b"/v1/x", [(b"Host", b"api.test")])
    assert encode_head(request, b"http://api.test", [(b"Proxy-Authorization", b"Basic eA==")]) == (
        b"GET http://api.test/v1/x HTTP/1.1\r\nHost: api.test\r\nProxy-Authorization: Basic eA==\r\n\r\n"
    )
    assert request.headers == [(b"Host", b"api.test")]


@pytest.mark.parametrize("bad", [b"a\r\nX: b", b"a\rb", b"a\nb", b"a\0b", b"a\r\n\r\nGET / HTTP/1.1"])
def test_injection_is_refused_and_not_repeated(bad: bytes) -> None:
    for request in (
        UpstreamRequest(b"GET", b"/", [(b"X", bad)]),
        UpstreamRequest(b"GET", b"/", [(bad, b"x")]),
        UpstreamRequest(b"GET", b"/" + bad, []),
        UpstreamRequest(bad, b"/", []),
    ):
        with pytest.raises(ClientFault) as caught:
            encode_head(request)
        assert caught.value.code == "invalid_header"
        assert bad.decode() not in caught.value.message


def test_a_space_cannot_split_the_request_line() -> None:
    with pytest.raises(ClientFault):
        encode_head(UpstreamRequest(b"GET", b"/a HTTP/1.1 x", []))


@pytest.mark.parametrize("field", [(b"content-length", b"0"), (b"Transfer-Encoding", b"chunked")])
def test_framing_is_stated_once(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ClientFault):
        encode_head(UpstreamRequest(b"POST", b"/", [field], b"abc"))
