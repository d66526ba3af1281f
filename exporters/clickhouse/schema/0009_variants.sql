-- Which model answers for an alias: what the caller asked for, and the variant that was chosen. `model` is the variant's,
-- because that is what was asked, paid and grouped by all along.

ALTER TABLE $database.generations$local $on_cluster
    ADD COLUMN IF NOT EXISTS alias LowCardinality(String) CODEC(ZSTD(1))
        COMMENT 'What the caller asked for, where that stands for several models.',
    ADD COLUMN IF NOT EXISTS variant LowCardinality(String) CODEC(ZSTD(1))
        COMMENT 'Which of them was chosen.';

-- only in a cluster
ALTER TABLE $database.generations $on_cluster
    ADD COLUMN IF NOT EXISTS alias LowCardinality(String) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS variant LowCardinality(String) CODEC(ZSTD(1));

-- The view of the second migration with these two. Whoever inserts meanwhile does it by the old one or by this.
ALTER TABLE $database.generations_mv $on_cluster MODIFY QUERY
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
