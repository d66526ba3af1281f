-- Scores of an evaluation stand beside what people said: `kind` tells them apart, `run` names the evaluation.

ALTER TABLE $database.feedback$local $on_cluster
    ADD COLUMN IF NOT EXISTS kind LowCardinality(String) DEFAULT 'feedback' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS run String DEFAULT '' CODEC(ZSTD(1));

-- only in a cluster
ALTER TABLE $database.feedback $on_cluster
    ADD COLUMN IF NOT EXISTS kind LowCardinality(String) DEFAULT 'feedback',
    ADD COLUMN IF NOT EXISTS run String DEFAULT '';

-- Each score once, in the words of OpenTelemetry's event `gen_ai.evaluation.result`. `request_id` and
-- `gen_ai.response.id` are columns of `generations` (`request_id`, `response_id`).
CREATE VIEW IF NOT EXISTS $database.evaluations $on_cluster
AS SELECT
    timestamp,
    'gen_ai.evaluation.result' AS event_name,
    name AS `gen_ai.evaluation.name`,
    score AS `gen_ai.evaluation.score.value`,
    label AS `gen_ai.evaluation.score.label`,
    comment AS `gen_ai.evaluation.explanation`,
    response_id AS `gen_ai.response.id`,
    request_id,
    run,
    id,
    key_id
FROM $database.feedback FINAL
WHERE kind = 'evaluation';
