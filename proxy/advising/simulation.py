"""What a provider's prompt cache would have read: the longest prefix of each call that an earlier call has left there.

The prompts stand in a radix tree, so that memory grows with the number of calls and not with their length.
"""

from __future__ import annotations

from collections.abc import Sequence

from .policies import CachePolicy
from .prompts import Pieces


class _Node:
    __slots__ = ("children", "edge", "ended_at", "latest", "used_at")

    def __init__(self, edge: Sequence[int], used_at: float) -> None:
        self.edge = edge
        self.children: dict[int, _Node] = {}
        self.latest: _Node | None = None
        """The child that was used last."""
        self.used_at = used_at
        self.ended_at = float("-inf")
        """When a prompt that ends here was last sent."""


def simulate(
    prompts: Sequence[tuple[float, Sequence[int]]], pieces: Pieces, policy: CachePolicy, scale: float = 1.0
) -> list[int]:
    """Cached tokens of each prompt, given as Unix time and pieces, in order of time.

    `scale`: the provider's tokens for one of ours. With `breakpoint` or `marked`, a prefix counts where an earlier
    prompt ended.
    """
    root = _Node((), 0.0)
    return [_send(root, at, prompt, pieces, policy, scale) for at, prompt in prompts]


def _send(root: _Node, at: float, prompt: Sequence[int], pieces: Pieces, policy: CachePolicy, scale: float) -> int:
    """Walk down and leave the prompt in the tree; gives what was found there."""
    node, index, found, partial, alive = root, 0, 0, 0.0, True
    ends_only = policy.matching != "prefix"
    while index < len(prompt):
        child = node.children.get(prompt[index])
        if child is None:
            sibling = node.latest
            if alive and not ends_only and sibling is not None and at - sibling.used_at <= policy.lifetime_s:
                partial = pieces.common(sibling.edge[0], prompt[index])
            child = node.children[prompt[index]] = _Node(prompt[index:], at)
            index = len(prompt)
        else:
            shared = _shared(child.edge, prompt, index)
            if shared < len(child.edge):
                child = _split(node, child, shared)
            alive = alive and at - child.used_at <= policy.lifetime_s
            index += shared
            if alive and (not ends_only or at - child.ended_at <= policy.lifetime_s):
                found = index
                if ends_only:
                    child.ended_at = at  # what is read is kept as long again
        child.used_at = at
        node.latest = child
        node = child
    node.ended_at = at
    return _rounded((pieces.tokens_of(prompt[:found]) + partial) * scale, policy)


def _shared(edge: Sequence[int], prompt: Sequence[int], start: int) -> int:
    length = min(len(edge), len(prompt) - start)
    if edge[:length] == prompt[start : start + length]:
        return length
    return next(i for i in range(length) if edge[i] != prompt[start + i])


def _split(parent: _Node, child: _Node, length: int) -> _Node:
    upper = _Node(child.edge[:length], child.used_at)
    child.edge = child.edge[length:]
    upper.children[child.edge[0]] = upper.latest = child
    parent.children[upper.edge[0]] = upper
    return upper


def _rounded(tokens: float, policy: CachePolicy) -> int:
    whole = int(tokens)
    return whole - whole % policy.step if whole >= policy.minimum else 0
