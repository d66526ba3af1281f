"""A Batch API for upstreams that have none: OpenAI's files and batches, kept and run by Penstock."""
