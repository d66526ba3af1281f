"""The official SDK's clients for an upstream and a caller's key, as the batch queue knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...reply import RawHeaders
from ...settings import Upstream

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_RETRIES: Final = 2
_UPLOAD_IDLE_S: Final = 600.0


def client_of(upstream: Upstream, headers: RawHeaders) -> AsyncOpenAI:
    """A client of the upstream. `headers`: the caller's credential, which an upstream with a key of its own never sees.

    It tries three times, so for what must not be done twice take `with_options(max_retries=0)` of it.
    """
    import openai

    sent: dict[str, Any] = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    authorization = sent.pop("authorization", "")
    key = upstream.api_key or ""
    if not key:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer":
            key, sent["Authorization"] = "", authorization or openai.Omit()
    else:
        sent = {name: value for name, value in sent.items() if name.startswith("openai-")}
    client = openai.AsyncOpenAI(
        api_key=key or "none",
        base_url=upstream.base_url,
        max_retries=_RETRIES,
        default_headers=sent,
        timeout=openai.Timeout(
            upstream.first_byte_timeout_s or None,
            connect=upstream.connect_timeout_s or None,
            write=upstream.idle_timeout_s or _UPLOAD_IDLE_S,
            pool=None,
        ),
        http_client=_trusting(upstream.ca_file),
    )
    # Of Penstock's own environment: the caller's, or none.
    client.organization = client.project = None
    return client


def _trusting(ca_file: str | None) -> Any:
    """None: an HTTP client of the SDK's own making."""
    if ca_file is None:
        return None
    import ssl

    import openai

    return openai.DefaultAsyncHttpxClient(verify=ssl.create_default_context(cafile=ca_file))
