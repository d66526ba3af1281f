"""The configuration: what every key of `penstock.toml` is, its default and its limits.

The structs are the contract; `load` reads a file into them. Every default is a working one: no file is a valid file.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file. Unknown keys are refused with the nearest valid name."""


class Server(Section, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 4100
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    data_dir: str = "penstock-data"
    keys: tuple[str, ...] = ()
    """Accepted proxy keys, each `sha256:HEX`, `env:NAME` or `file:PATH`. None: open, on loopback only."""
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    drain_timeout_s: Seconds = 30.0
    """How long the rest of an abandoned reply is read for its usage, with `on_disconnect = "drain"`."""
    shutdown_timeout_s: Seconds = 30.0
    """How long open exchanges may finish after SIGTERM or a reload."""
    concurrent_max: Positive = 2000
    """Open exchanges per worker; beyond, 503 with Retry-After."""
    header_bytes_max: Positive = 65536
    body_bytes_max: Positive = 512 * 1024 * 1024
    parsed_body_bytes_max: Positive = 64 * 1024 * 1024
    """Bodies of the endpoints that are parsed are held whole in memory, up to this."""


class Upstream(Section, frozen=True):
    name: str
    base_url: str
    api_key: str | None = None
    """`env:NAME` or `file:PATH`; absent: the caller's own key is passed through."""
    models: tuple[str, ...] = ("*",)
    provider: str = ""
    """The name prices are looked up by (openai, anthropic, ...); "" guesses it from the host."""
    batch: Literal["provider", "local", "none"] = "provider"
    include_usage: bool = True
    """Ask for usage on every stream; off for servers that refuse unknown fields."""
    ca_file: str | None = None
    connections_max: Positive = 1000
    keepalive_s: Seconds = 55.0
    connect_timeout_s: Seconds = 10.0
    first_byte_timeout_s: Seconds = 600.0
    idle_timeout_s: Seconds = 300.0
    total_timeout_s: Seconds = 0.0


class Store(Section, frozen=True):
    clickhouse: str = "embedded"
    """`embedded`, or `http(s)://user:password@host:8123/database`; the password may be `env:NAME` or `file:PATH`."""
    retention_days: Positive = 90
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 8123
    """The embedded store's own ClickHouse interface, on loopback."""
    memory_bytes_max: Positive = 2 * 1024 * 1024 * 1024
    cluster: str = ""
    """A cluster name emits Replicated and Distributed tables."""


class Record(Section, frozen=True):
    content: Literal["full", "redacted", "off"] = "full"
    capture_bytes_max: Positive = 4 * 1024 * 1024
    """Of each body; what is beyond is metered but not kept."""
    redact: tuple[str, ...] = ()
    """Regular expressions beside the built-in ones, for `content = "redacted"`."""


class Spool(Section, frozen=True):
    fsync: Literal["never", "interval", "always"] = "never"
    segment_bytes_max: Positive = 64 * 1024 * 1024
    segment_age_max_s: Seconds = 60.0
    bytes_max: Positive = 10 * 1024 * 1024 * 1024
    """Disk quota of all spools; beyond, the oldest segments are dropped, counted and logged."""
    batch_records_max: Positive = 5000
    batch_age_max_s: Seconds = 0.5


class Otlp(Section, frozen=True):
    endpoint: str
    protocol: Literal["http/protobuf", "grpc"] = "http/protobuf"
    headers: dict[str, str] = {}
    content: Literal["full", "redacted", "off"] = "full"
    timeout_s: Seconds = 10.0
    name: str = ""
    """Names the checkpoint; "" derives it from the endpoint."""
    dialect: Literal["gen_ai", "langfuse", "langsmith", "openinference"] = "gen_ai"
    """Extra attribute names for one backend."""


class Metrics(Section, frozen=True):
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 9464
    """Prometheus /metrics of the recorder; 0 turns it off."""


class Price(Section, frozen=True):
    """USD per million tokens. Absent classes cost what `input` (or `output` for reasoning) costs."""

    input: Annotated[float, Meta(ge=0)]
    output: Annotated[float, Meta(ge=0)] = 0.0
    cached: Annotated[float, Meta(ge=0)] | None = None
    cache_write: Annotated[float, Meta(ge=0)] | None = None
    input_audio: Annotated[float, Meta(ge=0)] | None = None
    output_audio: Annotated[float, Meta(ge=0)] | None = None
    tiers: dict[str, float] = {}
    """Factor by service tier: `{ flex = 0.5, batch = 0.5, priority = 2.0 }`."""


OPENAI = Upstream(name="openai", base_url="https://api.openai.com/v1")


class Settings(Section, frozen=True):
    server: Server = Server()
    upstreams: tuple[Upstream, ...] = (OPENAI,)
    store: Store = Store()
    record: Record = Record()
    spool: Spool = Spool()
    otlp: tuple[Otlp, ...] = ()
    metrics: Metrics = Metrics()
    prices: dict[str, Price] = {}
    """By model name or pattern, before the bundled price list."""
