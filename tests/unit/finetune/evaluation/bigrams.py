"""A server's `/completions` with a model whose every probability is known: a letter depends on the one before.

`fault` makes it one that cannot be trusted: "off by one" gives each token the number of the next one, "next" that of
the one before, "no echo" ignores `echo`, "none" has no log probabilities at all.
"""

from __future__ import annotations

import json
import math
from typing import Any

LETTERS = [chr(code) for code in range(32, 127)] + ["\n"]


def logprob(before: str, letter: str) -> float:
    """Of `letter` after `before`: any of them, the one that follows it in the alphabet more often than others."""
    favourite = LETTERS[(LETTERS.index(before) * 7 + 3) % len(LETTERS)]
    share = 0.3 + 0.4 * (LETTERS.index(before) / len(LETTERS))
    return math.log(share if letter == favourite else (1 - share) / (len(LETTERS) - 1))


def likeliest(before: str) -> str:
    return max(LETTERS, key=lambda letter: logprob(before, letter))


def nats(prompt: str, answer: str) -> float:
    """What the answer should cost."""
    text = prompt + answer
    return -sum(logprob(text[place - 1], text[place]) for place in range(len(prompt), len(text)))


class Bigrams:
    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.asked: list[dict[str, Any]] = []

    async def complete(self, body: dict[str, Any]) -> bytes | None:
        self.asked.append(body)
        if self.fault == "none":
            return None
        prompt, said = body["prompt"], likeliest(body["prompt"][-1])
        echo = body.get("echo") and self.fault != "no echo"
        tokens = [*prompt, said] if echo else [said]
        text = prompt + said
        values: list[float | None] = [logprob(text[place - 1], text[place]) for place in range(1, len(text))]
        values = [None, *values] if echo else values[-1:]
        if echo and self.fault == "off by one":
            values = [*values[1:], 0.0]
        if echo and self.fault == "next":
            values = [None, None, *values[1:-1]]
        logprobs = {"tokens": tokens, "token_logprobs": values}
        return json.dumps({"choices": [{"text": "".join(tokens), "logprobs": logprobs}]}).encode()
