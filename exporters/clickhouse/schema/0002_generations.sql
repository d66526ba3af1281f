-- One typed row per call of a model, made from spans, whichever way they came.
--
-- By day: retention drops whole parts, and every dashboard asks for days. Sorted by hour first, because every question
-- has a time range, then by model and key, which is what the answers are grouped by.

CREATE TABLE IF NOT EXISTS $database.generations$local $on_cluster (
    timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    parent_span_id String CODEC(ZSTD(1)),
    service LowCardinality(String) CODEC(ZSTD(1)),
    operation LowCardinality(String) CODEC(ZSTD(1)),
    duration_ms Float64 CODEC(ZSTD(1)),
    ttft_ms Nullable(Float64) CODEC(ZSTD(1)),

    request_id String CODEC(ZSTD(1)),
    method LowCardinality(String) CODEC(ZSTD(1)),
    path String CODEC(ZSTD(1)),
    endpoint LowCardinality(String) CODEC(ZSTD(1)),
    provider LowCardinality(String) CODEC(ZSTD(1)),
    upstream LowCardinality(String) CODEC(ZSTD(1)),
    model LowCardinality(String) CODEC(ZSTD(1)),
    response_model LowCardinality(String) CODEC(ZSTD(1)),
    response_id String CODEC(ZSTD(1)),
    stream Bool CODEC(ZSTD(1)),
    status UInt16 CODEC(ZSTD(1)),
    outcome LowCardinality(String) CODEC(ZSTD(1)),
    error_type LowCardinality(String) CODEC(ZSTD(1)),
    error_message String CODEC(ZSTD(1)),
    request_bytes UInt64 CODEC(T64, ZSTD(1)),
    response_bytes UInt64 CODEC(T64, ZSTD(1)),
    key_id LowCardinality(String) CODEC(ZSTD(1)),
    user String CODEC(ZSTD(1)),
    session String CODEC(ZSTD(1)),
    prompt_name LowCardinality(String) CODEC(ZSTD(1)),
    prompt_version LowCardinality(String) CODEC(ZSTD(1)),
    content LowCardinality(String) CODEC(ZSTD(1)),
    truncated Bool CODEC(ZSTD(1)),
    input_messages String CODEC(ZSTD(1)),
    output_messages String CODEC(ZSTD(1)),
    system_instructions String CODEC(ZSTD(1)),
    tool_definitions String CODEC(ZSTD(1)),
    system_fingerprint LowCardinality(String) CODEC(ZSTD(1)),
    service_tier_requested LowCardinality(String) CODEC(ZSTD(1)),
    service_tier LowCardinality(String) CODEC(ZSTD(1)),
    usage_source LowCardinality(String) CODEC(ZSTD(1)),
    input_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    cached_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    cache_write_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    output_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    reasoning_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    input_audio_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    output_audio_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    input_image_tokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    cost Nullable(Float64) CODEC(ZSTD(1)),
    cost_input Nullable(Float64) CODEC(ZSTD(1)),
    cost_cached Nullable(Float64) CODEC(ZSTD(1)),
    cost_cache_write Nullable(Float64) CODEC(ZSTD(1)),
    cost_output Nullable(Float64) CODEC(ZSTD(1)),
    cache_status LowCardinality(String) CODEC(ZSTD(1)),
    batch_id String CODEC(ZSTD(1)),
    -- What the caller asked for, where that stands for several models, and which of them was chosen; `model` is its.
    alias LowCardinality(String) CODEC(ZSTD(1)),
    variant LowCardinality(String) CODEC(ZSTD(1)),

    finish_reasons Array(LowCardinality(String)) CODEC(ZSTD(1)),
    tags Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    savings Map(LowCardinality(String), Float64) CODEC(ZSTD(1)),
    response_headers Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    parameters String CODEC(ZSTD(1)),
    attempts UInt8 CODEC(ZSTD(1)),

    INDEX idx_request_id request_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_response_id response_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_session session TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_user user TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_tag_value mapValues(tags) TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX idx_cost cost TYPE minmax GRANULARITY 1
) ENGINE = ${replicated}MergeTree
PARTITION BY toDate(timestamp)
ORDER BY (toStartOfHour(timestamp), model, key_id, timestamp)
TTL toDateTime(timestamp) + toIntervalDay($retention_days)
SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1, min_bytes_for_wide_part = 268435456,
    non_replicated_deduplication_window = $window;

-- only in a cluster
CREATE TABLE IF NOT EXISTS $database.generations $on_cluster AS $database.generations_local
ENGINE = Distributed('$cluster', '$database', 'generations_local', cityHash64(trace_id));

-- Where the two ways in meet: the spans that are calls of a model, on their way to `generations`.
CREATE TABLE IF NOT EXISTS $database.generation_spans$local $on_cluster AS $database.otel_traces_ingest$local
ENGINE = Null;

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.generation_spans_from_ingest_mv $on_cluster
TO $database.generation_spans$local
AS SELECT * FROM $database.otel_traces_ingest$local
WHERE mapContains(SpanAttributes, 'penstock.request.id')
    OR SpanAttributes['gen_ai.operation.name']
        NOT IN ('', 'execute_tool', 'invoke_agent', 'create_agent', 'invoke_workflow');

-- Spans of a Collector that keeps its own table name. The marker tells those that came through the ingest table.
CREATE MATERIALIZED VIEW IF NOT EXISTS $database.generation_spans_from_traces_mv $on_cluster
TO $database.generation_spans$local
AS SELECT * FROM $database.otel_traces$local
WHERE NOT mapContains(SpanAttributes, 'penstock.content.stored')
    AND (
        mapContains(SpanAttributes, 'penstock.request.id')
        OR SpanAttributes['gen_ai.operation.name']
            NOT IN ('', 'execute_tool', 'invoke_agent', 'create_agent', 'invoke_workflow')
    );

-- Attributes by exporters/attributes.py. Where two names stand, the second is an older or another instrumentation's.
CREATE MATERIALIZED VIEW IF NOT EXISTS $database.generations_mv $on_cluster
TO $database.generations$local
AS
WITH SpanAttributes AS a
SELECT
    Timestamp AS timestamp,
    TraceId AS trace_id,
    SpanId AS span_id,
    ParentSpanId AS parent_span_id,
    ServiceName AS service,
    a['gen_ai.operation.name'] AS operation,
    Duration / 1e6 AS duration_ms,
    toFloat64OrNull(a['gen_ai.response.time_to_first_chunk']) * 1000 AS ttft_ms,

    a['penstock.request.id'] AS request_id,
    a['http.request.method'] AS method,
    a['url.path'] AS path,
    a['penstock.endpoint'] AS endpoint,
    if(a['gen_ai.provider.name'] != '', a['gen_ai.provider.name'], a['gen_ai.system']) AS provider,
    a['penstock.upstream'] AS upstream,
    a['gen_ai.request.model'] AS model,
    a['gen_ai.response.model'] AS response_model,
    a['gen_ai.response.id'] AS response_id,
    a['gen_ai.request.stream'] = 'true' AS stream,
    toUInt16OrZero(a['http.response.status_code']) AS status,
    multiIf(
        a['penstock.outcome'] != '', a['penstock.outcome'],
        StatusCode = 'Error' OR a['error.type'] != '', 'failed',
        'answered'
    ) AS outcome,
    a['error.type'] AS error_type,
    if(a['penstock.error.message'] != '', a['penstock.error.message'], StatusMessage) AS error_message,
    toUInt64OrZero(a['http.request.body.size']) AS request_bytes,
    toUInt64OrZero(a['http.response.body.size']) AS response_bytes,
    a['penstock.key.id'] AS key_id,
    if(a['user.id'] != '', a['user.id'], a['enduser.id']) AS user,
    if(a['gen_ai.conversation.id'] != '', a['gen_ai.conversation.id'], a['session.id']) AS session,
    a['gen_ai.prompt.name'] AS prompt_name,
    a['gen_ai.prompt.version'] AS prompt_version,
    multiIf(
        a['penstock.content'] != '', a['penstock.content'],
        a['gen_ai.input.messages'] != '' OR a['gen_ai.output.messages'] != '', 'full',
        'off'
    ) AS content,
    a['penstock.truncated'] = 'true' AS truncated,
    a['gen_ai.input.messages'] AS input_messages,
    a['gen_ai.output.messages'] AS output_messages,
    a['gen_ai.system_instructions'] AS system_instructions,
    a['gen_ai.tool.definitions'] AS tool_definitions,
    a['openai.response.system_fingerprint'] AS system_fingerprint,
    a['openai.request.service_tier'] AS service_tier_requested,
    a['openai.response.service_tier'] AS service_tier,
    a['penstock.usage.source'] AS usage_source,
    toUInt64OrNull(if(a['gen_ai.usage.input_tokens'] != '', a['gen_ai.usage.input_tokens'], a['gen_ai.usage.prompt_tokens'])) AS input_tokens,
    toUInt64OrNull(a['gen_ai.usage.cache_read.input_tokens']) AS cached_tokens,
    toUInt64OrNull(if(a['gen_ai.usage.cache_creation.input_tokens'] != '', a['gen_ai.usage.cache_creation.input_tokens'], a['gen_ai.usage.cache_write.input_tokens'])) AS cache_write_tokens,
    toUInt64OrNull(if(a['gen_ai.usage.output_tokens'] != '', a['gen_ai.usage.output_tokens'], a['gen_ai.usage.completion_tokens'])) AS output_tokens,
    toUInt64OrNull(a['gen_ai.usage.reasoning.output_tokens']) AS reasoning_tokens,
    toUInt64OrNull(a['penstock.usage.audio.input_tokens']) AS input_audio_tokens,
    toUInt64OrNull(a['penstock.usage.audio.output_tokens']) AS output_audio_tokens,
    toUInt64OrNull(a['penstock.usage.image.input_tokens']) AS input_image_tokens,
    toFloat64OrNull(a['penstock.cost.usd']) AS cost,
    toFloat64OrNull(a['penstock.cost.input.usd']) AS cost_input,
    toFloat64OrNull(a['penstock.cost.cache_read.usd']) AS cost_cached,
    toFloat64OrNull(a['penstock.cost.cache_write.usd']) AS cost_cache_write,
    toFloat64OrNull(a['penstock.cost.output.usd']) AS cost_output,
    a['penstock.cache.status'] AS cache_status,
    a['penstock.batch.id'] AS batch_id,
    a['penstock.alias'] AS alias,
    a['penstock.variant'] AS variant,

    JSONExtract(a['gen_ai.response.finish_reasons'], 'Array(String)') AS finish_reasons,
    mapApply((k, v) -> (substring(k, 14), v), mapFilter((k, v) -> startsWith(k, 'penstock.tag.'), a)) AS tags,
    mapApply((k, v) -> (substring(k, 17), toFloat64OrZero(v)), mapFilter((k, v) -> startsWith(k, 'penstock.saving.'), a)) AS savings,
    mapApply((k, v) -> (substring(k, 22), JSONExtractString(v, 1)), mapFilter((k, v) -> startsWith(k, 'http.response.header.'), a)) AS response_headers,
    a['penstock.request.parameters'] AS parameters,
    toUInt8OrZero(a['penstock.attempts']) AS attempts
FROM $database.generation_spans$local;
