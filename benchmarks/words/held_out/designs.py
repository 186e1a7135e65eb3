"""Twelve designs of screens that the development screenshots do not have."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.words.held_out.texts import background
from benchmarks.words.page import WHITE, Colour, Page

Look = Literal["plain", "small", "tiny", "pale", "hidden", "ribbon", "wrapped"]
LOOKS: tuple[Look, ...] = (
    *("plain",) * 5,
    *("small", "pale", "ribbon", "wrapped") * 2,
    "tiny",
    "hidden",
)
"""How a planted sentence looks, each as often as it stands here."""
GREY: Colour = (110, 116, 124)
_HIDDEN_LEVELS = 8


def _towards(ink: Colour, ground: Colour, share: float) -> Colour:
    first, second, third = (round(a + share * (b - a)) for a, b in zip(ink, ground, strict=True))
    return first, second, third


@dataclass(frozen=True)
class Insert:
    """The sentence that a screen is drawn around, and how it looks."""

    text: str
    look: Look

    def write(self, page: Page, x: int, y: int, size: int, width: int) -> int:
        """Write it with its top at y, and return where the page goes on."""
        if self.look == "ribbon":
            start = len(page.lines)
            end = page.paragraph(x, y, self.text, size, width)
            page.box((x - 8, y - 4, x + width + 8, end + 2), page.accent)
            del page.lines[start:]
            ink = WHITE if sum(page.accent) < 420 else (0, 0, 0)
            return page.paragraph(x, y, self.text, size, width, fill=ink) + 6
        text, fill = self.text, page.ink
        if self.look == "small":
            size = 12
        elif self.look == "tiny":
            size = 9
        elif self.look == "pale":
            fill = _towards(page.ink, page.ground, 0.65)
        elif self.look == "hidden":
            step = -_HIDDEN_LEVELS if sum(page.ground) > 380 else _HIDDEN_LEVELS
            red, green, blue = (value + step for value in page.ground)
            fill = red, green, blue
        elif self.look == "wrapped":
            text = f'alt="{text}"'
        return page.paragraph(x, y, text, size, width, fill=fill)


def _prose(rng: random.Random, count: int) -> list[str]:
    return rng.sample(background("sentence"), count)


def _wiki(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 820, 560, paper=0)
    for number, label in enumerate(rng.sample(background("label"), 7)):
        page.text(16, 90 + 28 * number, label, 14, fill=(40, 80, 170))
    y = page.text(160, 20, rng.choice(background("title")), 30, font="serif")
    page.rule(y, 160)
    first, second, third, fourth = _prose(rng, 4)
    y = page.paragraph(160, y + 12, f"{first} {second}", 16, 620) + 10
    y = page.text(160, y, "Background", 22, font="serif bold") + 4
    y = insert.write(page, 160, y, 16, 620) + 10
    page.paragraph(160, y, f"{third} {fourth}", 16, 620)
    return page


def _feed(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 500, 640, paper=rng.choice((0, 2)))
    y, place = 20, rng.randrange(3)
    for number, said in enumerate(_prose(rng, 3)):
        page.draw.ellipse((20, y, 56, y + 36), fill=page.accent)
        name = rng.choice(background("name"))
        y = page.text(70, y, f"{name}  ·  {rng.randint(2, 58)} min", 15, font="sans bold") + 4
        y = page.paragraph(70, y, said, 16, 400)
        if number == place:
            y = insert.write(page, 70, y + 6, 16, 400)
        y = page.text(70, y + 6, f"{rng.randint(1, 90)} likes   Reply   Share", 13, fill=GREY) + 22
    return page


def _dialog(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 720, 460, paper=rng.choice((1, 3)))
    page.box((110, 80, 610, 390), WHITE, radius=12)
    page.ground, page.ink = WHITE, (30, 30, 34)
    y = page.text(140, 104, rng.choice(background("label")), 24, font="sans bold") + 8
    y = page.paragraph(140, y, _prose(rng, 1)[0], 16, 440) + 12
    insert.write(page, 140, y, 16, 440)
    page.box((400, 340, 490, 374), (225, 228, 232), radius=6)
    page.text(445, 346, "Cancel", 15, centre=True)
    page.box((505, 340, 585, 374), page.accent, radius=6)
    page.text(545, 346, "OK", 15, fill=WHITE, centre=True)
    return page


def _diff(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 860, 460, paper=0)
    page.body = "mono"
    y = page.text(20, 14, f"docs/page{rng.randint(2, 40)}.md", 16, font="sans bold") + 10
    for number, line in enumerate(_prose(rng, 5)):
        colour: Colour = (230, 255, 236) if number % 2 else (255, 235, 233)
        page.box((20, y - 2, 840, y + 20), colour)
        y = page.text(28, y, f"{'+' if number % 2 else '-'} {line}", 14) + 8
        if number == 2:
            y = insert.write(page, 28, y, 14, 790) + 10
    page.text(20, y + 14, "2 comments   1 approval", 14, font="sans", fill=GREY)
    return page


def _sheet(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 760, 440, paper=0)
    for number, label in enumerate(rng.sample(background("label"), 4)):
        page.text(30 + 180 * number, 20, label, 16, font="sans bold")
    for row in range(6):
        y = 56 + 34 * row
        page.rule(y - 6)
        page.text(30, y, rng.choice(background("name")), 15)
        for column in (1, 2, 3):
            page.text(30 + 180 * column, y, str(rng.randint(10, 9999)), 15)
    page.rule(260)
    insert.write(page, 30, 276, 15, 690)
    page.text(30, 400, "Sheet 1   Sheet 2   +", 14, fill=GREY)
    return page


def _restaurant(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 560, 620, paper=rng.choice((0, 1)))
    page.box((0, 0, 560, 170), (200, 214, 196))
    for _ in range(6):
        x, y = rng.randrange(560), rng.randrange(170)
        page.draw.line((x, 0, y * 3, 170), fill=(246, 246, 240), width=7)
    y = page.text(24, 190, "The Copper Kettle", 26, font=page.bold)
    y = page.text(24, y, f"4.{rng.randint(1, 9)} ({rng.randint(20, 900)} ratings)  Café", 15) + 10
    for number, said in enumerate(_prose(rng, 3)):
        y = page.text(24, y + 6, rng.choice(background("name")), 15, font="sans bold")
        y = page.paragraph(24, y, said, 16, 510)
        if number == 1:
            y = insert.write(page, 24, y + 4, 16, 510) + 6
    return page


def _forum(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 800, 560, paper=rng.choice((0, 3)))
    y = page.text(24, 18, rng.choice(background("title")) + "?", 24, font="sans bold") + 10
    for number, said in enumerate(_prose(rng, 4)):
        page.rule(y)
        page.text(24, y + 10, rng.choice(background("name")), 14, fill=GREY)
        y = page.paragraph(190, y + 10, said, 16, 580)
        if number == 2:
            y = insert.write(page, 190, y + 6, 16, 580)
        y += 18
    return page


def _phone(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 420, 720, paper=5)
    page.text(210, 60, f"{rng.randint(6, 23)}:{rng.randint(10, 59)}", 64, centre=True)
    page.text(210, 150, "Wednesday, 9 October", 18, centre=True)
    page.ground, page.ink = (228, 232, 240), (24, 24, 30)
    y = 220
    for number, app in enumerate(("Mail", "News", "Calendar")):
        page.box((16, y, 404, y + 130), page.ground, radius=16)
        page.text(32, y + 10, f"{app}   now", 13, fill=GREY)
        if number == 1:
            insert.write(page, 32, y + 34, 15, 354)
        else:
            page.paragraph(32, y + 34, _prose(rng, 1)[0], 15, 354)
        y += 146
    return page


def _board(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 900, 480, paper=0)
    column = rng.randrange(3)
    for number, title in enumerate(("To do", "In progress", "Done")):
        x = 20 + 290 * number
        page.box((x, 20, x + 280, 460), (236, 238, 242), radius=10)
        page.text(x + 16, 32, title, 18, font="sans bold")
        for card in (0, 1):
            y = 70 + 190 * card
            page.box((x + 12, y, x + 268, y + 175), WHITE, radius=6)
            if card == 0 and number == column:
                insert.write(page, x + 24, y + 12, 15, 230)
            else:
                page.paragraph(x + 24, y + 12, _prose(rng, 1)[0], 15, 230)
    return page


def _readme(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 780, 580, paper=rng.choice((0, 2)))
    y = page.text(30, 24, f"{rng.choice(background('label')).lower()}-kit", 32, font="sans bold")
    page.rule(y + 4)
    y = page.paragraph(30, y + 20, _prose(rng, 1)[0], 17, 720) + 10
    y = page.text(30, y, "Install", 22, font="sans bold") + 6
    y = (
        page.text(
            48, y, f"pip install kit=={rng.randint(1, 9)}.{rng.randint(0, 20)}", 16, font="mono"
        )
        + 10
    )
    y = insert.write(page, 30, y, 17, 720) + 14
    y = page.text(30, y, "Licence", 22, font="sans bold") + 6
    page.paragraph(30, y, _prose(rng, 1)[0], 17, 720)
    return page


def _video(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 860, 620, paper=2)
    page.box((0, 0, 860, 400), (60, 66, 72))
    for _ in range(30):
        x, y = rng.randrange(860), rng.randrange(400)
        shade = rng.randrange(60, 150)
        page.draw.ellipse((x - 70, y - 40, x + 70, y + 40), fill=(shade, shade, shade + 20))
    page.box((140, 340, 720, 384), (0, 0, 0))
    page.text(430, 348, _prose(rng, 1)[0], 19, fill=WHITE, centre=True)
    y = page.text(24, 414, rng.choice(background("title")), 24, font="sans bold")
    y = page.text(24, y, f"{rng.randint(2, 900)} thousand views", 14, fill=GREY) + 10
    insert.write(page, 24, y, 16, 810)
    return page


def _brochure(rng: random.Random, insert: Insert) -> Page:
    page = Page(rng, 900, 640, paper=rng.choice((0, 1, 4)))
    page.body = rng.choice(("serif", "times"))
    y = page.text(450, 24, rng.choice(background("title")), 36, font=page.bold, centre=True) + 10
    page.rule(y)
    left = right = y + 16
    for sentence in _prose(rng, 5):
        left = page.paragraph(40, left, sentence, 17, 390) + 8
    for sentence in _prose(rng, 3):
        right = page.paragraph(470, right, sentence, 17, 390) + 8
    insert.write(page, 470, right + 6, 17, 390)
    return page


DESIGNS: dict[str, Callable[[random.Random, Insert], Page]] = {
    "wiki": _wiki,
    "feed": _feed,
    "dialog": _dialog,
    "diff": _diff,
    "sheet": _sheet,
    "restaurant": _restaurant,
    "forum": _forum,
    "phone": _phone,
    "board": _board,
    "readme": _readme,
    "video": _video,
    "brochure": _brochure,
}
