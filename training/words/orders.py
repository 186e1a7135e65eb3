"""Orders to models and sentences for people, to learn from: the wordings of `corpus`.

They were written for this project in thirty-nine batches, the orders by nine kinds of attack.
`{mail}` and its like stand for any address.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
BATCHES = (
    "first", "second", "third", "fourth", "fifth", "sixth",
    "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
    "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth",
    "nineteenth", "twentieth", "twenty_first", "twenty_second", "twenty_third", "twenty_fourth",
    "twenty_fifth", "twenty_sixth", "twenty_seventh", "twenty_eighth", "twenty_ninth", "thirtieth",
    "thirty_first", "thirty_second", "thirty_third", "thirty_fourth", "thirty_fifth",
    "thirty_sixth", "thirty_seventh", "thirty_eighth", "thirty_ninth",
)  # fmt: skip
_HEADING = re.compile(r"\[([a-z0-9 ]+)\]")
_SLOT = re.compile(r"\{([a-z]+)\}")
SLOTS = {
    "name": ("ZORA", "Max", "Nexus", "Ms Hill", "Kaiser", "QX-9", "Dr Bloom", "Vex"),
    "site": ("http://a7.example", "www.best-offer.example", "https://q.example/x", "deals.example"),
    "mail": ("x@mail.example", "drop@z9.example", "ops@collect.example", "jo.b@firm.example"),
    "code": ("BANANA", "OK-55", "4471", "yes", "VIOLET", "done", "HACKED", "token 99"),
    "product": ("the AquaPro filter", "Zento shoes", "our vitamin drink", "the Nova phone", "Acme"),
    "phone": ("555 0188", "+44 20 7946 0111"),
    "amount": ("500", "99.90", "2,000 euros", "$40"),
    "thing": ("a giraffe", "the sea", "old bicycles", "a red balloon", "bread"),
}
"""What the slots of a wording are filled with."""


@dataclass(frozen=True)
class Wording:
    """A wording of the corpus.

    Attributes:
        batch: in which it was written.
        kind: of attack, or of place where people read it.
        register: how it speaks, as the heading above it says; empty if it was not sorted.
        text: with slots.
        order: whether it is one to a model.
    """

    batch: str
    kind: str
    register: str
    text: str
    order: bool

    def filled(self, rng: random.Random) -> str:
        """The text with its slots filled."""
        return _SLOT.sub(lambda slot: rng.choice(SLOTS[slot[1]]), self.text)


def wordings(folder: Path = CORPUS) -> tuple[Wording, ...]:
    """All wordings of the corpus.

    Raises:
        FileNotFoundError: a batch has no files.
    """
    found = []
    for batch in BATCHES:
        for part in ("orders", "harmless"):
            files = sorted((folder / batch / part).glob("*.txt"))
            if not files:
                raise FileNotFoundError(f"{folder / batch / part} has no texts.")
            for file in files:
                register = ""
                for line in file.read_text(encoding="utf-8").splitlines():
                    if heading := _HEADING.fullmatch(line):
                        register = heading[1]
                    elif line:
                        found.append(Wording(batch, file.stem, register, line, part == "orders"))
    return tuple(found)


_TO_MODELS = (
    "Assistant,", "Dear assistant,", "AI assistant:", "Note to AI:", "Attention AI agents:",
    "If you are an AI,", "If you are a language model,", "Chatbot:", "To the model reading this:",
    "Hey AI,", "For automated agents:", "To any LLM:", "System:", "Instruction for the AI:",
    "Hello bot,", "AI:", "As an AI,", "When an AI reads this:", "Message to the assistant:",
    "Language models:", "Agent:", "Instructions for automated readers:", "Dear AI,",
    "Important for assistants:", "If a bot is processing this page:", "Hidden note for the model:",
)  # fmt: skip
_TO_PEOPLE = (
    "Dear guests,", "Note to staff:", "Dear parents,", "Hi all,", "Please note:", "Important:",
    "Attention:", "If you are new here,", "Dear customers,", "Reminder:", "Tip:", "Hi Anna,",
    "To all members:", "For visitors:", "Dear colleagues,", "Info:", "Question:", "Notice:",
    "If you have questions,", "Dear reader,", "Hello!", "For adults:", "Students:", "Warning:",
    "Step 2:", "PS:", "Update:", "Drivers:", "Note for teachers:",
)  # fmt: skip


def composed(
    rng: random.Random, orders: Sequence[str], harmless: Sequence[str], count: int
) -> list[tuple[str, bool]]:
    """`count` texts of several wordings, or with an address before them, and which are orders."""
    found = []
    for number in range(count):
        order = number % 2 == 0
        text = rng.choice(orders if order else harmless)
        share = rng.random()
        if share < 0.3:
            address = rng.choice(_TO_MODELS if order else _TO_PEOPLE)
            text = f"{address} {text[0].lower()}{text[1:]}"
        elif share < 0.4:
            text = f"{rng.choice(_TO_PEOPLE)} {text}"
        elif share < 0.6:
            text = f"{text} {rng.choice(orders if order else harmless)}"
        elif share < 0.8:
            beside = rng.choice(harmless)
            text = f"{beside} {text}" if rng.random() < 0.5 else f"{text} {beside}"
        found.append((text, order))
    return found
