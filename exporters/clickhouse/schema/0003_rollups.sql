-- Sums and quantile states per minute: what dashboards over months read instead of `generations`.
--
-- Users and sessions are left out on purpose: with them there would be nearly one row per call. Quantiles are read by
-- quantilesTDigestMerge(0.5, 0.9, 0.95, 0.99)(duration_ms). Costs are sums of what is known; `cost_unknown` counts the
-- calls that used tokens at an unknown price.

CREATE TABLE IF NOT EXISTS $database.generations_by_minute$local $on_cluster (
    minute DateTime CODEC(Delta(4), ZSTD(1)),
    service LowCardinality(String),
    operation LowCardinality(String),
    endpoint LowCardinality(String),
    provider LowCardinality(String),
    upstream LowCardinality(String),
    model LowCardinality(String),
    key_id LowCardinality(String),
    outcome LowCardinality(String),
    status_class UInt8,
    cache_status LowCardinality(String),
    stream Bool,
    requests SimpleAggregateFunction(sum, UInt64),
    errors SimpleAggregateFunction(sum, UInt64),
    input_tokens SimpleAggregateFunction(sum, UInt64),
    cached_tokens SimpleAggregateFunction(sum, UInt64),
    cache_write_tokens SimpleAggregateFunction(sum, UInt64),
    output_tokens SimpleAggregateFunction(sum, UInt64),
    reasoning_tokens SimpleAggregateFunction(sum, UInt64),
    usage_estimated SimpleAggregateFunction(sum, UInt64),
    cost SimpleAggregateFunction(sum, Float64),
    cost_unknown SimpleAggregateFunction(sum, UInt64),
    saved SimpleAggregateFunction(sum, Float64),
    duration_ms AggregateFunction(quantilesTDigest(0.5, 0.9, 0.95, 0.99), Float64),
    ttft_ms AggregateFunction(quantilesTDigest(0.5, 0.9, 0.95, 0.99), Float64)
) ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, model, key_id, upstream, outcome, status_class, operation, endpoint, provider, service, cache_status, stream)
TTL toDateTime(minute) + toIntervalDay($retention_days)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = $window;

-- only in a cluster
CREATE TABLE IF NOT EXISTS $database.generations_by_minute $on_cluster AS $database.generations_by_minute_local
ENGINE = Distributed('$cluster', '$database', 'generations_by_minute_local', cityHash64(minute));

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.generations_by_minute_mv $on_cluster
TO $database.generations_by_minute$local
AS SELECT
    toStartOfMinute(toDateTime(timestamp)) AS minute,
    service,
    operation,
    endpoint,
    provider,
    upstream,
    model,
    key_id,
    outcome,
    toUInt8(intDiv(status, 100)) AS status_class,
    cache_status,
    stream,
    count() AS requests,
    countIf(status >= 400 OR outcome IN ('failed', 'cut', 'interrupted', 'rejected')) AS errors,
    sum(ifNull(g.input_tokens, 0)) AS input_tokens,
    sum(ifNull(g.cached_tokens, 0)) AS cached_tokens,
    sum(ifNull(g.cache_write_tokens, 0)) AS cache_write_tokens,
    sum(ifNull(g.output_tokens, 0)) AS output_tokens,
    sum(ifNull(g.reasoning_tokens, 0)) AS reasoning_tokens,
    countIf(usage_source = 'estimated') AS usage_estimated,
    sum(ifNull(g.cost, 0)) AS cost,
    countIf(isNull(g.cost) AND (isNotNull(g.input_tokens) OR isNotNull(g.output_tokens))) AS cost_unknown,
    sum(arraySum(mapValues(savings))) AS saved,
    quantilesTDigestState(0.5, 0.9, 0.95, 0.99)(g.duration_ms) AS duration_ms,
    quantilesTDigestStateIf(0.5, 0.9, 0.95, 0.99)(assumeNotNull(g.ttft_ms), isNotNull(g.ttft_ms)) AS ttft_ms
FROM $database.generations$local AS g
GROUP BY minute, service, operation, endpoint, provider, upstream, model, key_id, outcome, status_class, cache_status, stream;
