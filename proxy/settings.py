"""The configuration: what every key of `penstock.toml` is, its default and its limits.

The structs are the contract; `load` reads a file into them. Every default is a working one: no file is a valid file.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0, le=1_000_000)]
Rate = Annotated[float, Meta(ge=0, le=1_000_000)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file. Unknown keys are refused with the nearest valid name."""


class Server(Section, frozen=True):
    """Who may call, and how much."""

    host: str = "127.0.0.1"
    """Address to listen on. Beyond loopback, `keys` or `--insecure` are needed."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 4100
    """Where the API is served; 0 takes a free one."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Worker processes that share the port; one for each CPU core at most."""
    data_dir: str = "penstock-data"
    """Directory of the spool, the cache, the queue and the embedded store."""
    keys: tuple[str, ...] = ()
    """Accepted proxy keys, each `sha256:HEX`, `env:NAME` or `file:PATH`. None: open, on loopback only.

    After `load` all are `sha256:HEX`.
    """
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    """When a caller leaves mid-reply: cancel the upstream's work, or read the rest for its usage."""
    drain_timeout_s: Seconds = 30.0
    """How long the rest of an abandoned reply is read for its usage, with `on_disconnect = "drain"`."""
    shutdown_timeout_s: Seconds = 30.0
    """How long open exchanges may finish after SIGTERM or a reload."""
    concurrent_max: Positive = 2000
    """Open exchanges per worker; beyond, 503 with Retry-After."""
    header_bytes_max: Positive = 65536
    """Of one request or reply head; larger ones are refused."""
    body_bytes_max: Positive = 512 * 1024 * 1024
    """Of one request; beyond, 413."""
    parsed_body_bytes_max: Positive = 64 * 1024 * 1024
    """Bodies of the endpoints that are parsed are held whole in memory, up to this."""


class Upstream(Section, frozen=True):
    """An OpenAI-compatible API. The first whose `models` match takes the call."""

    name: str
    """In records and in the `x-penstock-upstream` request header."""
    base_url: str
    """Its address as a client would have it, mostly ending in /v1."""
    api_key: str | None = None
    """`env:NAME` or `file:PATH`; absent: the caller's own key is passed through.

    After `load` it is the key itself.
    """
    models: tuple[str, ...] = ("*",)
    """Patterns (`*`, `?`, `[...]`) of the models it serves."""
    provider: str = ""
    """The name prices are looked up by (openai, anthropic, ...); "" guesses it from the host."""
    batch: Literal["provider", "local", "none"] = "provider"
    """Who runs deferred work: the provider's Batch API, Penstock, or nobody."""
    include_usage: bool = True
    """Ask for usage on every stream; off for servers that refuse unknown fields."""
    ca_file: str | None = None
    """PEM file with the authorities to trust instead of the system's."""
    connections_max: Positive = 1000
    """Open connections per worker; beyond, calls wait for one."""
    keepalive_s: Seconds = 55.0
    """How long an idle connection is kept for the next call."""
    connect_timeout_s: Seconds = 10.0
    """To connect, with TLS; 0 here and below: no limit."""
    first_byte_timeout_s: Seconds = 600.0
    """From the end of the request to the first byte of the reply."""
    idle_timeout_s: Seconds = 300.0
    """Between two pieces of a reply."""
    total_timeout_s: Seconds = 0.0
    """For the whole call."""


class Store(Section, frozen=True):
    """Where records are kept."""

    clickhouse: str = "embedded"
    """`embedded`, or `http(s)://user:password@host:8123/database`; password or whole as `env:NAME` or `file:PATH`.

    After `load` the password is in it, percent-encoded.
    """
    retention_days: Positive = 90
    """Older rows are deleted by ClickHouse."""
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 8123
    """The embedded store's own ClickHouse interface, on loopback."""
    memory_bytes_max: Positive = 2 * 1024 * 1024 * 1024
    """Cap of the embedded store."""
    cluster: str = ""
    """A cluster name emits Replicated and Distributed tables."""


class Record(Section, frozen=True):
    """How much of an exchange is kept."""

    content: Literal["full", "redacted", "off"] = "full"
    """Messages as they are, without private text, or not at all. Counts and prices are kept in any case."""
    capture_bytes_max: Positive = 4 * 1024 * 1024
    """Of each body; what is beyond is metered but not kept."""
    redact: tuple[str, ...] = ()
    """Regular expressions beside the built-in ones, for `content = "redacted"`."""


class Spool(Section, frozen=True):
    """Records on their way to the store and the exporters, on disk."""

    fsync: Literal["never", "interval", "always"] = "never"
    """When the disk must have it: a power cut loses what it had not. A killed process loses nothing."""
    segment_bytes_max: Positive = 64 * 1024 * 1024
    """A file of the spool is closed at this size."""
    segment_age_max_s: Seconds = 60.0
    """A file of the spool is closed at this age."""
    bytes_max: Positive = 10 * 1024 * 1024 * 1024
    """Disk quota of all spools; beyond, the oldest segments are dropped, counted and logged."""
    batch_records_max: Positive = 10_000
    """Records in one insert or export."""
    batch_age_max_s: Seconds = 0.5
    """How long a record may wait for others to be sent with it."""


class Otlp(Section, frozen=True):
    """An OpenTelemetry endpoint that gets every span."""

    endpoint: str
    """Address with path, `http://127.0.0.1:4318/v1/traces`; for grpc `127.0.0.1:4317`."""
    protocol: Literal["http/protobuf", "grpc"] = "http/protobuf"
    """How spans are sent."""
    headers: dict[str, str] = {}
    """Sent with every export; credentials as `env:NAME` or `file:PATH`."""
    content: Literal["full", "redacted", "off"] = "full"
    """What of the messages goes there; never more than `record.content` keeps."""
    timeout_s: Seconds = 10.0
    """For one export."""
    name: str = ""
    """Names the checkpoint; "" derives it from the endpoint."""
    dialect: Literal["gen_ai", "langfuse", "langsmith", "openinference"] = "gen_ai"
    """Extra attribute names for one backend."""


class Metrics(Section, frozen=True):
    """Prometheus metrics."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 9464
    """Prometheus /metrics of the recorder; 0 turns it off."""


class Price(Section, frozen=True):
    """What a model costs, in USD per million tokens, instead of what the bundled list says."""

    input: Rate
    """Input that was neither read from nor written to the provider's prompt cache."""
    output: Rate = 0.0
    """Output, reasoning included."""
    cached: Rate | None = None
    """Input read from the prompt cache; absent: as `input`."""
    cache_write: Rate | None = None
    """Input written to the prompt cache; absent: as `input`."""
    input_audio: Rate | None = None
    """Absent: as `input`."""
    output_audio: Rate | None = None
    """Absent: as `output`."""
    tiers: dict[str, Rate] = {}
    """Factor by service tier, `{ flex = 0.5, batch = 0.5, priority = 2.0 }`; at other tiers the price is not known."""


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
    """By name or pattern of the model, or of `provider/model`; before the bundled price list."""
