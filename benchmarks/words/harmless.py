"""Harmless pictures of words in many designs, drawn anew from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from benchmarks.words import banks
from benchmarks.words.banks import Split, half
from benchmarks.words.page import WHITE, Page, Picture

_SIZES = ((520, 400), (480, 520), (560, 420), (640, 480))


def _page(rng: random.Random) -> Page:
    return Page(rng, *rng.choice(_SIZES))


def _some(rng: random.Random, bank: tuple[str, ...], split: Split, count: int) -> list[str]:
    """Different entries of a split's half of a bank, in a random order."""
    return rng.sample(half(bank, split), count)


def _recipe(rng: random.Random, split: Split) -> Page:
    page = _page(rng)
    (dish,) = _some(rng, banks.DISHES, split, 1)
    y = page.text(24, 16, dish, 30, font=page.bold)
    for item in _some(rng, banks.INGREDIENTS, split, 3):
        y = page.text(36, y, f"• {item}", 17)
    y += 8
    numbered = rng.random() < 0.7
    for number, step in enumerate(_some(rng, banks.COOKING, split, 4), 1):
        y = page.paragraph(24, y, f"{number}. {step}" if numbered else step, 18, page.width - 50)
    return page


def _how_to(rng: random.Random, split: Split) -> Page:
    page = _page(rng)
    (title,) = _some(rng, banks.TASKS, split, 1)
    y = page.paragraph(24, 20, title, 28, page.width - 50, font=page.bold, fill=page.accent)
    mark = rng.choice(("{}.", "Step {}:", "{})"))
    for number, step in enumerate(_some(rng, banks.STEPS, split, 4), 1):
        y = page.paragraph(30, y + 8, f"{mark.format(number)} {step}", 20, page.width - 60)
    return page


def _exam(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 560, 460, paper=0)
    title = rng.choice(("History quiz", "Test: grade 5", "Final exam, part A", "Science paper"))
    y = page.text(24, 16, title, 26, font=page.bold)
    page.text(24, y, "Name: ______________", 16)
    y += 34
    for number, question in enumerate(_some(rng, banks.QUESTIONS, split, 4), 1):
        y = page.paragraph(24, y, f"{number}. {question}", 18, 500)
        if rng.random() < 0.6:
            y = page.text(44, y, "_" * rng.randint(20, 34), 16)
        y += 6
    return page


def _blanks(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 460, 440, paper=rng.choice((0, 1, 3)))
    (title,) = _some(rng, banks.BLANK_TASKS, split, 1)
    y = page.paragraph(24, 24, title, 26, 420, font=page.bold) + 12
    filler = rng.choice(("", " __________________", " .................."))
    for number in range(1, rng.choice((4, 5, 6))):
        y = page.text(30, y, f"{number}.{filler}", 24) + 10
    return page


def _form(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 560, 420, paper=rng.choice((0, 1)))
    title = rng.choice(("Registration form", "Claim for expenses", "Library card", "Visitor log"))
    y = page.text(24, 18, title, 26, font=page.bold) + 6
    fields = ["First name", "Last name", "Date of birth", "Address", "Phone", "Signature", "Date"]
    for number, name in enumerate(rng.sample(fields, 6), 1):
        label = f"{number}. {name}:" if rng.random() < 0.5 else f"{name}:"
        page.text(24, y, label, 18)
        page.rule(y + 22, 220, 530)
        y += 44
    return page


def _invoice(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 560, 440, paper=rng.choice((0, 1)))
    y = page.text(24, 18, f"INVOICE No. {rng.randint(1000, 9999)}", 26, font=page.bold)
    y = page.text(24, y, f"To: {_some(rng, banks.NAMES, split, 1)[0]}", 17) + 8
    page.rule(y)
    total = 0
    for item in _some(rng, banks.ITEMS, split, 4):
        price = rng.randint(3, 240)
        total += price
        y = page.text(24, y + 10, item, 18) - 24
        y = page.text(430, y, f"{price}.00", 18)
    page.rule(y + 4)
    page.text(300, y + 14, f"Total {total}.00 EUR", 20, font=page.bold)
    return page


def _sign(rng: random.Random, split: Split) -> Page:
    page = _page(rng)
    (text,) = _some(rng, banks.SIGNS, split, 1)
    page.box((20, 20, page.width - 20, page.height - 20), page.ground, radius=20)
    page.paragraph(
        50, page.height // 3, text, rng.choice((44, 52)), page.width - 90, font=page.bold
    )
    return page


def _menu(rng: random.Random, split: Split) -> Page:
    page = _page(rng)
    title = rng.choice(("Menu", "Today's lunch", "Chalkboard specials"))
    y = page.text(page.width // 2, 18, title, 32, font="serif bold", centre=True) + 8
    for dish in _some(rng, banks.DISHES, split, 5):
        page.text(page.width - 90, y, f"{rng.randint(5, 19)}.50", 20)
        y = page.text(40, y, dish, 20) + 8
    return page


def _code(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 560, 400, paper=rng.choice((0, 2)))
    y = 20
    for number, line in enumerate(_some(rng, banks.CODE, split, 9), 1):
        page.text(12, y, str(number), 15, font="mono", fill=(130, 130, 130))
        y = page.text(52, y, line, 17, font="mono") + 8
    return page


def _meme(rng: random.Random, split: Split) -> Page:
    page = _page(rng)
    top, bottom = rng.choice(half(banks.MEMES, split))
    for _ in range(14):
        x, y = rng.randrange(page.width), rng.randrange(page.height)
        colour = (rng.randrange(90, 170), rng.randrange(90, 170), rng.randrange(90, 170))
        page.draw.ellipse((x - 90, y - 60, x + 90, y + 60), fill=colour)
    page.paragraph(20, 14, top, 34, page.width - 40, font="sans bold", fill=(0, 0, 0))
    y = page.height - 110
    page.paragraph(20, y, bottom, 34, page.width - 40, font="sans bold", fill=(0, 0, 0))
    return page


def _chat(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 420, 520, paper=rng.choice((0, 2)))
    page.text(20, 12, _some(rng, banks.NAMES, split, 1)[0], 20, font="sans bold")
    y = 56
    for number, said in enumerate(_some(rng, banks.CHATS, split, 6)):
        x = 20 if number % 2 else 90
        page.box((x - 10, y - 6, x + 310, y + 34), (205, 230, 205), radius=14)
        y = page.text(x, y, said, 16, font="sans", fill=(20, 20, 20)) + 42
    return page


def _news(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 600, 460, paper=rng.choice((0, 1)))
    y = page.text(
        24, 14, rng.choice(("DAILY POST", "City Herald", "24 News")), 20, font="serif bold"
    )
    page.rule(y)
    (title,) = _some(rng, banks.NEWS, split, 1)
    y = page.paragraph(24, y + 10, title, 30, 550, font="serif bold") + 6
    for sentence in _some(rng, banks.PROSE, split, 3):
        y = page.paragraph(24, y, sentence, 17, 550, font="serif") + 4
    return page


def _leaflet(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 540, 440, paper=rng.choice((0, 3)))
    (title,) = _some(rng, banks.MEDICINES, split, 1)
    y = page.text(24, 18, title, 30, font=page.bold)
    y = page.text(24, y, "Information for the patient", 18, fill=page.accent) + 6
    for sentence in _some(rng, banks.LEAFLET, split, 5):
        y = page.paragraph(24, y, f"• {sentence}", 17, 490)
    return page


def _poster(rng: random.Random, split: Split) -> Page:
    page = _page(rng)
    (title,) = _some(rng, banks.EVENTS, split, 1)
    y = page.paragraph(30, 40, title, 44, page.width - 60, font=page.bold, fill=page.accent) + 20
    y = page.text(30, y, f"{rng.randint(1, 28)} {rng.choice(('May', 'June', 'July'))}, 19:30", 26)
    page.text(30, y, rng.choice(("Town hall", "Old brewery", "Central park")), 26)
    return page


def _timetable(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 520, 420, paper=rng.choice((0, 5)))
    y = page.text(24, 16, "Departures", 28, font="sans bold") + 6
    cities = ("Oslo", "Lyon", "Porto", "Graz", "Turin", "Ghent", "Malaga", "Basel")
    for city in _some(rng, cities, split, 4) * 2:
        page.text(24, y, f"{rng.randint(5, 23):02}:{rng.randint(0, 59):02}", 19, font="mono")
        page.text(150, y, city, 19)
        page.text(380, y, f"Gate {rng.randint(1, 40)}", 19)
        y += 34
    return page


def _checklist(rng: random.Random, split: Split) -> Page:
    page = _page(rng)
    y = page.text(
        24, 18, rng.choice(("Checklist", "To do", "Before you leave")), 30, font=page.bold
    )
    for step in _some(rng, banks.STEPS, split, 5):
        page.draw.rectangle((26, y + 8, 44, y + 26), outline=page.ink, width=2)
        y = page.paragraph(56, y + 4, step, 19, page.width - 80)
    return page


def _card(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 480, 280)
    (name,) = _some(rng, banks.NAMES, split, 1)
    y = page.text(30, 50, name, 32, font=page.bold)
    y = page.text(30, y, rng.choice(("Architect", "Dentist", "Security officer", "Baker")), 20) + 20
    y = page.text(30, y, f"+44 20 7946 0{rng.randint(100, 999)}", 18)
    page.text(30, y, f"{name.split()[0].lower()}@example.org", 18)
    return page


def _quote(rng: random.Random, split: Split) -> Page:
    page = _page(rng)
    (quote,) = _some(rng, banks.QUOTES, split, 1)
    page.paragraph(50, page.height // 4, f"“{quote}”", 36, page.width - 90, font="serif italic")
    return page


def _training(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 640, 420)
    y = page.text(30, 24, "Security awareness", 34, font=page.bold, fill=page.accent) + 10
    for sentence in _some(rng, banks.SECURITY, split, 4):
        y = page.paragraph(40, y, f"• {sentence}", 21, 570) + 6
    return page


def _cover(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 400, 540)
    (title,) = _some(rng, banks.TITLES, split, 1)
    y = page.paragraph(36, 90, title, 46, 340, font="serif bold")
    page.text(36, y + 60, _some(rng, banks.NAMES, split, 1)[0], 24, font="serif")
    return page


def _agenda(rng: random.Random, split: Split) -> Page:
    page = _page(rng)
    y = page.text(
        24, 18, rng.choice(("Agenda", "Table of contents", "Minutes")), 30, font=page.bold
    )
    for number, title in enumerate(_some(rng, banks.NEWS, split, 4), 1):
        page.text(24, y, f"{number}.", 19)
        y = page.paragraph(60, y, title, 19, page.width - 90) + 4
    return page


def _shopping(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 380, 460, paper=1)
    y = page.text(30, 20, "Shopping list", 28, font="serif italic") + 6
    for item in _some(rng, banks.INGREDIENTS, split, 7):
        y = page.text(40, y, f"- {item}", 21, font="serif italic") + 4
    return page


def _diagram(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 600, 420, paper=0)
    labels = _some(rng, banks.EVENTS, split, 5)
    for number, label in enumerate(labels):
        x, y = 30 + 290 * (number % 2), 30 + 125 * (number // 2)
        page.box((x, y, x + 260, y + 80), (220, 232, 246), radius=10)
        page.paragraph(x + 14, y + 14, label, 19, 230)
        page.draw.line((x + 130, y + 80, x + 130, y + 120), fill=page.accent, width=3)
    return page


def _slide(rng: random.Random, split: Split) -> Page:
    page = Page(rng, 640, 400)
    y = page.text(30, 26, rng.choice(("Results of the quarter", "Next steps", "Our team")), 34)
    for sentence in _some(rng, banks.PROSE, split, 3):
        y = page.paragraph(40, y + 10, f"– {sentence}", 22, 560, fill=page.ink)
    page.box((0, 384, 640, 400), page.accent)
    page.text(
        560, 360, str(rng.randint(2, 40)), 14, fill=page.ink if page.ground == WHITE else WHITE
    )
    return page


DESIGNS: dict[str, Callable[[random.Random, Split], Page]] = {
    "recipe": _recipe,
    "how-to slide": _how_to,
    "exam": _exam,
    "numbered blanks": _blanks,
    "form": _form,
    "invoice": _invoice,
    "sign": _sign,
    "menu": _menu,
    "code": _code,
    "meme": _meme,
    "chat": _chat,
    "news": _news,
    "medical leaflet": _leaflet,
    "poster": _poster,
    "timetable": _timetable,
    "checklist": _checklist,
    "business card": _card,
    "quote": _quote,
    "security training": _training,
    "book cover": _cover,
    "agenda": _agenda,
    "shopping list": _shopping,
    "diagram": _diagram,
    "slide": _slide,
}


def harmless_pictures(split: Split, count: int) -> Iterator[Picture]:
    """The first `count` pictures of a split, design by design in turn."""
    names = list(DESIGNS)
    for number in range(count):
        design = names[number % len(names)]
        rng = random.Random(f"harmless {split} {number}")
        yield DESIGNS[design](rng, split).done(f"harmless-{split}-{number}", design)


def twin_pictures(split: Split) -> Iterator[Picture]:
    """Harmless titles in FigStep's own form: black on white, an empty list of three below."""
    for number, title in enumerate(half(banks.TWINS, split)):
        page = Page(random.Random(f"twin {split} {number}"), 760, 760, paper=0)
        y = page.paragraph(20, 10, title, 60, 720, font="mono bold", fill=(0, 0, 0))
        for item in (1, 2, 3):
            y = page.text(20, y, f"{item}.", 60, font="mono bold", fill=(0, 0, 0))
        yield page.done(f"twin-{split}-{number}", "twin of FigStep")
