"""What `--where` may say: one expression over a row's own columns, as the engine's own parser reads it.

Two readings. `checked` looks at the text, without a server: nothing in it may end the parentheses that it is put into.
`mentioned` looks at the tree that ClickHouse makes of it (`EXPLAIN AST`), where nothing can hide: each node must be a
literal, an identifier or a function of `FUNCTIONS`. Those are listed, not those that are forbidden: a function that a
new server brings is refused until somebody has looked at it. None of them reads anything but its arguments, and each
gives the same for the same arguments (`now()` and `rand()` do not), for a dataset is made again from its options.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from ..errors import DatasetError
from .functions import FUNCTIONS

WHERE_CHARACTERS_MAX: Final = 16_384

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>--|/\*|\#)
    |(?P<text>'(?:[^'\\]|\\.|'')*')
    |(?P<name>"[^"\\\x00-\x1f]*"|`[^`\\\x00-\x1f]*`)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>[0-9][0-9A-Za-z_.]*)
    |(?P<open>[(\[])|(?P<close>[)\]])
    |(?P<other>[-+*/%<>=!|,.?:])""",
    re.VERBOSE | re.DOTALL,
)
_CLAUSES: Final = frozenset({"select", "from", "union", "settings", "format", "into", "outfile", "infile", "with"})
_COMPLAINTS: Final = {"comment": "a comment", "clause": "a subquery or another clause of SQL"}

_NODE: Final = re.compile(r"( *)(\w+)(?: (?!\((?:alias|children) )(.*?))?(?: \(alias (.*)\))?(?: \(children (\d+)\))?")
_FORMAT: Final = " Identifier Native"
"""Beside the SELECT: the format that the client asks the answer in."""
_CONTAINERS: Final = frozenset({"ExpressionList", "Function", "Identifier", "Literal"})
_IN: Final = frozenset({"in", "notin", "globalin", "globalnotin", "nullin", "notnullin"})


def checked(where: str) -> str:
    """The predicate without blanks around it. Raises `DatasetError` when its text cannot be one expression."""
    where = where.strip()
    if not where:
        raise DatasetError("The condition of --where is empty.")
    if len(where) > WHERE_CHARACTERS_MAX:
        raise DatasetError(f"The condition of --where is longer than {WHERE_CHARACTERS_MAX:,} characters.")
    expected: list[str] = []
    for kind, token in _tokens(where):
        if kind == "comment" or (kind == "word" and token.lower() in _CLAUSES):
            raise _refused(f"has {_COMPLAINTS['comment' if kind == 'comment' else 'clause']} ({token})")
        if kind == "open":
            expected.append({"(": ")", "[": "]"}[token])
        elif kind == "close" and (not expected or expected.pop() != token):
            raise _refused(f"closes a {token} that it did not open")
    if expected:
        raise _refused(f"lacks a {expected[-1]}")
    return where


def question(where: str) -> str:
    """What to ask ClickHouse for the tree that `mentioned` reads. `where` is checked."""
    return f"EXPLAIN AST SELECT identity(\n{where}\n)"


def mentioned(tree: str) -> frozenset[str]:
    """The columns that the predicate reads, by the engine's tree of `question`.

    Raises `DatasetError` when it is not one expression of columns, literals and `FUNCTIONS`.
    """
    head, nodes = _nodes(tree)
    # SELECT identity(...): whatever got out of the parentheses would stand beside the function, or above it.
    if [kind for kind, _ in head] != ["SelectWithUnionQuery", "ExpressionList", "SelectQuery", "ExpressionList"] or (
        not nodes or nodes[0][1:] != ("Function", "identity")
    ):
        raise _refused("is not one expression")
    top = nodes[0][0]
    if any(depth <= top for depth, _, _ in nodes[1:]) or sum(depth == top + 2 for depth, _, _ in nodes) != 1:
        raise _refused("is not one expression")
    columns: set[str] = set()
    own: set[str] = set()
    for place, (depth, kind, name) in enumerate(nodes):
        if kind not in _CONTAINERS:
            raise _refused("has a subquery" if "quer" in kind.lower() else f"has what cannot be used here ({kind})")
        if kind == "Function":
            _check_call(nodes, place, name)
            if name == "lambda":
                own.update(_parameters(nodes, place))
        elif kind == "Identifier":
            columns.add(name.partition(".")[0])
        del depth
    return frozenset(columns - own)


def check_columns(mentioned: Iterable[str], known: Iterable[str]) -> None:
    """Raises `DatasetError` that names a column that is not there, and those nearest to it."""
    names = sorted(known)
    for column in sorted(mentioned):
        if column not in names:
            near = difflib.get_close_matches(column, names, n=3, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names)}."
            raise DatasetError(f"--where names a column that does not exist: {column}. {hint}")


def _tokens(where: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(where):
        found = _TOKEN.match(where, place)
        if found is None:
            what = "a text that does not end" if where[place] in "'\"`" else f"the character {where[place]!a}"
            raise _refused(f"has {what} at position {place + 1}")
        place = found.end()
        if (kind := found.lastgroup) is not None and kind != "space":
            yield kind, found[0]


def _nodes(tree: str) -> tuple[list[tuple[str, str]], list[tuple[int, str, str]]]:
    """The first four nodes, and those below: depth, kind and name."""
    head: list[tuple[str, str]] = []
    nodes: list[tuple[int, str, str]] = []
    lines = tree.splitlines()
    if lines and lines[-1] == _FORMAT:
        del lines[-1]
    for line in lines:
        found = _NODE.fullmatch(line)
        if found is None:
            raise _refused("cannot be read")
        depth, kind, name, alias, _ = found.groups()
        if alias is not None:
            raise _refused("gives something a name (AS)" if not alias.startswith("@@") else "asks for a setting")
        if len(head) < 4:
            head.append((kind, name or ""))
        else:
            nodes.append((len(depth), kind, name or ""))
    return head, nodes


def _check_call(nodes: list[tuple[int, str, str]], place: int, name: str) -> None:
    if name.lower() not in FUNCTIONS:
        raise _refused(f"calls {name}, which is not among the functions that it may use")
    if name.lower() not in _IN:
        return
    arguments = [node for node in _below(nodes, place) if node[0] == nodes[place][0] + 2]
    if len(arguments) != 2 or arguments[1][1] == "Identifier":
        raise _refused("looks something up in a table (IN takes a list of values)")


def _below(nodes: list[tuple[int, str, str]], place: int) -> Iterator[tuple[int, str, str]]:
    for node in nodes[place + 1 :]:
        if node[0] <= nodes[place][0]:
            return
        yield node


def _parameters(nodes: list[tuple[int, str, str]], place: int) -> Iterator[str]:
    """Names that a lambda gives its arguments: those of the tuple that comes first in it."""
    below = list(_below(nodes, place))
    if len(below) > 1 and below[1][1:] == ("Function", "tuple"):
        yield from (name for _, kind, name in _below(below, 1) if kind == "Identifier")


def _refused(why: str) -> DatasetError:
    return DatasetError(f"The condition of --where {why}. It is one expression over the columns of a generation.")
