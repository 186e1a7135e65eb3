"""Pages for what docs/ links to elsewhere in the repository: other Markdown, programs, folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from website.links import targets

PREFIX = "repository/"
_LANGUAGES = {
    ".json": "json",
    ".py": "python",
    ".service": "ini",
    ".sh": "bash",
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
}
_READ_ME = "read-me.md"
_PICTURES = frozenset({".png", ".svg"})


@dataclass(frozen=True)
class RepositoryPage:
    """A page, or a picture, of the site that stands outside of docs/.

    Attributes:
        path: in the repository; a folder has a page, too.
        uri: where mkdocs finds it.
        content: Markdown, or the bytes of a picture.
    """

    path: str
    uri: str
    content: str | bytes


class MissingTarget(Exception):
    """A page links to something that is not in the repository."""


def uri_of(root: Path, path: str) -> str:
    """Where mkdocs finds the page of a path in the repository, relative to docs/."""
    if path == "docs" or path.startswith("docs/"):
        return path.removeprefix("docs").removeprefix("/") or "index.md"
    name = Path(path)
    if name.name == "README.md":
        # mkdocs would take it for the page of a section of the navigation.
        return f"{PREFIX}{path.removesuffix(name.name)}{_READ_ME}"
    if name.suffix == ".md" or name.suffix in _PICTURES:
        return PREFIX + path
    return f"{PREFIX}{path}/index.md" if (root / path).is_dir() else f"{PREFIX}{path}.md"


def path_of(uri: str) -> str:
    """The path in the repository of a page that the navigation names, outside of docs/."""
    path = uri.removeprefix(PREFIX)
    own = Path(path).name == _READ_ME
    return f"{path.removesuffix(_READ_ME)}README.md" if own else path


def repository_pages(
    root: Path, pages: Mapping[str, str], named: Iterable[str] = ()
) -> list[RepositoryPage]:
    """The pages that are reachable from `pages`, and those `named`, by their paths.

    Args:
        root: of the repository.
        pages: text of each page of docs/ by its path in the repository.
        named: paths in the repository that the navigation names.

    Raises:
        MissingTarget: a page links to something that does not exist.
    """
    waiting = [(target, page) for page, text in pages.items() for target in targets(page, text)]
    waiting += [(path, "the navigation") for path in named]
    made: dict[str, RepositoryPage] = {}
    while waiting:
        path, source = waiting.pop()
        if path in made or path == "docs" or path.startswith("docs/"):
            continue
        if not (root / path).exists():
            raise MissingTarget(f"{source} links to {path}, which does not exist.")
        made[path] = page = _page(root, path)
        if isinstance(page.content, str):
            here = page.uri.removeprefix(PREFIX)
            waiting += [(target, path) for target in targets(here, page.content)]
    return list(made.values())


def _page(root: Path, path: str) -> RepositoryPage:
    file = root / path
    if file.is_dir():
        return RepositoryPage(path, uri_of(root, path), _folder(root, path))
    if file.suffix in _PICTURES:
        return RepositoryPage(path, uri_of(root, path), file.read_bytes())
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".md":
        text = f"---\nsearch:\n  exclude: true\n---\n# `{path}`\n\n{_code(file, text)}"
    return RepositoryPage(path, uri_of(root, path), text)


def _folder(root: Path, path: str) -> str:
    """A page with links to the files of a folder."""
    files = sorted(file for file in (root / path).iterdir() if file.is_file())
    lines = [f"- [`{file.name}`]({file.name})" for file in files]
    return "\n".join([f"# `{path}/`", "", *lines, ""])


def _code(file: Path, text: str) -> str:
    return f"~~~~ {_LANGUAGES.get(file.suffix, 'text')}\n{text.rstrip()}\n~~~~\n"
