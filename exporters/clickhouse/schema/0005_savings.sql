-- What was not bought, and what was saved.
--
-- Token columns say what the caller got, whoever it came from. A call that was answered without the upstream (`reused`)
-- has the usage of the reply that was paid for once, so sums of what was bought must leave it out: that is what the
-- `bought_` columns are. They are made when they are read, so they take no room and hold for rows that are older than
-- they are. `bought_cached_tokens / bought_input_tokens` is the hit ratio of the provider's prompt cache,
-- `reused_requests / requests` that of the response cache.

ALTER TABLE $database.generations$local $on_cluster
    ADD COLUMN IF NOT EXISTS reused Bool ALIAS outcome = 'cached' OR cache_status IN ('hit', 'semantic', 'coalesced')
        COMMENT 'Answered without the upstream: nothing was bought.',
    ADD COLUMN IF NOT EXISTS bought_input_tokens Nullable(UInt64) ALIAS if(reused, 0, input_tokens)
        COMMENT 'Input tokens of calls that were bought.',
    ADD COLUMN IF NOT EXISTS bought_cached_tokens Nullable(UInt64) ALIAS if(reused, 0, cached_tokens)
        COMMENT 'Of these, the ones that the provider read from its own prompt cache.',
    ADD COLUMN IF NOT EXISTS bought_output_tokens Nullable(UInt64) ALIAS if(reused, 0, output_tokens)
        COMMENT 'Output tokens of calls that were bought.',
    ADD COLUMN IF NOT EXISTS saved Float64 ALIAS arraySum(mapValues(savings))
        COMMENT 'USD saved by all strategies together.';

-- only in a cluster
ALTER TABLE $database.generations $on_cluster
    ADD COLUMN IF NOT EXISTS reused Bool ALIAS outcome = 'cached' OR cache_status IN ('hit', 'semantic', 'coalesced'),
    ADD COLUMN IF NOT EXISTS bought_input_tokens Nullable(UInt64) ALIAS if(reused, 0, input_tokens),
    ADD COLUMN IF NOT EXISTS bought_cached_tokens Nullable(UInt64) ALIAS if(reused, 0, cached_tokens),
    ADD COLUMN IF NOT EXISTS bought_output_tokens Nullable(UInt64) ALIAS if(reused, 0, output_tokens),
    ADD COLUMN IF NOT EXISTS saved Float64 ALIAS arraySum(mapValues(savings));

ALTER TABLE $database.generations_by_minute$local $on_cluster
    ADD COLUMN IF NOT EXISTS reused Bool ALIAS outcome = 'cached' OR cache_status IN ('hit', 'semantic', 'coalesced')
        COMMENT 'Answered without the upstream: nothing was bought.',
    ADD COLUMN IF NOT EXISTS reused_requests UInt64 ALIAS if(reused, requests, 0)
        COMMENT 'Requests that were answered without the upstream.',
    ADD COLUMN IF NOT EXISTS bought_input_tokens UInt64 ALIAS if(reused, 0, input_tokens)
        COMMENT 'Input tokens of calls that were bought.',
    ADD COLUMN IF NOT EXISTS bought_cached_tokens UInt64 ALIAS if(reused, 0, cached_tokens)
        COMMENT 'Of these, the ones that the provider read from its own prompt cache.',
    ADD COLUMN IF NOT EXISTS bought_output_tokens UInt64 ALIAS if(reused, 0, output_tokens)
        COMMENT 'Output tokens of calls that were bought.';

-- only in a cluster
ALTER TABLE $database.generations_by_minute $on_cluster
    ADD COLUMN IF NOT EXISTS reused Bool ALIAS outcome = 'cached' OR cache_status IN ('hit', 'semantic', 'coalesced'),
    ADD COLUMN IF NOT EXISTS reused_requests UInt64 ALIAS if(reused, requests, 0),
    ADD COLUMN IF NOT EXISTS bought_input_tokens UInt64 ALIAS if(reused, 0, input_tokens),
    ADD COLUMN IF NOT EXISTS bought_cached_tokens UInt64 ALIAS if(reused, 0, cached_tokens),
    ADD COLUMN IF NOT EXISTS bought_output_tokens UInt64 ALIAS if(reused, 0, output_tokens);

-- The ledger: a row per minute, strategy and whose call it was; only calls that saved something are in it. A table of its
-- own, because a call may save in several ways, which a row of `generations_by_minute` has no room for. Users, sessions
-- and tags are in `generations`. Sums of rows that are not merged yet are the view's to make: ask `savings`.
CREATE TABLE IF NOT EXISTS $database.savings_by_minute$local $on_cluster (
    minute DateTime CODEC(Delta(4), ZSTD(1)),
    strategy LowCardinality(String),
    service LowCardinality(String),
    endpoint LowCardinality(String),
    provider LowCardinality(String),
    upstream LowCardinality(String),
    model LowCardinality(String),
    key_id LowCardinality(String),
    prompt_name LowCardinality(String),
    calls SimpleAggregateFunction(sum, UInt64),
    usd SimpleAggregateFunction(sum, Float64),
    paid SimpleAggregateFunction(sum, Float64)
) ENGINE = ${replicated}AggregatingMergeTree
PARTITION BY toYYYYMM(minute)
ORDER BY (minute, strategy, model, key_id, upstream, endpoint, provider, service, prompt_name)
TTL toDateTime(minute) + toIntervalDay($retention_days)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = $window;

-- only in a cluster
CREATE TABLE IF NOT EXISTS $database.savings_by_minute $on_cluster AS $database.savings_by_minute_local
ENGINE = Distributed('$cluster', '$database', 'savings_by_minute_local', cityHash64(minute));

CREATE MATERIALIZED VIEW IF NOT EXISTS $database.savings_by_minute_mv $on_cluster
TO $database.savings_by_minute$local
AS SELECT
    toStartOfMinute(toDateTime(timestamp)) AS minute,
    strategy,
    service,
    endpoint,
    provider,
    upstream,
    model,
    key_id,
    prompt_name,
    count() AS calls,
    sum(saving) AS usd,
    sum(ifNull(g.cost, 0)) AS paid
FROM $database.generations$local AS g
ARRAY JOIN mapKeys(savings) AS strategy, mapValues(savings) AS saving
WHERE saving > 0
GROUP BY minute, strategy, service, endpoint, provider, upstream, model, key_id, prompt_name;

-- USD saved and the calls that saved it; `paid` is what these calls cost all the same.
CREATE VIEW IF NOT EXISTS $database.savings $on_cluster
AS SELECT
    minute,
    strategy,
    service,
    endpoint,
    provider,
    upstream,
    model,
    key_id,
    prompt_name,
    sum(s.calls) AS calls,
    sum(s.usd) AS usd,
    sum(s.paid) AS paid
FROM $database.savings_by_minute AS s
GROUP BY minute, strategy, service, endpoint, provider, upstream, model, key_id, prompt_name;
