"""What mkdocs calls while it builds the site; see mkdocs.yml."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from website import commands, settings
from website.links import pipes_in_code, resolve, rewrite, split_fragment
from website.offline import check_site
from website.repository_pages import PREFIX, MissingTarget, path_of, repository_pages, uri_of

ROOT = Path(__file__).parents[1]
MORE = "More"
_WRITTEN = {
    commands.MARKER: commands.command_reference,
    settings.MARKER: settings.settings_reference,
}
_log = logging.getLogger("mkdocs.hooks.website")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of docs/, and put pages that the navigation forgot under "More"."""
    texts = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    named = set(_uris(config.nav))
    outside = {path_of(uri) for uri in named if uri.startswith(PREFIX)}
    try:
        pages = repository_pages(ROOT, texts, sorted(outside))
    except MissingTarget as error:
        raise PluginError(str(error)) from error
    for page in pages:
        file = File.generated(config, page.uri, content=page.content)
        if page.path not in outside:
            file.inclusion = InclusionLevel.NOT_IN_NAV
        files.append(file)
    _append_forgotten(config, sorted({path.removeprefix("docs/") for path in texts} - named))
    return files


def _append_forgotten(config: MkDocsConfig, forgotten: list[str]) -> None:
    if forgotten and config.nav is not None:
        _log.info("Not in the navigation, so under %r: %s", MORE, ", ".join(forgotten))
        config.nav.append({MORE: forgotten})


def _uris(entries: Any) -> Iterator[str]:
    """The pages that a navigation names."""
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, dict):
        for each in entries.values():
            yield from _uris(each)
    elif isinstance(entries, list):
        for each in entries:
            yield from _uris(each)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that are written for the code host into links of the site."""
    here = page.file.src_uri
    source = here.removeprefix(PREFIX) if here.startswith(PREFIX) else f"docs/{here}"

    def new(link: str) -> str:
        uri = uri_of(ROOT, resolve(source, link))
        relative = posixpath.relpath(uri, posixpath.dirname(here) or ".")
        return relative + split_fragment(link)[1]

    text = pipes_in_code(rewrite(markdown, new))
    for marker, write in _WRITTEN.items():
        if marker in text:
            text = text.replace(marker, write())
    return text


def on_post_build(config: MkDocsConfig) -> None:
    """Fail if a page would load anything from elsewhere."""
    found = check_site(Path(config.site_dir))
    if found:
        raise PluginError("The site has to work offline:\n" + "\n".join(found))
