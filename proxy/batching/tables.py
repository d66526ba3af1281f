"""The tables of the queue, the same on SQLite and PostgreSQL. Times are Unix nanoseconds, sizes bytes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

VERSION: Final = 1
"""Of these tables, kept in `counters` under `version`."""

metadata = MetaData()


def _text(name: str, default: str | None = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=None if default is None else text(f"'{default}'"))


def _number(name: str, default: int = 0) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text(str(default)))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())


def _some(name: str, columns: str, condition: str) -> Index:
    return Index(name, *columns.split(), sqlite_where=text(condition), postgresql_where=text(condition))


items = Table(
    "items",
    metadata,
    Column("id", String(64), primary_key=True),
    _text("mode", None),  # hold, async, or file: a line of a file that a local batch runs
    _text("state", None),  # queued, batched, running, done or cancelled
    _text("scope", None),  # hash of whose it is: nobody else may look
    _text("upstream", None),
    _text("credential"),  # `credentials.id` of the caller's key; "": the upstream has one of its own
    _text("endpoint", None),
    _text("path", None),
    _text("model", None),
    _number("body_bytes"),
    _flag("stream"),  # the caller is to have events
    _flag("include_usage"),
    _text("question"),  # hash: pending items of one question are asked once; "": always asked
    _text("rejoin"),  # hash by which a caller that dropped finds its item again; "": never
    _flag("rejoin_by_key"),  # ... made of an Idempotency-Key
    _number("deadline_ns"),
    _number("created_ns"),
    _text("lot"),  # hash of what may share a batch: upstream, credential, path, model, class of deadline
    _text("batch_id"),  # `batches.id` that it is a line of
    _number("position", -1),  # its line in the file of a local batch
    _text("custom_id"),  # ... and what the caller calls it there
    _text("line"),  # the item that is asked in its stead, for an identical one
    _number("attempts"),  # how often it was asked and gave no answer
    _text("tier"),  # flex or standard once it is asked live because its deadline is near
    _number("run_after_ns"),
    Column("status", Integer),
    _number("done_ns"),
    _number("done_seq"),  # rises with every item that is done; 0: it is not
    _flag("delivered"),  # a caller has the reply
    _number("keep_until_ns"),  # when done: after that it is forgotten
    _text("webhook"),
    _text("webhook_state"),  # waiting, delivered or given_up
    _number("webhook_attempts"),
    _number("webhook_at_ns"),
    # What is long comes last: SQLite walks through it to reach the columns behind.
    Column("context", LargeBinary, nullable=False),  # item.Context
    Column("body", LargeBinary, nullable=False),  # as the upstream is to have it: JSON without `stream`
    Column("headers", LargeBinary),  # of the reply: MessagePack list of pairs
    Column("reply", LargeBinary),
    Index("items_by_lot", "state", "lot", "created_ns"),
    Index("items_by_batch", "batch_id", "position"),
    Index("items_by_question", "question"),
    # Only of rows that have any, so that a new item costs little; a query must say so too: `and line != ''`.
    _some("items_by_line", "line", "line != ''"),
    _some("items_by_credential", "credential", "credential != ''"),
    _some("items_by_rejoin", "rejoin", "rejoin != ''"),
    _some("items_by_done", "done_seq", "done_seq > 0"),
    _some("items_by_upstream", "upstream created_ns position", "state = 'queued'"),
    _some("items_by_deadline", "upstream deadline_ns", "state = 'queued'"),
    _some("items_by_tier", "state created_ns position", "tier != ''"),
    _some("items_by_webhook", "webhook_at_ns", "webhook_state = 'waiting'"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(64), primary_key=True),
    _text("kind", None),  # provider: made of items; caller: watched for its lines; local: run by Penstock
    _text("state", None),  # provider: gathered, uploaded, created, finishing, settled, finished; others: see there
    _text("scope"),
    _text("upstream", None),
    _text("credential"),
    _text("path"),
    _text("model"),
    _text("provider_id"),
    _text("input_file_id"),
    _text("output_file_id"),
    _text("error_file_id"),
    _text("status"),  # in the provider's words: validating, in_progress, ...
    _text("completion_window", "24h"),
    _text("metadata", "{}"),
    _text("errors"),
    _number("total"),
    _number("completed"),
    _number("failed"),
    _number("created_ns"),
    _number("in_progress_ns"),
    _number("finalizing_ns"),
    _number("completed_ns"),
    _number("failed_ns"),
    _number("expired_ns"),
    _number("cancelling_ns"),
    _number("cancelled_ns"),
    _number("expires_ns"),
    _number("deadline_ns"),  # the nearest of its items
    _number("poll_at_ns"),
    _number("polls"),
    _number("tries"),  # how often it was tried to take it to the provider
    _number("recorded"),  # lines of a caller's batch whose records were made
    # Of a local batch:
    _number("items_bytes"),  # of the bodies of all its lines
    _number("read_bytes"),  # how far its input file was turned into items
    _number("read_lines"),  # ... and the next line's number, from 0
    _number("loaded"),  # items made
    _number("dropped"),  # items that were cancelled or came too late to be asked
    _number("written", -1),  # the position of the last item in its output and error files
    _number("output_expires_s"),  # how long these files are kept
    _text("usage"),  # JSON: tokens of what was written
    Column("context", LargeBinary, nullable=False),  # item.Context of the call that made it; of the first item's else
    Index("batches_by_poll", "kind", "state", "poll_at_ns"),
    Index("batches_by_provider_id", "provider_id"),
)

files = Table(
    "files",
    metadata,
    Column("id", String(64), primary_key=True),
    _text("scope", None),
    _text("upstream", None),
    _text("filename", None),
    _text("purpose", None),
    _text("status", "processed"),
    _number("bytes"),
    _number("created_ns"),
    _number("expires_ns"),
)

file_chunks = Table(
    "file_chunks",
    metadata,
    Column("file_id", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

credentials = Table(
    "credentials",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    _number("created_ns"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    _text("holder"),
    _number("epoch"),
    _number("expires_ns"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("record", LargeBinary, nullable=False),  # exporters.record.encode(CallRecord)
    _text("chunk"),
    Index("outbox_by_chunk", "chunk"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", String(64), primary_key=True),
    _text("owner", None),  # the instance whose recorder is to have it
    _flag("prepared"),
    _number("created_ns"),
)

counters = Table(
    "counters",
    metadata,
    Column("name", String(64), primary_key=True),
    _number("value"),
)
