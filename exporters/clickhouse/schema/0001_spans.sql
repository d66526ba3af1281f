-- Spans in the OpenTelemetry Collector's own schema (clickhouseexporter, its newest template with classic indexes):
-- names, columns and their order are its contract. What is added here is the deduplication window.

CREATE TABLE IF NOT EXISTS $database.otel_traces$local $on_cluster (
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    TraceId String CODEC(ZSTD(1)),
    SpanId String CODEC(ZSTD(1)),
    ParentSpanId String CODEC(ZSTD(1)),
    TraceState String CODEC(ZSTD(1)),
    SpanName LowCardinality(String) CODEC(ZSTD(1)),
    SpanKind LowCardinality(String) CODEC(ZSTD(1)),
    ServiceName LowCardinality(String) CODEC(ZSTD(1)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    ScopeName String CODEC(ZSTD(1)),
    ScopeVersion String CODEC(ZSTD(1)),
    SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    Duration UInt64 CODEC(T64, ZSTD(1)),
    StatusCode LowCardinality(String) CODEC(ZSTD(1)),
    StatusMessage String CODEC(ZSTD(1)),
    Events Nested (
        Timestamp DateTime64(9),
        Name LowCardinality(String),
        Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(1)),
    Links Nested (
        TraceId String,
        SpanId String,
        TraceState String,
        Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_res_attr_key mapKeys(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_res_attr_value mapValues(ResourceAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_key mapKeys(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_span_attr_value mapValues(SpanAttributes) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_duration Duration TYPE minmax GRANULARITY 1,
    INDEX idx_lower_span_name lower(SpanName) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8
) ENGINE = ${replicated}MergeTree
PARTITION BY toDate(Timestamp)
PRIMARY KEY (ServiceName, SpanName, toDateTime(Timestamp))
ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp)
TTL toDateTime(Timestamp) + toIntervalDay($retention_days)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, min_bytes_for_wide_part = 268435456,
    non_replicated_deduplication_window = $window;

-- only in a cluster
CREATE TABLE IF NOT EXISTS $database.otel_traces $on_cluster AS $database.otel_traces_local
ENGINE = Distributed('$cluster', '$database', 'otel_traces_local', cityHash64(TraceId));

CREATE TABLE IF NOT EXISTS $database.otel_traces_trace_id_ts$local $on_cluster (
    TraceId String CODEC(ZSTD(1)),
    Start DateTime CODEC(Delta(4), ZSTD(1)),
    End DateTime CODEC(Delta(4), ZSTD(1)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.01) GRANULARITY 1
) ENGINE = ${replicated}MergeTree
PARTITION BY toDate(Start)
ORDER BY (TraceId, Start)
TTL toDateTime(Start) + toIntervalDay($retention_days)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, min_bytes_for_wide_part = 268435456,
    non_replicated_deduplication_window = $window;

-- only in a cluster
CREATE TABLE IF NOT EXISTS $database.otel_traces_trace_id_ts $on_cluster AS $database.otel_traces_trace_id_ts_local
ENGINE = Distributed('$cluster', '$database', 'otel_traces_trace_id_ts_local', cityHash64(TraceId));

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.otel_traces_trace_id_ts_mv $on_cluster
TO $database.otel_traces_trace_id_ts$local
AS SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End
FROM $database.otel_traces$local
WHERE TraceId != ''
GROUP BY TraceId;

-- The way in: nothing stays here. Penstock writes to it, and a Collector should (its option `traces_table_name`).
CREATE TABLE IF NOT EXISTS $database.otel_traces_ingest$local $on_cluster (
    Timestamp DateTime64(9),
    TraceId String,
    SpanId String,
    ParentSpanId String,
    TraceState String,
    SpanName LowCardinality(String),
    SpanKind LowCardinality(String),
    ServiceName LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String),
    ScopeName String,
    ScopeVersion String,
    SpanAttributes Map(LowCardinality(String), String),
    Duration UInt64,
    StatusCode LowCardinality(String),
    StatusMessage String,
    Events Nested (
        Timestamp DateTime64(9),
        Name LowCardinality(String),
        Attributes Map(LowCardinality(String), String)
    ),
    Links Nested (
        TraceId String,
        SpanId String,
        TraceState String,
        Attributes Map(LowCardinality(String), String)
    )
) ENGINE = Null;

-- only in a cluster
CREATE TABLE IF NOT EXISTS $database.otel_traces_ingest $on_cluster AS $database.otel_traces_ingest_local
ENGINE = Distributed('$cluster', '$database', 'otel_traces_ingest_local', cityHash64(TraceId));

-- The caller's text is kept once, in `generations`; the marker says so. Spans of other kinds stay as they are.
CREATE MATERIALIZED VIEW IF NOT EXISTS $database.otel_traces_mv $on_cluster
TO $database.otel_traces$local
AS SELECT
    * EXCEPT (SpanAttributes),
    if(
        mapContains(SpanAttributes, 'penstock.request.id')
            OR SpanAttributes['gen_ai.operation.name']
                NOT IN ('', 'execute_tool', 'invoke_agent', 'create_agent', 'invoke_workflow'),
        mapUpdate(
            mapFilter(
                (name, value) -> name NOT IN (
                    'gen_ai.input.messages', 'gen_ai.output.messages',
                    'gen_ai.system_instructions', 'gen_ai.tool.definitions'
                ),
                SpanAttributes
            ),
            map('penstock.content.stored', 'generations')
        ),
        SpanAttributes
    ) AS SpanAttributes
FROM $database.otel_traces_ingest$local;
