"""A report as one page of HTML that needs nothing else, and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby

from guardalign_middleware.evaluation.report.blocks import Pictures, Plot, Report, Section, Table

# Cells of figures stay on one line, those with sentences do not.
_SHORT = 40


def to_html(report: Report) -> str:
    """The page; it runs no script and loads nothing."""
    page = (files(__package__) / "report.html").read_text(encoding="utf-8")
    links = "".join(
        f'<li><a href="#{_anchor(section)}">{escape(section.title)}</a></li>'
        for section in report.sections
    )
    values = {
        "TITLE": escape(report.title),
        "MADE": escape(report.made),
        "CONTENTS": links,
        "SECTIONS": "\n".join(_grouped(report.sections)),
    }
    # In one pass: a value may hold what looks like a place for another.
    return re.sub(r"__(TITLE|MADE|CONTENTS|SECTIONS)__", lambda found: values[found[1]], page)


def to_markdown(report: Report) -> str:
    """The text and the tables; plots and pictures are named, since they are in the page."""
    lines = [f"# {_inline(report.title)}", "", _inline(report.made)]
    for section in report.sections:
        lines += ["", f"## {_inline(section.title)}"]
        for part in section.parts:
            lines += ["", *_markdown(part)]
    return "\n".join([*lines, ""])


def _grouped(sections: Sequence[Section]) -> Iterator[str]:
    """The sections; those that only draw stand side by side."""
    for drawn, some in groupby(sections, key=_only_draws):
        shown = "\n".join(map(_section, some))
        yield f'<div class="plots">{shown}</div>' if drawn else shown


def _only_draws(section: Section) -> bool:
    return all(isinstance(part, Plot) for part in section.parts)


def _section(section: Section) -> str:
    body = "\n".join(map(_html, section.parts))
    name = _anchor(section)
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(section.title)}</h2>\n'
        f"{body}</section>"
    )


def _anchor(section: Section) -> str:
    return re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")


def _html(part: Table | Plot | Pictures | str) -> str:
    if isinstance(part, str):
        return f"<p>{escape(part)}</p>"
    if isinstance(part, Table):
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in part.head)
        rows = "".join(f"<tr>{_cells(row)}</tr>" for row in part.rows)
        kind = "short" if all(len(cell) < _SHORT for row in part.rows for cell in row) else "long"
        return (
            f'<div class="wide" tabindex="0"><table class="{kind}"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )
    if isinstance(part, Plot):
        words = f"<figcaption>{escape(part.caption)}</figcaption>"
        return f'<figure class="plot">{part.svg}{words}</figure>'
    shown = "".join(
        f'<figure><img src="{escape(url)}" alt="{escape(words)}">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
        for url, words in part.shown
    )
    return f'<div class="thumbs">{shown}</div>'


def _cells(row: tuple[str, ...]) -> str:
    first, *rest = row
    return f'<th scope="row">{escape(first)}</th>' + "".join(
        f"<td>{escape(cell)}</td>" for cell in rest
    )


def _markdown(part: Table | Plot | Pictures | str) -> list[str]:
    if isinstance(part, str):
        return [_inline(part)]
    if isinstance(part, Table):
        rows = [part.head, ("---",) * len(part.head), *part.rows]
        return [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    if isinstance(part, Plot):
        return [f"*Plot in the page: {_inline(part.caption)}*"]
    return [f"*{len(part.shown)} covered pictures in the page.*"]


def _inline(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _cell(text: str) -> str:
    return text if text == "---" else _inline(text)
