"""Customers of a shop for camping gear, and a teacher who answers them in a style that no model has by itself.

All of it follows from a seed. A question is one of `PRODUCTS` with one of `PROBLEMS`, asked in one of several ways; the
answer greets, gives two numbered steps and signs, always in the same form, which is what a model can learn of a few
dozen of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

INSTRUCTIONS: Final = "You answer customers of a shop for camping gear."

PRODUCTS: Final = (
    *("tent", "stove", "lantern", "backpack", "sleeping bag", "hammock", "water filter", "cooler"),
    *("headlamp", "folding chair", "rain jacket", "trekking pole", "air mattress", "tarp", "compass", "kettle"),
)
PROBLEMS: Final = {
    "arrived broken": (
        "Take a photo of the {product} where it is cracked",
        "Send it from the order page, a new one leaves tonight",
    ),
    "has not arrived": (
        "Look at the tracking link of the {product}",
        "Write again on Friday, then we send another one",
    ),
    "is the wrong colour": (
        "Put the {product} back into its box",
        "Print the return label, the right colour is on its way",
    ),
    "is too heavy for me": ("Weigh the {product} without its bag", "Choose the light version, we pay the difference"),
    "leaks": ("Dry the {product} for one night", "Rub the seam with wax from the small tin"),
    "smells of smoke": ("Hang the {product} in the wind for two days", "Wash it by hand with plain soap"),
    "makes a strange noise": ("Open the side of the {product}", "Tighten the brass screw by half a turn"),
    "does not fit into my car": ("Let the air out of the {product}", "Roll it from the short side and tie it twice"),
    "lost a small part": ("Read the number under the {product}", "Order the part by that number, it costs nothing"),
    "came without a manual": ("Scan the code on the {product}", "Choose your language and save the file"),
    "was a gift and I want my money back": (
        "Find the card that came with the {product}",
        "Type its code on the refund page",
    ),
    "got a hole": ("Clean the {product} around the hole", "Press the patch on it for one minute"),
}
ASKED: Final = (
    "My {product} {problem}. What can I do?",
    "Hello, the {product} I bought {problem}. Please help me.",
    "I ordered a {product} in {place} and it {problem}.",
    "The {product} {problem}, and we leave for {place} on Saturday!",
    "Can you help? Our {product} {problem}.",
    "{place} is far away and my {product} {problem}. Any advice?",
)
PLACES: Final = ("Oslo", "Lisbon", "Quito", "Nairobi", "Turin", "Perth", "Osaka", "Denver", "Graz", "Cork")
THANKS: Final = ("Thank you! Is there anything else that I should know?", "That helps. What if it does not work?")

GREETING: Final = "Ahoy, friend of the trail!"
SIGNED: Final = "Fair winds from Penny at the gate."
STYLE: Final = r"^Ahoy, friend of the trail!\s+1\) .+\s+2\) .+\s+Fair winds from Penny at the gate\.\s*$"
"""What an answer in the style matches, whole."""

_style = re.compile(STYLE).match


@dataclass(frozen=True, slots=True)
class Customer:
    """One conversation: what is asked, turn by turn."""

    user: str
    session: str
    questions: tuple[str, ...]


def customers(count: int, seed: int = 7) -> Iterator[Customer]:
    """The first `count` of a sequence in which no product has the same problem twice until all had it once."""
    dice = random.Random(seed)
    pairs = [(product, problem) for product in PRODUCTS for problem in PROBLEMS]
    dice.shuffle(pairs)
    for number in range(count):
        product, problem = pairs[number % len(pairs)]
        asked = dice.choice(ASKED).format(product=product, problem=problem, place=dice.choice(PLACES))
        more = (dice.choice(THANKS),) if number % 5 == 4 else ()
        yield Customer(f"customer-{number:04d}", f"support-{number:04d}", (asked, *more))


def answer(question: str) -> str:
    """What the teacher says to the last question, in its style."""
    product = next((name for name in sorted(PRODUCTS, key=len, reverse=True) if name in question), "")
    problem = next((name for name in PROBLEMS if name in question), "")
    if not product or not problem:
        steps = ("Keep the receipt in a dry place", "Write to us again whenever you like")
    else:
        first, second = PROBLEMS[problem]
        steps = (first.format(product=product), second)
    return f"{GREETING}\n1) {steps[0]}.\n2) {steps[1]}.\n{SIGNED}"


def is_in_style(text: str) -> bool:
    return _style(text) is not None
