-- What somebody thought of a reply (exporters.record.Feedback). Sent twice, it is kept once: by its id.

CREATE TABLE IF NOT EXISTS $database.feedback$local $on_cluster (
    timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    id String CODEC(ZSTD(1)),
    request_id String CODEC(ZSTD(1)),
    response_id String CODEC(ZSTD(1)),
    name LowCardinality(String) CODEC(ZSTD(1)),
    score Nullable(Float64) CODEC(ZSTD(1)),
    label LowCardinality(String) CODEC(ZSTD(1)),
    comment String CODEC(ZSTD(1)),
    correction Nullable(String) CODEC(ZSTD(1)),
    key_id LowCardinality(String) CODEC(ZSTD(1)),
    user String CODEC(ZSTD(1)),
    INDEX idx_request_id request_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_response_id response_id TYPE bloom_filter(0.001) GRANULARITY 1
) ENGINE = ${replicated}ReplacingMergeTree
PARTITION BY toYYYYMM(timestamp)
ORDER BY id
TTL toDateTime(timestamp) + toIntervalDay($retention_days)
SETTINGS index_granularity = 8192, non_replicated_deduplication_window = $window;

-- only in a cluster
CREATE TABLE IF NOT EXISTS $database.feedback $on_cluster AS $database.feedback_local
ENGINE = Distributed('$cluster', '$database', 'feedback_local', cityHash64(id));
