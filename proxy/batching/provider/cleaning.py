"""Leaves nothing of a batch behind at its provider: neither its files nor a second batch that a lost reply has made."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from .batch_rows import file_name
from .provider import Provider, Unavailable


async def clean(provider: Provider, row: Row[Any]) -> None:
    """Delete the files of a batch that is settled. Raises `Unavailable` when it is to be tried again, and `Refused`."""
    gone = {row.input_file_id, row.output_file_id, row.error_file_id}
    if row.tries > 1 or (row.tries and not row.provider_id):
        gone |= await _duplicates(provider, row)
        gone |= {*await provider.files_named(file_name(row), row.created_ns)}
    for file_id in gone - {""}:
        await provider.delete_file(file_id)


async def _duplicates(provider: Provider, row: Row[Any]) -> set[str]:
    """The files of other batches with our mark; they are cancelled first."""
    files: set[str] = set()
    for other in await provider.batches_marked(row.id, row.created_ns):
        if other.id == row.provider_id:
            continue
        if not other.is_over:
            await provider.cancel(other.id)
            raise Unavailable(f"{other.id}, made twice, is being cancelled")
        files |= {other.input_file_id, other.output_file_id, other.error_file_id}
    return files
