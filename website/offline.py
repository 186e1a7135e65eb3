"""The promise that a page of the site loads nothing from elsewhere."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

# A link may lead elsewhere; what is loaded may not. `rel` of a <link> that loads something:
_LOADING = frozenset({"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect"})
_SOURCES = {"script", "img", "iframe", "source", "video", "audio", "embed"}


class _Loads(HTMLParser):
    """Collects what a page would load from another host, or would need a script of another for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag in _SOURCES:
            self._note(given.get("src", ""))
        if tag == "link" and set(given.get("rel", "").split()) & _LOADING:
            self._note(given.get("href", ""))
        # The theme fetches the library that draws these.
        if {"mermaid", "arithmatex"} & set(given.get("class", "").split()):
            self.found.append(f"a script for {given['class']}; use an SVG file")

    def _note(self, address: str) -> None:
        if address.startswith(("http:", "https:", "//")):
            self.found.append(address)


def loaded_from_elsewhere(page: str) -> list[str]:
    """What a page of HTML loads from other hosts."""
    parser = _Loads()
    parser.feed(page)
    return parser.found


def check_site(folder: Path) -> list[str]:
    """A line for each thing that a page in `folder` loads from elsewhere."""
    return [
        f"{page.relative_to(folder)} loads {address}"
        for page in sorted(folder.rglob("*.html"))
        for address in loaded_from_elsewhere(page.read_text(encoding="utf-8"))
    ]
