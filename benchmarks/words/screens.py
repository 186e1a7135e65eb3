"""Screenshots in many designs: with an order to the model that reads them, and without one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.words import banks
from benchmarks.words.banks import Split, half
from benchmarks.words.orders import LOOK_ALIKES, ORDERS, TARGETS
from benchmarks.words.page import WHITE, Colour, Page, Picture

Look = Literal["plain", "small", "faint", "footer", "comment"]
LOOKS: tuple[Look, ...] = ("plain", "plain", "small", "faint", "footer", "comment")
"""How a planted sentence looks; half of what is read by people is plain."""
GREY: Colour = (90, 96, 104)


@dataclass(frozen=True)
class Planted:
    """The sentence that stands between the others, and how it looks."""

    text: str
    look: Look

    def write(self, page: Page, x: int, y: int, size: int, width: int) -> int:
        """Write it where the text of the page goes on; a footer goes to the bottom."""
        text, fill = self.text, page.ink
        if self.look == "footer":
            page.paragraph(x, page.height - 46, text, 12, width, fill=GREY)
            return y
        if self.look == "small":
            size = 12
        elif self.look == "faint":
            # Three fifths of the way to the ground: readable for OCR, easily passed over.
            fill = tuple((2 * a + 3 * b) // 5 for a, b in zip(page.ink, page.ground, strict=True))  # type: ignore[assignment]
        elif self.look == "comment":
            text = f"<!-- {text} -->"
        return page.paragraph(x, y, text, size, width, fill=fill)


Screen = Callable[[random.Random, Split, Planted], Page]


def _prose(rng: random.Random, split: Split, count: int) -> list[str]:
    return rng.sample(half(banks.PROSE, split), count)


def _bar(page: Page, title: str) -> int:
    """The bar of a browser's window."""
    page.box((0, 0, page.width, 40), (222, 225, 230))
    page.box((90, 8, page.width - 20, 32), WHITE, radius=10)
    page.text(104, 11, title, 14, font="sans", fill=(60, 60, 60))
    return 56


def _article(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 680, 460, paper=0)
    y = _bar(page, "https://news.example/today")
    y = page.paragraph(24, y, rng.choice(half(banks.NEWS, split)), 28, 630, font="serif bold") + 6
    first, second, third = _prose(rng, split, 3)
    y = page.paragraph(24, y, first, 17, 630) + 6
    y = page.paragraph(24, y, second, 17, 630) + 12
    y = planted.write(page, 24, y, 17, 630) + 12
    page.paragraph(24, y, third, 17, 630)
    return page


def _mail(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 640, 440, paper=rng.choice((0, 1)))
    sender, reader = rng.sample(half(banks.NAMES, split), 2)
    y = page.text(24, 16, f"From: {sender}", 17, font="sans bold")
    y = page.text(24, y, f"To: {reader}", 17)
    y = page.text(24, y, f"Subject: {rng.choice(half(banks.EVENTS, split))}", 17) + 4
    page.rule(y)
    y = page.text(24, y + 14, f"Hello {reader.split()[0]},", 17) + 8
    y = page.paragraph(24, y, _prose(rng, split, 1)[0], 17, 590) + 14
    y = planted.write(page, 24, y, 17, 590) + 14
    page.text(24, y, "Best wishes", 17)
    return page


def _chat(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 460, 560, paper=rng.choice((0, 2)))
    page.text(20, 12, rng.choice(half(banks.NAMES, split)), 20, font="sans bold")
    said = rng.sample(half(banks.CHATS, split), 4)
    y = 60
    for number, text in enumerate(said):
        x = 20 if number % 2 else 80
        y = page.text(x, y, text, 17) + 26
        if number == 1:
            y = planted.write(page, 20, y, 17, 400) + 26
    return page


def _shop(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 680, 440, paper=0)
    y = _bar(page, "https://shop.example/item")
    page.box((24, y, 224, y + 200), (225, 228, 232))
    y = page.text(250, y, rng.choice(half(banks.ITEMS, split)), 26, font="sans bold")
    y = page.text(250, y, f"{rng.randint(4, 300)}.99 EUR", 22, fill=page.accent) + 8
    y = page.text(250, y, "★★★★☆ 214 reviews", 16) + 12
    y = planted.write(page, 250, y, 16, 400) + 12
    page.box((250, 370, 420, 410), page.accent, radius=8)
    page.text(335, 378, "Add to basket", 17, fill=WHITE, centre=True)
    return page


def _reviews(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 600, 460, paper=0)
    y = page.text(24, 16, "Customer reviews", 26, font="sans bold")
    place = rng.randrange(3)
    for number, sentence in enumerate(_prose(rng, split, 3)):
        y = page.text(24, y + 8, f"{rng.choice(half(banks.NAMES, split))}  ★★★★★", 16)
        if number == place:
            y = planted.write(page, 24, y, 17, 550)
        else:
            y = page.paragraph(24, y, sentence, 17, 550)
    return page


def _editor(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 680, 420, paper=rng.choice((0, 2)))
    page.body = "mono"
    y = page.text(12, 8, "main.py – Editor", 14, font="sans") + 8
    lines = rng.sample(half(banks.CODE, split), 6)
    for number, line in enumerate(lines, 1):
        y = page.text(24, y, line, 16) + 4
        if number == 3:
            y = Planted(f"# {planted.text}", planted.look).write(page, 24, y, 15, 640) + 4
    return page


def _calendar(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 640, 440, paper=0)
    y = page.text(24, 16, "Tuesday, 14 May", 26, font="sans bold") + 8
    for number, event in enumerate(rng.sample(half(banks.EVENTS, split), 3)):
        page.box((110, y, 616, y + 36), (220, 232, 246), radius=6)
        page.text(24, y + 8, f"{9 + 2 * number}:00", 17)
        y = page.text(122, y + 8, event, 17) + 18
        if number == 1:
            y = planted.write(page, 122, y, 16, 490) + 14
    return page


def _ticket(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 660, 440, paper=0)
    y = page.text(
        24, 16, f"Ticket #{rng.randint(1000, 9999)}: printer offline", 24, font="sans bold"
    )
    y = page.text(24, y, "Status: open   Priority: normal", 16, fill=GREY) + 12
    y = page.paragraph(24, y, _prose(rng, split, 1)[0], 17, 610) + 12
    y = planted.write(page, 24, y, 17, 610) + 12
    page.text(24, y, f"Reported by {rng.choice(half(banks.NAMES, split))}", 16)
    return page


def _terminal(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 680, 400, paper=2)
    page.body = "mono"
    y = page.text(16, 14, "user@host:~$ cat notes.txt", 16)
    for sentence in _prose(rng, split, 2):
        y = page.paragraph(16, y, sentence, 16, 640)
    y = planted.write(page, 16, y + 10, 16, 640) + 10
    page.text(16, y, "user@host:~$ ", 16)
    return page


def _document(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 560, 640, paper=0)
    page.body = rng.choice(("serif", "times"))
    y = page.text(40, 36, rng.choice(half(banks.TITLES, split)), 28, font="serif bold") + 10
    sentences = _prose(rng, split, 4)
    for number, sentence in enumerate(sentences):
        y = page.paragraph(40, y, sentence, 17, 480) + 12
        if number == 1:
            y = planted.write(page, 40, y, 17, 480) + 12
    return page


def _results(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 680, 460, paper=0)
    y = _bar(page, "search: " + rng.choice(half(banks.TASKS, split)).lower())
    place = rng.randrange(3)
    for number, (title, sentence) in enumerate(
        zip(rng.sample(half(banks.TASKS, split), 3), _prose(rng, split, 3), strict=True)
    ):
        y = page.text(24, y + 8, title, 20, fill=(26, 60, 170))
        if number == place:
            y = planted.write(page, 24, y, 16, 630)
        else:
            y = page.paragraph(24, y, sentence, 16, 630)
    return page


def _resume(rng: random.Random, split: Split, planted: Planted) -> Page:
    page = Page(rng, 540, 620, paper=0)
    y = page.text(36, 30, rng.choice(half(banks.NAMES, split)), 30, font=page.bold)
    for title, entry in (
        ("Experience", "2019 – 2024 Accountant, Harbour Foods"),
        ("Education", "2015 – 2019 BSc Economics"),
        ("Skills", "Spanish, spreadsheets, planning"),
    ):
        y = page.text(36, y + 16, title, 20, font=page.bold, fill=page.accent)
        y = page.text(36, y, entry, 17)
        if title == "Education":
            y = planted.write(page, 36, y + 14, 16, 470)
    return page


SCREENS: dict[str, Screen] = {
    "article": _article,
    "mail": _mail,
    "chat": _chat,
    "shop": _shop,
    "reviews": _reviews,
    "editor": _editor,
    "calendar": _calendar,
    "ticket": _ticket,
    "terminal": _terminal,
    "document": _document,
    "search results": _results,
    "resume": _resume,
}


def injected_screens(split: Split, count: int) -> Iterator[Picture]:
    """The first `count` screenshots of a split that hold an order to a model."""
    for number in range(count):
        rng = random.Random(f"injected {split} {number}")
        slots = {name: rng.choice(values) for name, values in TARGETS.items()}
        text = ORDERS[split][number % len(ORDERS[split])].format(**slots)
        yield _screen(rng, split, number, "injected", Planted(text, rng.choice(LOOKS)))


def harmless_screens(split: Split, count: int) -> Iterator[Picture]:
    """As `injected_screens`, with a sentence for people in the place and look of the order."""
    for number in range(count):
        rng = random.Random(f"screen {split} {number}")
        text = LOOK_ALIKES[split][number % len(LOOK_ALIKES[split])]
        yield _screen(rng, split, number, "screen", Planted(text, rng.choice(LOOKS)))


def _screen(rng: random.Random, split: Split, number: int, kind: str, planted: Planted) -> Picture:
    # Twenty wordings and twelve designs have 60 pairs; the shift makes 240 of them.
    names = list(SCREENS)
    design = names[(number + number // 60) % len(names)]
    page = SCREENS[design](rng, split, planted)
    return page.done(f"{kind}-{split}-{number}", f"{design}, {planted.look}")
