"""Opens what the cache is made of. What cannot be opened is said in one line, and the cache does without it."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from cache.redis import RedisUnusable
from cache.semantic import SemanticIndex, SemanticUnavailable, open_index
from cache.tiers import Tiers, open_tiers

from ..settings import Cache

_log = logging.getLogger(__name__)


def tiers_of(settings: Cache, directory: Path) -> Tiers:
    opened = partial(
        open_tiers,
        directory=directory,
        memory_bytes_max=settings.memory_bytes_max,
        disk_bytes_max=settings.disk_bytes_max,
        redis_timeout_s=settings.redis_timeout_s,
    )
    try:
        return opened(redis_url=settings.redis)
    except RedisUnusable as error:
        _log.error("the cache does without Redis: %s", error)
        return opened()


def index_of(settings: Cache, directory: Path) -> SemanticIndex | None:
    """None when no rule wants one."""
    if all(rule.semantic is None for rule in settings.rules):
        return None
    try:
        return open_index(
            directory / "semantic.sqlite",
            url=settings.embeddings_url,
            model=settings.embeddings_model,
            api_key=settings.embeddings_key,
        )
    except SemanticUnavailable as error:
        _log.error("similar questions are not looked for: %s", error)
        return None
