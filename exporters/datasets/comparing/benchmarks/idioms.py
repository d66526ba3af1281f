"""What everybody writes: code and phrases that evaluation sets have in common with ordinary traffic, and that therefore
say nothing about where a row comes from. Their stretches are left out of the sets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

_ROOTS: Final = ("int(N ** 0.5) + 1", "int(math.sqrt(N)) + 1", "math.isqrt(N) + 1", "N", "N - 1", "N // 2 + 1")
_PRIME: Final = """def is_prime(N: int) -> bool:
    if N < 2: return False
    if N <= 1: return False
    if N == 2: return True
    if N == 1 or N == 0: return False
    for I in range(2, ROOT):
        if N % I == 0:
            return False
    return True"""
_WRITTEN: Final = (
    "import math\nfrom typing import List, Dict, Tuple, Optional, Any, Union\nfrom typing import List\n\n\ndef ",
    "from math import floor, ceil\nimport math\nimport collections\nfrom collections import Counter, defaultdict\n",
    "def fib(n: int) -> int:\n if n == 0: return 0\n if n == 1: return 1\n return fib(n - 1) + fib(n - 2)",
    "def fibonacci(n):\n if n <= 0: return 0\n if n == 1: return 1\n return fibonacci(n - 1) + fibonacci(n - 2)",
    "def gcd(a: int, b: int) -> int:\n while b:\n  a, b = b, a % b\n return a",
    "def greatest_common_divisor(a: int, b: int) -> int:\n while b:\n  a, b = b, a % b\n return a",
    "def factorial(n: int) -> int:\n if n == 0: return 1\n return n * factorial(n - 1)",
    "def is_palindrome(s: str) -> bool:\n return s == s[::-1]",
    "def is_palindrome(text: str) -> bool:\n return text == text[::-1]",
    "def is_palindrome(string: str) -> bool:\n return string == string[::-1]",
    "if text[i] != text[len(text) - 1 - i]: return False return True",
    "if s[i] != s[len(s) - 1 - i]: return False return True",
    'vowels = "aeiouAEIOU"\n return sum(c in vowels for c in s)\n sum(1 for c in s if c in vowels)\n',
    "'zero': 0, 'one': 1, 'two': 2, 'three': 3, 'four': 4, 'five': 5, 'six': 6, 'seven': 7, 'eight': 8, 'nine': 9",
    "1: 'One', 2: 'Two', 3: 'Three', 4: 'Four', 5: 'Five', 6: 'Six', 7: 'Seven', 8: 'Eight', 9: 'Nine'",
    "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5, 1, 2, 3, 4, 1, 2, 3, 1, 2, 3",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0123456789",
    "import hashlib\nreturn hashlib.md5(text.encode('utf-8')).hexdigest()",
    "hashlib.md5(text.encode('ascii')).hexdigest()",
    "The following are multiple choice questions (with answers) about",
    "Answer the following multiple choice question. Which of the following statements is true of the",
    "Which of the following statements about the following is correct? All of the above. None of the above.",
    "(A) True, True (B) False, False (C) True, False (D) False, True. Statement 1 | Statement 2 |",
    "(A) Yes (B) No (C) Both (D) Neither of them. (A) I only (B) II only (C) III only (D) I, II, and III",
    "(A) I only (B) II only (C) I and II (D) I and III (C) II and III (D) I, II and III only",
    "Let's think step by step.",
)
_LOOPS: Final = (
    "for i in range(len(X)):\n for j in range(i + 1, len(X)):\n if X[i] ",
    "for i in range(len(X)):\n for j in range(i + 1, len(X)):\n for k in range(j + 1, len(X)):\n"
    " if X[i] + X[j] + X[k] == 0:",
    "for i in range(len(X) - 1):\n for j in range(len(X) - 1 - i):\n if X[j] > X[j + 1]:\n"
    " X[j], X[j + 1] = X[j + 1], X[j]",
    "for i in range(len(X) // 2):\n if X[i] != X[len(X) - 1 - i]:\n return False\n return True",
    "result = []\nfor i in range(len(X)):\n result.append(X[i])\n return result",
    "return sum(X) / len(X)\nreturn sorted(list(set(X)))\nif len(X) == 0: return []\nif not X: return None\n",
    "mean = sum(X) / len(X)\nreturn sum(abs(x - mean) for x in X) / len(X)",
    "X = sorted(X)\nif len(X) % 2 == 1: return X[len(X) // 2]\nelse: return (X[len(X) // 2 - 1] + X[len(X) // 2]) / 2",
    "list(filter(lambda x: x > 0, X))\nlist(filter(lambda x: x % 2 == 0, X))\nlist(filter(lambda x: x < 0, X))",
)
_LISTS: Final = (
    "l",
    "lst",
    "arr",
    "nums",
    "numbers",
    "array",
    "items",
    "string",
    "text",
    "s",
    "word",
    "words",
    "a",
    "x",
)


def idioms() -> Iterator[str]:
    """Each in the spellings that are usual."""
    yield from _WRITTEN
    for number, divisor, root in product(("n", "num", "number", "x", "k", "p", "a"), "ijkd", _ROOTS):
        head, *cases, loop, test, no, yes = _PRIME.replace("ROOT", root).split("\n")
        for case in cases:
            text = "\n".join((head, case, loop, test, no, yes))
            yield text.replace("N", number).replace("I", divisor)
    for loop, name in product(_LOOPS, _LISTS):
        yield loop.replace("X", name)
