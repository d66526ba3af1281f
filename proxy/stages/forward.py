"""Reach the upstream: choose it by the model, put the request on its way, hand back what comes."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal
from urllib.parse import unquote_to_bytes, urlsplit

from exporters.trace_context import format_traceparent, new_span_id

from ..errors import ClientFault
from ..exchange import Exchange
from ..http.headers import CREDENTIALS, to_caller, to_upstream, without
from ..http.message import Origin, Timeouts, UpstreamRequest
from ..http.upstream import Pool
from ..http.websocket import Refused, Tunneler
from ..metering.prices import provider_at
from ..openai import prompt_cache
from ..openai.call import STREAMS_WITH_USAGE_OPTION
from ..openai.coding import plain as without_coding
from ..openai.rewrite import ask_for_usage, fill_prompt_cache_key
from ..reply import RawHeaders, Reply
from ..settings import Upstream
from .authenticate import SUBPROTOCOL_KEY

_AUTHORIZATION = frozenset({b"authorization"})
_KEYS = frozenset(CREDENTIALS)
"""None of them is for an upstream that is given a key of its own."""
_MODEL_CHARS_MAX = 256
"""Longer names of models are matched each time, not remembered."""


@dataclass(frozen=True, slots=True)
class Route:
    """One upstream, made ready: what does not change between calls."""

    name: str
    provider: str
    origin: Origin
    host: tuple[bytes, bytes]
    base_path: bytes
    models: tuple[str, ...]
    authorization: bytes | None
    include_usage: bool
    prompt_cache_key: prompt_cache.Rule
    batch: Literal["provider", "local", "none"]
    timeouts: Timeouts
    pool: Pool

    @classmethod
    def of(cls, upstream: Upstream) -> Route:
        """From a setting whose `api_key` is resolved."""
        parts = urlsplit(upstream.base_url)
        origin = Origin(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or (443 if parts.scheme == "https" else 80),
            ca_file=upstream.ca_file,
        )
        return cls(
            name=upstream.name,
            provider=provider_at(upstream),
            origin=origin,
            host=(b"Host", origin.authority),
            base_path=parts.path.rstrip("/").encode(),
            models=upstream.models,
            authorization=f"Bearer {upstream.api_key}".encode() if upstream.api_key else None,
            include_usage=upstream.include_usage,
            prompt_cache_key=upstream.prompt_cache_key,
            batch=upstream.batch,
            timeouts=Timeouts(
                connect_s=upstream.connect_timeout_s,
                first_byte_s=upstream.first_byte_timeout_s,
                idle_s=upstream.idle_timeout_s,
                total_s=upstream.total_timeout_s,
            ),
            pool=Pool(connections_max=upstream.connections_max, keepalive_s=upstream.keepalive_s),
        )


class Forward:
    """The last handler of the chain."""

    def __init__(self, routes: Sequence[Route], tunneler: Tunneler) -> None:
        self._routes = routes
        self._by_name: Mapping[str, Route] = {route.name: route for route in routes}
        self._by_model: dict[str, Route] = {}
        self._tunneler = tunneler

    async def __call__(self, exchange: Exchange) -> Reply:
        """Raises `ClientFault` when no upstream takes the call, `UpstreamFault` when the upstream gives no reply."""
        route = self._by_name[exchange.upstream] if exchange.upstream else self.choose(exchange)
        target = _target(route, exchange)
        headers = _headers(route, exchange)
        if exchange.websocket:
            return await self._tunnel(route, exchange, target, headers)
        request = _request(route, exchange, target, headers)
        response = await route.pool.send(
            route.origin,
            request,
            route.timeouts,
            exchange.attempts,
            new_span_id=new_span_id,
            upstream=route.name,
        )
        return Reply(response.status, to_caller(response.headers), response.body, response.reason)

    def choose(self, exchange: Exchange) -> Route:
        """Note where the call goes, for those who must know it before it goes. Raises `ClientFault`: nowhere."""
        route = self._route(exchange)
        exchange.upstream = route.name
        exchange.provider = route.provider
        return route

    async def aclose(self) -> None:
        await self._tunneler.aclose()
        for route in self._routes:
            await route.pool.aclose()

    def _route(self, exchange: Exchange) -> Route:
        if exchange.bound:
            return self._by_name[exchange.bound]
        wanted = exchange.header(b"x-penstock-upstream")
        if wanted is not None:
            route = self._by_name.get(wanted.decode("latin-1"))
            if route is None:
                raise ClientFault(
                    f"There is no upstream of that name; x-penstock-upstream takes one of {', '.join(self._by_name)}.",
                    code="upstream_not_found",
                    param="x-penstock-upstream",
                    status=404,
                )
            return route
        model = exchange.call.model if exchange.call is not None else ""
        if not model:
            return self._routes[0]
        known = self._by_model.get(model)
        return known if known is not None else self._match(model)

    def _match(self, model: str) -> Route:
        for route in self._routes:
            if any(fnmatchcase(model, pattern) for pattern in route.models):
                if len(self._by_model) < 10_000 and len(model) <= _MODEL_CHARS_MAX:
                    self._by_model[model] = route
                return route
        raise ClientFault(
            f"No upstream takes the model {model!r}. Add it to the models of one in penstock.toml.",
            code="model_not_found",
            param="model",
            status=404,
        )

    async def _tunnel(self, route: Route, exchange: Exchange, target: bytes, headers: RawHeaders) -> Reply:
        if exchange.method != "GET":
            raise ClientFault("Only a GET can become a WebSocket. Leave out Upgrade.", code="invalid_upgrade")
        asked = exchange.header(b"sec-websocket-protocol") or b""
        offered = [part.strip() for part in asked.split(b",")]
        if _caller_key_stays(route, exchange):
            offered = [part for part in offered if not part.startswith(SUBPROTOCOL_KEY)]
        protocols = tuple(part.decode("latin-1") for part in offered if part)
        tls = ssl.create_default_context(cafile=route.origin.ca_file) if route.origin.ca_file else None
        try:
            tunnel = await self._tunneler.connect(
                route.origin,
                target,
                without(headers, b"host"),
                protocols,
                connect_s=route.timeouts.connect_s,
                tls=tls,
            )
        except Refused as refusal:
            reply = refusal.reply()
            return Reply(refusal.http_status, reply.headers, reply.body)
        return Reply(101, [], tunnel)


def _target(route: Route, exchange: Exchange) -> bytes:
    path = exchange.path
    if not path.startswith("/v1/") and path != "/v1":
        raise ClientFault(
            f"There is nothing at {path!r}. Penstock serves the OpenAI API below /v1: set the client's base URL to "
            "end in /v1.",
            code="not_found",
            status=404,
        )
    if "." in path or "%" in path or "\\" in path:
        for segment in unquote_to_bytes(path).replace(b"\\", b"/").split(b"/"):
            if segment in (b".", b".."):
                raise ClientFault("The path leaves the API's base URL.", code="invalid_path")
    target = route.base_path + path[3:].encode("utf-8", "surrogateescape")
    if exchange.query:
        target += b"?" + exchange.query.encode("utf-8", "surrogateescape")
    return target or b"/"


def _caller_key_stays(route: Route, exchange: Exchange) -> bool:
    """The key that the caller sent is Penstock's, or the upstream has one of its own."""
    return route.authorization is not None or exchange.caller_authorization_is_ours


def _headers(route: Route, exchange: Exchange) -> RawHeaders:
    dropped = frozenset[bytes]()
    if _caller_key_stays(route, exchange):
        dropped = _AUTHORIZATION if route.authorization is None else _KEYS
    headers = to_upstream(exchange.headers, exchange.names, dropped)
    headers.insert(0, route.host)
    if route.authorization is not None:
        headers.append((b"Authorization", route.authorization))
    if exchange.parent_span_id:
        # The caller traces: its trace goes on through us, with our span as the parent.
        value = format_traceparent(exchange.trace_id, exchange.span_id, exchange.header(b"traceparent"))
        headers = [(n, value if n.lower() == b"traceparent" else v) for n, v in headers]
    return headers


def _request(route: Route, exchange: Exchange, target: bytes, headers: RawHeaders) -> UpstreamRequest:
    method = exchange.method.encode("latin-1")
    body = exchange.body
    if not body.is_whole:
        if body.length is None and (exchange.header(b"transfer-encoding") or b"").lower() != b"chunked":
            # The other coding would be taken off the head and left on the body.
            raise ClientFault(
                "The request has a transfer coding beside chunked. Send it as Content-Encoding.",
                code="unsupported_transfer_coding",
                status=501,
            )
        return UpstreamRequest(method, target, headers, body, body.length)
    data = body.data or b""
    data, headers = _filled_in(route, exchange, data, headers)
    return UpstreamRequest(method, target, headers, data, len(data))


def _filled_in(route: Route, exchange: Exchange, data: bytes, headers: RawHeaders) -> tuple[bytes, RawHeaders]:
    """The body with what this upstream is to have and the caller left out; as it came, or was changed on its way here,
    when that is nothing."""
    call, endpoint, encoding = exchange.call, exchange.endpoint, exchange.header(b"content-encoding")
    if exchange.sent is not None:
        data, headers, encoding = exchange.sent, without(headers, b"content-encoding"), None
    if call is None:
        return data, headers
    asks = route.include_usage and call.stream and endpoint in STREAMS_WITH_USAGE_OPTION and not call.asks_for_usage
    fills = route.prompt_cache_key != "off" and endpoint in prompt_cache.ENDPOINTS and call.prompt_cache_key is None
    plain = without_coding(data, encoding) if asks or fills else None
    if plain is None:
        return data, headers
    changed = plain
    if asks and (asking := ask_for_usage(plain)) is not None:
        changed = asking
        exchange.usage_asked = True
        # Not compressed: a chunk is to be taken out of the reply.
        headers = [*without(headers, b"accept-encoding"), (b"Accept-Encoding", b"identity")]
    if fills and (key := _prompt_cache_key(route.prompt_cache_key, exchange, plain)):
        changed = fill_prompt_cache_key(changed, key) or changed
    if changed is plain:
        return data, headers
    return changed, without(headers, b"content-encoding")


def _prompt_cache_key(rule: prompt_cache.Rule, exchange: Exchange, plain: bytes) -> str:
    """ "" where the call has nothing to make a key of."""
    if rule == "session":
        return prompt_cache.session_key(exchange.session)
    if rule == "key":
        sent = (exchange.header(name) for name in CREDENTIALS)
        return prompt_cache.caller_key(exchange.key_id, next((value for value in sent if value), b""))
    return prompt_cache.prefix_key(plain)
