"""What pages are written in for the code host, and mkdocs reads differently: links, and `|`."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Callable

_FENCE = re.compile(r"^(?P<fence> {0,3}(?:`{3,}|~{3,})).*?^\s*(?P=fence)\s*$", re.S | re.M)
_LINK = re.compile(r"(?P<head>\]\()(?P<target>[^)\s]+)(?P<tail>\))")
_ROW_CODE = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")
_ESCAPED = "\\|"
_ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|#|/)", re.I)


def outside_fences(text: str, change: Callable[[str], str]) -> str:
    """Apply `change` to what lies between the fenced blocks of a page."""
    parts, end = [], 0
    for fence in _FENCE.finditer(text):
        parts += [change(text[end : fence.start()]), fence.group()]
        end = fence.end()
    return "".join([*parts, change(text[end:])])


def split_fragment(link: str) -> tuple[str, str]:
    """The path of a link, and its fragment with the `#`."""
    path, sharp, fragment = link.partition("#")
    return path, sharp + fragment


def resolve(page: str, link: str) -> str:
    """The path in the repository of what a link on `page`, a path in the repository, leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), split_fragment(link)[0]))


def targets(page: str, text: str) -> set[str]:
    """The paths in the repository that the page `page` with this text links to."""
    found: set[str] = set()

    def note(part: str) -> str:
        found.update(resolve(page, each["target"]) for each in _links(part))
        return part

    outside_fences(text, note)
    return found


def rewrite(text: str, new: Callable[[str], str]) -> str:
    """Replace each link that leads to a file by `new(link)`."""

    def replaced(match: re.Match[str]) -> str:
        if _ELSEWHERE.match(match["target"]):
            return match.group()
        return f"{match['head']}{new(match['target'])}{match['tail']}"

    return outside_fences(text, lambda part: _LINK.sub(replaced, part))


def pipes_in_code(text: str) -> str:
    """Write code in table rows that holds an escaped bar as HTML, in which the bar is plain."""

    def replaced(match: re.Match[str]) -> str:
        return f"<code>{html.escape(match[1].replace(_ESCAPED, '|')).replace('|', '&#124;')}</code>"

    def rows(part: str) -> str:
        lines = part.split("\n")
        return "\n".join(
            _ROW_CODE.sub(replaced, line) if line.startswith("|") else line for line in lines
        )

    return outside_fences(text, rows)


def _links(part: str) -> list[re.Match[str]]:
    return [match for match in _LINK.finditer(part) if not _ELSEWHERE.match(match["target"])]
