"""Links between pages lead somewhere, on the code host and on the site alike."""

from __future__ import annotations

import re
from functools import cache

import pytest

from tests.docs.pages import PAGES, ROOT, text_of
from website.links import outside_fences, resolve, split_fragment

# As GitHub and mkdocs.yml's slugify make them.
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def prose(page: str) -> str:
    """A page without its blocks of code."""
    kept: list[str] = []
    outside_fences(text_of(page), lambda part: kept.append(part) or part)
    return "\n".join(kept)


@cache
def anchors(page: str) -> frozenset[str]:
    heads = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head) for head in _HEADING.findall(prose(page)))
    return frozenset(re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, fragment = split_fragment(link)
        target = resolve(page, link) if path else page
        assert (ROOT / target).exists(), link
        if fragment and target.endswith(".md") and not target.startswith("docs/reference/"):
            assert fragment.removeprefix("#") in anchors(target), link


def test_a_link_to_nowhere_would_be_noticed() -> None:
    assert not (ROOT / resolve("docs/index.md", "no-such-page.md")).exists()
    assert "no-such-heading" not in anchors("docs/failures.md")
    assert "the-command" in anchors("docs/failures.md")
