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
    prompt_cache_key: Literal["off", "session", "key", "prefix"] = "off"
    """Fill in the field of that name where a chat or response has none: a hash of its session, of the caller's key, or
    of its instructions and tools. Calls with equal ones are routed to where their beginning was read before."""
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
    writer: Literal["penstock", "collector"] = "penstock"
    """Who writes the calls: Penstock, or a Collector that gets them by `[[otlp]]`. All else is Penstock's to write."""


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
    """An OpenTelemetry endpoint that gets every span. A preset needs little else; what is said beside it wins."""

    preset: Literal["", "langfuse", "langsmith", "promptlayer", "weave", "phoenix", "mlflow", "collector"] = ""
    """A backend by name: its address, how it knows who sends, its dialect. See [otlp.md](otlp.md)."""
    endpoint: str = ""
    """Address with path, `http://127.0.0.1:4318/v1/traces`; for grpc `127.0.0.1:4317`. "": where the preset's is.
    Without a path it gets the preset's, else `/v1/traces`."""
    public_key: str = ""
    """For langfuse, as `env:NAME` or `file:PATH`. "": from the environment, under the name the backend's tools use."""
    secret_key: str = ""
    """For langfuse, likewise."""
    api_key: str = ""
    """For langsmith, promptlayer and weave, and for phoenix and mlflow if they ask for one, likewise."""
    project: str = ""
    """For weave, langsmith and phoenix."""
    entity: str = ""
    """For weave: the team or user whose project it is."""
    experiment_id: str = ""
    """For mlflow; "": 0, the one that is always there."""
    protocol: Literal["http/protobuf", "grpc"] = "http/protobuf"
    """How spans are sent."""
    headers: dict[str, str] = {}
    """Sent with every export; credentials as `env:NAME` or `file:PATH`."""
    content: Literal["full", "redacted", "off"] = "full"
    """What of the messages goes there; never more than `record.content` keeps."""
    timeout_s: Seconds = 10.0
    """For one export."""
    name: str = ""
    """Names the checkpoint; "" derives it from the preset and the endpoint."""
    dialect: Literal["", "gen_ai", "langfuse", "langsmith", "mlflow", "openinference", "promptlayer", "weave"] = ""
    """Attribute names for one backend. "": the preset's, else `gen_ai`, the conventions as they are."""


class Export(Section, frozen=True):
    """Every finished generation as a line of JSON in a file, for whatever reads files."""

    jsonl: str = ""
    """The file, `exports/calls.jsonl`; "": none. Full ones stand beside it as `calls-20261123T120000-1.jsonl.zst`."""
    content: Literal["full", "redacted", "off"] = "full"
    """What of the messages is in it; never more than `record.content` keeps."""
    rotate_bytes: Annotated[int, Meta(ge=0)] = 256 * 1024 * 1024
    """The file is full at this size; 0 here and below: no limit."""
    rotate_s: Seconds = 86_400.0
    """The file is full when its first line is so old and another one comes."""
    compression: Literal["zstd", "gzip", "none"] = "zstd"
    """Of full files."""
    keep_files: Annotated[int, Meta(ge=0)] = 0
    """Beyond so many full files the oldest are removed."""
    keep_bytes: Annotated[int, Meta(ge=0)] = 0
    """Likewise beyond so many bytes."""


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


class CacheRule(Section, frozen=True):
    """Which calls the response cache takes without being asked; the first rule that fits decides."""

    models: tuple[str, ...] = ("*",)
    """Patterns (`*`, `?`, `[...]`) of the models asked for."""
    paths: tuple[str, ...] = ("*",)
    """Patterns of the paths, `/v1/embeddings`."""
    tags: dict[str, str] = {}
    """Tags that a call must have, each with a pattern of its value."""
    temperature_max: Annotated[float, Meta(ge=0)] | None = None
    """Only calls that ask for this temperature or less; absent: all."""
    cache: Literal["on", "off", "refresh"] = "on"
    """Serve and keep, neither, or ask anew and keep."""
    ttl_s: Seconds | None = None
    """How long replies are given again; absent: `cache.ttl_s`."""
    namespace: str = ""
    """The namespace of these calls, unless a call names one."""
    variants: Annotated[int, Meta(ge=1, le=100)] = 1
    """So many different replies are kept for one question and given in turn."""
    semantic: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Also give the reply to a question as similar as this (cosine); absent: only to the same one."""
    force: bool = False
    """Also keep what depends on the provider's state (`store`, `previous_response_id`, hosted tools, background)."""


class Cache(Section, frozen=True):
    """Replies that were paid for, given again to the same question. Only for calls that ask for it, or fit a rule."""

    enabled: bool = True
    """false takes the cache out of the way of every call, whatever it asks for."""
    ttl_s: Seconds = 86_400.0
    """How long a reply is given again; 0: until it has to make room."""
    memory_bytes_max: Annotated[int, Meta(ge=0)] = 64 * 1024 * 1024
    """Replies in the memory of each worker; 0: none."""
    disk_bytes_max: Annotated[int, Meta(ge=0)] = 2 * 1024 * 1024 * 1024
    """Replies on disk, shared by all workers; 0: none."""
    entry_bytes_max: Positive = 4 * 1024 * 1024
    """A longer reply is not kept."""
    redis: str = ""
    """`redis://host:6379/0`, shared by machines; password or whole as `env:NAME` or `file:PATH`. "": none."""
    redis_timeout_s: Seconds = 0.01
    """A Redis that is slower is passed over."""
    shared_namespaces: tuple[str, ...] = ()
    """Namespaces in which all callers are given each other's replies. Everywhere else each has its own."""
    coalesce: bool = True
    """Identical calls in flight share one call of the upstream."""
    pace_s: Seconds = 0.0
    """Pause between two events of a stream that is given again; 0: as fast as it goes."""
    embeddings_url: str = ""
    """`/v1/embeddings` address for the semantic rules; "": a small model in the worker."""
    embeddings_model: str = ""
    """Model to ask there."""
    embeddings_key: str = ""
    """Its key, as `env:NAME` or `file:PATH`."""
    keys: tuple[str, ...] = ()
    """Keys that may see and purge everybody's replies at `/penstock/cache`, each as in `server.keys`.

    After `load` all are `sha256:HEX`.
    """
    rules: tuple[CacheRule, ...] = ()


class BatchRule(Section, frozen=True):
    """Which calls may wait without having said so; the first rule that fits decides."""

    models: tuple[str, ...] = ("*",)
    """Patterns (`*`, `?`, `[...]`) of the models asked for."""
    paths: tuple[str, ...] = ("*",)
    """Patterns of the paths, `/v1/chat/completions`."""
    keys: tuple[str, ...] = ("*",)
    """Patterns of the ids of proxy keys: the first digits of their hashes."""
    tags: dict[str, str] = {}
    """Tags that a call must have, each with a pattern of its value."""
    batch: Literal["flex", "hold", "async", "off"] = "flex"
    """As in the header `x-penstock-batch`. `async` leaves streams as they are."""
    deadline: str = ""
    """As in the header `x-penstock-deadline`: `90s`, `30m`, `2h` or `1d`."""


class Batch(Section, frozen=True):
    """Calls that may wait, at half the price. Only those that ask for it, or fit a rule."""

    enabled: bool = True
    """false: no queue and no dispatcher; batches of the callers' own pass through unwatched."""
    url: str = ""
    """Where the queue is: `postgresql://user:password@host/database`, password or whole as `env:NAME` or `file:PATH`.

    "": an SQLite file in the data directory. After `load` the password is in it.
    """
    secret: str = ""
    """Seals the callers' keys in the queue: at least 16 characters, as `env:NAME` or `file:PATH`; the same for all
    who share the queue. "": a file of its own in the data directory."""
    window_s: Seconds = 60.0
    """How long calls are gathered for one batch."""
    window_items_max: Annotated[int, Meta(ge=1, le=50_000)] = 1000
    """A batch is sent with so many."""
    window_bytes_max: Annotated[int, Meta(ge=1, le=200_000_000)] = 50_000_000
    """A batch is sent at this size."""
    item_bytes_max: Positive = 16 * 1024 * 1024
    """Of one call that waits; beyond, 413."""
    queue_items_max: Positive = 100_000
    """Calls in the queue; beyond, 503 with Retry-After."""
    queue_bytes_max: Positive = 4 * 1024 * 1024 * 1024
    """Of the calls in the queue, and of the files of local batches; beyond, 503 with Retry-After."""
    held_max: Positive = 10_000
    """Calls that a worker holds open for their reply; beyond, 503 with Retry-After."""
    deadline_s: Annotated[float, Meta(ge=1, le=2_592_000)] = 86_400.0
    """For calls that name none. What is late is asked live: first at the flex tier, then at the standard one."""
    escalate_before_s: Seconds = 900.0
    """How long before its deadline a call is taken out of the batch to be asked live."""
    keep_s: Seconds = 86_400.0
    """How long a reply may be fetched."""
    heartbeat_s: Annotated[float, Meta(ge=0.1, le=3600)] = 15.0
    """Between two comments on a held stream."""
    flex_wait_s: Seconds = 120.0
    """How long `flex` is tried for calls that name no deadline; then the standard tier."""
    poll_s: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    """Before a batch is first looked after; later ever less often, down to every `poll_max_s`."""
    poll_max_s: Annotated[float, Meta(ge=0.1, le=86_400)] = 120.0
    """Between two looks at a batch."""
    local_concurrency: Annotated[int, Meta(ge=1, le=1000)] = 4
    """Calls at a time to an upstream with `batch = "local"`, live ones among them: what it runs in parallel."""
    record_own: bool = True
    """Batches that callers make themselves are watched, and their lines recorded when they are finished."""
    webhook_secret: str = ""
    """Signs webhooks (Standard Webhooks, `whsec_...`), as `env:NAME` or `file:PATH`. "": they are not signed."""
    webhook_hosts: tuple[str, ...] = ()
    """Hosts to which webhooks may go although they are private or without TLS. All others: public and HTTPS only."""
    rules: tuple[BatchRule, ...] = ()


class Variant(Section, frozen=True):
    """One of the models that an alias stands for."""

    model: str
    """What the upstream is asked for, and what is priced."""
    name: str = ""
    """In records and headers; "": the model."""
    weight: Rate = 1.0
    """Its share is this over the sum of all; 0: only for calls that name it in `x-penstock-variant`."""
    upstream: str = ""
    """Where it is asked; "": as the `models` of `[[upstreams]]` say."""
    prune: tuple[str, ...] = ()
    """Texts that are cut off instructions that begin with one, as they were cut off its training data."""
    prune_user: tuple[str, ...] = ()
    """Likewise off the user's turn, where there is only one."""


class Model(Section, frozen=True):
    """An alias: a name that callers ask for, and the models that share its calls."""

    name: str
    """What callers ask for."""
    sticky: Literal["session", "user", "key", "none"] = "session"
    """Whose calls stay with one variant. A call that has none goes by its user or session, else by itself."""
    baseline: str = ""
    """A variant, by its name: what a call of another one would have cost there goes to `savings` as `smaller_model`."""
    variants: tuple[Variant, ...] = ()


OPENAI = Upstream(name="openai", base_url="https://api.openai.com/v1")


class Settings(Section, frozen=True):
    server: Server = Server()
    upstreams: tuple[Upstream, ...] = (OPENAI,)
    store: Store = Store()
    record: Record = Record()
    spool: Spool = Spool()
    otlp: tuple[Otlp, ...] = ()
    export: Export = Export()
    metrics: Metrics = Metrics()
    cache: Cache = Cache()
    batch: Batch = Batch()
    models: tuple[Model, ...] = ()
    prices: dict[str, Price] = {}
    """By name or pattern of the model, or of `provider/model`; before the bundled price list."""
