"""`penstock requests show ID`: one call as the conversation it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from exporters.call_line import cut, duration, has_failed, money, number, printable, reason
from exporters.console import columns_of

from .failure import CommandFailed
from .requests import CALL_COLUMNS
from .store import Query, Row

PREFIX_MIN = 6
_TEXT = "input_messages, output_messages, system_instructions, tool_definitions, parameters, finish_reasons"
_MORE = "cache_write_tokens, cost_input, cost_cached, cost_cache_write, cost_output, savings, content, truncated"
ROLE_STYLES = {"system": "magenta", "developer": "magenta", "user": "bold cyan", "assistant": "bold green"}


def find(query: Query, wanted: str) -> Row:
    """The call with that request id, response id, or beginning of a request id. Raises `CommandFailed`."""
    columns = f"{CALL_COLUMNS}, {_TEXT}, {_MORE}, trace_id, span_id, prompt_name, prompt_version, service"
    exact = f"SELECT {columns} FROM generations WHERE request_id = {{id:String}} OR response_id = {{id:String}} LIMIT 1"
    if rows := query(exact, {"id": wanted}):
        return rows[0]
    if len(wanted) >= PREFIX_MIN:
        rows = query(
            f"SELECT {columns} FROM generations WHERE startsWith(request_id, {{id:String}}) LIMIT 2",
            {"id": wanted.lower()},
        )
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise CommandFailed(f"More than one request begins with {wanted}. Give more of the id.")
    raise CommandFailed(f"There is no request {wanted!r}. `penstock requests` lists what is recorded.")


def attempts(query: Query, row: Row) -> Sequence[Row]:
    """The tries at upstreams that this call took, first one first."""
    return query(
        "SELECT SpanAttributes['server.address'] AS address, SpanAttributes['server.port'] AS port,"
        " SpanAttributes['http.response.status_code'] AS status, SpanAttributes['error.type'] AS error_type,"
        " Duration / 1e6 AS duration_ms FROM otel_traces"
        " WHERE TraceId = {trace:String} AND ParentSpanId = {span:String} ORDER BY Timestamp",
        {"trace": row["trace_id"], "span": row["span_id"]},
    )


def print_call(console: Console, row: Row, tries: Sequence[Row]) -> None:
    """The facts, then the conversation."""
    for label, text in _facts(row, tries):
        _print_hanging(console, Text(f"{label:<10}", "dim"), text)
    console.print()
    conversation = [*_conversation(row)]
    if not conversation:
        console.print(Text("The text of this call was not recorded.", "dim"))
    for role, parts in conversation:
        console.print(Text(role, ROLE_STYLES.get(role, "bold yellow")))
        for part in parts:
            _print_hanging(console, Text("  "), part)
        console.print()


def _print_hanging(console: Console, first: Text, text: Text) -> None:
    """`text` behind `first`, and what follows of it below itself; wrapped only where somebody looks."""
    width = columns_of(console)
    indent = cell_len(first.plain)
    lines = text.split("\n", allow_blank=True) if width is None else text.wrap(console, max(20, width - indent))
    for index, line in enumerate(lines or [Text()]):
        line.rstrip()
        before = first if index == 0 else Text(" " * indent if line.plain else "")
        console.print(Text.assemble(before, line), no_wrap=True, overflow="ignore", crop=False)


def _facts(row: Row, tries: Sequence[Row]) -> Iterator[tuple[str, Text]]:
    model = row["model"]
    if row["response_model"] not in ("", model):
        model += f" → {row['response_model']}"
    yield "request", Text(row["request_id"], "cyan")
    if row["trace_id"] != row["request_id"]:
        yield "trace", Text(row["trace_id"], "cyan")
    if row["response_id"]:
        yield "response", Text(printable(row["response_id"]), "cyan")
    target = f"{row['method']} {row['path']}" + ("  stream" if row["stream"] else "")
    yield "call", Text.assemble((f"{printable(model)}  " if model else "", "bold"), printable(target))
    if row["alias"]:
        yield "alias", Text.assemble((printable(row["alias"]), "bold"), f" → {printable(row['variant'])}")
    yield "ended", _ended(row)
    if row["error_message"] not in ("", row["error_type"]):
        yield "error", _text(row["error_message"], "red")
    started = datetime.fromtimestamp(row["started"]).isoformat(" ", "milliseconds")
    first = "" if row["ttft_ms"] is None else f"  first token after {duration(row['ttft_ms'] / 1e3)}"
    yield "time", Text(f"{started}  took {duration(row['duration_ms'] / 1e3)}{first}")
    yield "tokens", _tokens(row)
    yield "cost", _cost(row)
    if who := _who(row):
        yield "who", Text(printable(who))
    if row["batch_id"]:
        yield "batch", Text(printable(row["batch_id"]), "cyan")
    for index, one in enumerate(tries, 1):
        yield f"try {index}", _attempt(one, row["upstream"])
    if row["parameters"] not in ("", "{}"):
        yield "asked for", _text(row["parameters"])


def _ended(row: Row) -> Text:
    status, outcome = row["status"], row["outcome"]
    failed = has_failed(status, outcome)
    colour = "red" if failed else "yellow" if outcome == "abandoned" else "green"
    said = [reason(status, outcome, row["error_type"])] if failed or row["error_type"] else []
    return Text.assemble(
        (f"{status or '---'} {outcome}", colour),
        (f"  {printable(said[0])}" if said and said[0] != outcome else "", colour),
        f"  {', '.join(row['finish_reasons'])}" if row["finish_reasons"] else "",
    )


def _tokens(row: Row) -> Text:
    if not _has_usage(row):
        return Text("not known" if _should_have_usage(row) else "-", "dim")
    about = "  (estimated)" if row["usage_source"] == "estimated" else ""
    said = []
    for label, name, parts in (
        ("in", "input_tokens", {"cached": "cached_tokens", "written": "cache_write_tokens"}),
        ("out", "output_tokens", {"reasoning": "reasoning_tokens"}),
    ):
        within = [f"{number(row[part])} {what}" for what, part in parts.items() if row[part]]
        count = "?" if row[name] is None else number(row[name])
        said.append(f"{label} {count}{_in_brackets(within)}")
    return Text("  ".join(said) + about)


def _has_usage(row: Row) -> bool:
    return row["input_tokens"] is not None or row["output_tokens"] is not None


def _should_have_usage(row: Row) -> bool:
    return row["endpoint"] != "other" and not has_failed(row["status"], row["outcome"])


def _in_brackets(parts: list[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""


def _cost(row: Row) -> Text:
    if row["cost"] is None:
        return Text("? (no price is known for this model; set one under [prices])" if _has_usage(row) else "-", "dim")
    names = {"input": "cost_input", "cached": "cost_cached", "written": "cost_cache_write", "output": "cost_output"}
    parts = [f"{label} {money(row[name])}" for label, name in names.items() if row[name]]
    saved = [f"{name} {money(usd)}" for name, usd in row["savings"].items()]
    tier = f"  tier {row['service_tier']}" if row["service_tier"] not in ("", "default") else ""
    return Text.assemble(
        (money(row["cost"]), "yellow"),
        f"  = {' + '.join(parts)}" if len(parts) > 1 else "",
        tier,
        (f"  saved {', '.join(saved)}" if saved else "", "green"),
    )


def _who(row: Row) -> str:
    names = (("key", "key_id"), ("user", "user"), ("session", "session"), ("prompt", "prompt_name"))
    said = [f"{label} {row[name]}" for label, name in names if row[name]]
    return "  ".join([*said, *(f"{name}={value}" for name, value in sorted(row["tags"].items()))])


def _attempt(one: Row, upstream: str) -> Text:
    ok = one["status"].startswith(("2", "3"))
    return Text.assemble(
        f"{upstream} {one['address']}:{one['port']}  ",
        (one["status"] or one["error_type"], "green" if ok else "red"),
        f"  {duration(one['duration_ms'] / 1e3)}",
    )


def _conversation(row: Row) -> Iterator[tuple[str, list[Text]]]:
    """Role and parts of each message, by the OpenTelemetry GenAI message schema."""
    system = _load(row["system_instructions"])
    if system:
        yield "system", [_part(part) for part in system]
    for message in (*_load(row["input_messages"]), *_load(row["output_messages"])):
        if isinstance(message, dict):
            name = f" {message['name']}" if message.get("name") else ""
            parts = message.get("parts")
            shown = [_part(part) for part in parts] if isinstance(parts, list) else []
            yield printable(f"{message.get('role', '?')}{name}"), shown


def _load(text: str) -> list[Any]:
    try:
        value = json.loads(text) if text else []
    except ValueError:
        return [{"role": "?", "parts": [{"type": "text", "content": text}]}]
    return value if isinstance(value, list) else []


def _part(part: Any) -> Text:
    if not isinstance(part, dict):
        return _text(part)
    kind = part.get("type", "")
    if kind == "text":
        return _text(part.get("content"))
    if kind == "reasoning":
        return _text(part.get("content") or "(hidden)", "dim italic")
    if kind == "tool_call":
        name = (printable(str(part.get("name"))), "bold yellow")
        return Text.assemble(("→ ", "yellow"), name, "(", _text(part.get("arguments")), ")")
    if kind == "tool_call_response":
        return Text.assemble(("← ", "yellow"), _text(part.get("response", part.get("result"))))
    if kind == "blob":
        size = len(str(part.get("content", "")))
        kind = f"{part.get('modality') or 'file'}, {part.get('mime_type') or 'of unknown type'}"
        return Text(printable(f"[{kind}, {size:,} characters of base64]"), "magenta")
    rest = json.dumps({key: value for key, value in part.items() if key != "type"}, ensure_ascii=False)
    return Text.assemble((f"[{kind or 'part'}] ", "magenta"), cut(rest, 300))


def _text(value: Any, style: str = "") -> Text:
    """Text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    return Text(printable(text, keep="\n\t"), style)
