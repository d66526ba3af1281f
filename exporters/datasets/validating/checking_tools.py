"""The rules for tools, their calls and the results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from .checking_messages import Note, Placed
from .rules import TOOLS_MAX

_tool_name = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def check_tools(holder: dict[str, Any], where: str, note: Note) -> frozenset[str]:
    """Of a line, or of the `input` of a pair: note what is wrong, and return the names of the functions."""
    if "functions" in holder:
        note("old_functions", f"{where}functions")
    tools = holder.get("tools")
    parallel = holder.get("parallel_tool_calls")
    if parallel is not None and (not isinstance(parallel, bool) or not tools):
        note("parallel_tool_calls", f"{where}parallel_tool_calls")
    if tools is None:
        return frozenset()
    if not isinstance(tools, list):
        note("tools_shape", f"{where}tools")
        return frozenset()
    if len(tools) > TOOLS_MAX:
        note("too_many_tools", f"{where}tools")
    names: set[str] = set()
    for number, tool in enumerate(tools):
        at = f"{where}tools[{number}]"
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        if not isinstance(function, dict) or not isinstance(name := function.get("name"), str):
            note("tools_shape", at)
            continue
        if not _tool_name(name):
            note("tool_name", f"{at}.function.name")
        if name in names:
            note("same_tool_twice", f"{at}.function.name")
        names.add(name)
        parameters = function.get("parameters")
        if parameters is not None and not _is_schema(parameters):
            note("parameters_shape", f"{at}.function.parameters")
    return frozenset(names)


def _is_schema(parameters: Any) -> bool:
    return isinstance(parameters, dict) and parameters.get("type", "object") == "object"


def check_calls(messages: Sequence[Placed], names: frozenset[str], note: Note) -> None:
    """Each call but those of the answer has its result directly behind it, and each result its call."""
    open_calls: dict[str, str] = {}
    without_tools = ""
    for at, message in messages:
        if message["role"] == "tool":
            call_id = message.get("tool_call_id")
            if not isinstance(call_id, str) or open_calls.pop(call_id, None) is None:
                note("result_without_call", f"{at}.tool_call_id")
            continue
        for where in open_calls.values():
            note("call_without_result", where)
        open_calls = {}
        calls = message.get("tool_calls")
        if calls is None or message["role"] != "assistant":
            continue
        if not isinstance(calls, list) or not calls:
            note("call_shape", f"{at}.tool_calls")
            continue
        without_tools = without_tools or ("" if names else at)
        for number, call in enumerate(calls):
            _check_call(f"{at}.tool_calls[{number}]", call, names, open_calls, note)
    if without_tools:
        note("no_tools", without_tools)


def _check_call(at: str, call: Any, names: frozenset[str], open_calls: dict[str, str], note: Note) -> None:
    function = call.get("function") if isinstance(call, dict) and call.get("type") == "function" else None
    if (
        not isinstance(function, dict)
        or not isinstance(call_id := call.get("id"), str)
        or not isinstance(name := function.get("name"), str)
        or call_id in open_calls
    ):
        note("call_shape", at)
        return
    open_calls[call_id] = at
    if not _tool_name(name):
        note("tool_name", f"{at}.function.name")
    elif names and name not in names:
        note("unknown_tool", f"{at}.function.name")
    if not _is_object(function.get("arguments")):
        note("call_arguments", f"{at}.function.arguments")


def _is_object(arguments: Any) -> bool:
    if not isinstance(arguments, str):
        return False
    try:
        _object(arguments)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return False
    return True
