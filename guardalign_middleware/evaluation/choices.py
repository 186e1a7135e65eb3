"""What an evaluation is made of, by the names that people give: suite, items, judge."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from guardalign_middleware.errors import ConfigError, SuiteError
from guardalign_middleware.evaluation import mini_suite
from guardalign_middleware.evaluation.judges import (
    ChatEndpoint,
    Judge,
    KeywordJudge,
    judge_of,
    md_judge,
)
from guardalign_middleware.evaluation.mini_suite import MiniJudge, MiniSuite
from guardalign_middleware.evaluation.suites import SUITES, Item, Manifest, hub_folder, suite
from guardalign_middleware.safety_prefixes import OWN

SUITE_NAMES = (mini_suite.NAME, *SUITES)
_HUB = "hub:"
_KEY = "OPENAI_API_KEY"


@dataclass(frozen=True)
class Chosen:
    """The items of one split of a suite.

    Attributes:
        manifest: of the suite.
        split: the one that was loaded.
        items: all of it, or its first items.
        limit: that was asked for.
        data: where its files are, to be named again; None where it has none.
    """

    manifest: Manifest
    split: str
    items: tuple[Item, ...]
    limit: int | None = None
    data: str | None = None

    @property
    def whole(self) -> bool:
        """Whether these are all items of the split as published."""
        return len(self.items) == self.manifest.counts[self.split]


def choose_items(name: str, data: str | None, split: str | None, limit: int | None) -> Chosen:
    """Load a suite.

    Args:
        name: of the suite.
        data: folder of its files, or `hub:OWNER/NAME@REVISION` for a data set of the hub, which is
            fetched; without a revision, the newest. The suite mini has none.
        split: None = its first.
        limit: at most so many items, the first ones; of mini, requests of each kind.

    Raises:
        ConfigError: there is no such suite, or no folder is named.
        SuiteError: its files are not those that were published.
        HubError: they cannot be fetched.
    """
    if name == mini_suite.NAME:
        drawn = MiniSuite() if limit is None else MiniSuite(limit)
        items = tuple(drawn.load(None if data is None else Path(data), split))
        return Chosen(drawn.manifest, split or drawn.manifest.split, items, limit)
    if name not in SUITE_NAMES:
        raise ConfigError(
            f"There is no suite {name!r}.", remedy=f"Suites are: {', '.join(SUITE_NAMES)}."
        )
    found = suite(name)
    if data is None and not found.manifest.built_in:
        raise ConfigError(
            f"The suite {name!r} is read from a folder, and none is named.",
            remedy=f"Fetch it from {found.manifest.source} and name the folder with --data"
            + (f", or --data {_HUB}{found.manifest.hub[0]}." if found.manifest.hub else "."),
        )
    folder, again = (None, None) if data is None else _place(found.manifest, data)
    items = tuple(found.load(folder, split))
    if not items:
        raise SuiteError("there are no items.", suite=name)
    return Chosen(found.manifest, split or found.manifest.split, items[:limit], limit, again)


def _place(manifest: Manifest, data: str) -> tuple[Path, str]:
    """The folder of a suite's files, and how to name the very same ones again."""
    if manifest.built_in or not data.startswith(_HUB):
        return Path(data), str(Path(data).resolve())
    name, _, revision = data.removeprefix(_HUB).partition("@")
    folder = hub_folder(manifest, name, revision=revision or None)
    return folder, f"{_HUB}{name}@{folder.name}"  # the cache names a snapshot by its commit


def manifest_of(name: str) -> Manifest:
    """What a suite says about itself; of mini, in its usual size.

    Raises:
        ConfigError: there is no such suite.
    """
    return MiniSuite().manifest if name == mini_suite.NAME else suite(name).manifest


def choose_judge(manifest: Manifest, name: str | None, prefix: str = OWN) -> Judge:
    """The judge of a name, or the one that a suite is judged by.

    `keywords` and `keywords-start` look for refusals; `MODEL@URL` asks a chat service in the form
    of the suite's authors, and `md-judge:MODEL@URL` in MD-Judge's. The service's key is in
    OPENAI_API_KEY, if it needs one.

    Args:
        manifest: of the suite.
        name: None = templates for mini, and keywords elsewhere.
        prefix: the safety prefix, whose echo no refusal is read from.

    Raises:
        ConfigError: there is none of this name.
    """
    if manifest.name == mini_suite.NAME and name in (None, mini_suite.NAME):
        return MiniJudge()
    if name in (None, "keywords"):
        return KeywordJudge("anywhere", prefix=prefix)
    if name == "keywords-start":
        return KeywordJudge("start", prefix=prefix)
    form, _, asked = name.partition(":") if name.startswith("md-judge:") else ("", "", name)
    model, at, url = asked.partition("@")
    if not (model and at and url):
        raise ConfigError(
            f"There is no judge {name!r} for the suite {manifest.name}.",
            remedy="Judges are: keywords, keywords-start, MODEL@URL, md-judge:MODEL@URL; and mini "
            "for the suite mini.",
        )
    key = _KEY if os.environ.get(_KEY, "").strip() else None
    endpoint = ChatEndpoint(url, model, key_variable=key)
    return md_judge(endpoint) if form else judge_of(manifest, endpoint, prefix=prefix)
