"""A task for each suite: `inspect eval guardalign_middleware/figstep -T data=FOLDER`."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, Content, ContentImage, ContentText, GenerateConfig
from inspect_ai.solver import generate
from PIL import Image

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.choices import SUITE_NAMES, Chosen, choose_items
from guardalign_middleware.evaluation.experiment.digest import items_digest
from guardalign_middleware.evaluation.inspect.pictures import KEY, name_of, note
from guardalign_middleware.evaluation.inspect.scoring import judged
from guardalign_middleware.evaluation.suites import Item

Where = Literal["named", "inline"]
# Inspect puts the package before the names of what is installed, and overlooks an editable
# installation whose distribution has another name.
_PACKAGE = "guardalign_middleware"
_PREFIX = "" if "site-packages" in Path(__file__).parts else f"{_PACKAGE}/"


def _task(suite: str) -> Callable[..., Task]:
    def made(
        data: str | None = None,
        split: str | None = None,
        limit: int | None = None,
        judge: str | None = None,
        pictures: Where = "named",
    ) -> Task:
        return suite_task(suite, data, split, limit, judge, pictures)

    made.__doc__ = f"The suite {suite}."
    made.__name__ = suite.replace("-", "_")
    found: Callable[..., Task] = task(made, name=f"{_PREFIX}{suite}")
    return found


def suite_task(
    suite: str,
    data: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    judge: str | None = None,
    pictures: Where = "named",
) -> Task:
    """A suite as a task of Inspect.

    Args:
        suite: its name.
        data: folder of its files, or `hub:OWNER/NAME@REVISION`.
        split: None = its first.
        limit: first items only.
        judge: None = the suite's.
        pictures: `named` keeps pictures out of messages and so out of logs, and is understood by
            the provider `guardalign` only; `inline` puts them into messages, for any model. Then
            add `--no-log-images`.

    Raises:
        ConfigError: an argument is wrong.
        SuiteError: the files of the suite are not those that were published.
    """
    if pictures not in ("named", "inline"):
        raise ConfigError(f"pictures should be named or inline. Received {pictures!r}.")
    chosen = choose_items(suite, data, split, limit)
    if pictures == "named":
        note(suite, chosen.split, chosen.items)
    samples = [_sample(chosen, item, pictures) for item in chosen.items]
    length = chosen.manifest.max_new_tokens
    return Task(
        dataset=MemoryDataset(samples, name=suite, location=chosen.data),
        solver=generate(),
        scorer=judged(suite, judge),
        config=GenerateConfig() if length is None else GenerateConfig(max_tokens=length),
        metadata={
            "split": chosen.split,
            "items": len(chosen.items),
            "items_sha256": items_digest(chosen.items),
            "whole": chosen.whole,
            "source": chosen.manifest.source,
            "licence": chosen.manifest.licence,
            "comparable": chosen.manifest.comparable,
        },
    )


def _sample(chosen: Chosen, item: Item, pictures: Where) -> Sample:
    about: dict[str, Any] = {}
    content: list[Content] = []
    if item.images and pictures == "named":
        about[KEY] = name_of(chosen.manifest.name, chosen.split, item)
    elif item.images:
        content += [ContentImage(image=_data_url(data)) for data in item.read_images()]
    content.append(ContentText(text=item.prompt))
    return Sample(
        input=[ChatMessageUser(content=content, metadata=about or None)],
        target=item.target or "",
        id=item.id,
        metadata={
            "item": {
                "id": item.id,
                "prompt": item.prompt,
                "target": item.target,
                "metadata": dict(item.metadata),
            }
        },
    )


def _data_url(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as picture:
        kind = picture.get_format_mimetype()
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


TASKS: Mapping[str, Callable[..., Task]] = MappingProxyType(
    {suite: _task(suite) for suite in SUITE_NAMES}
)
"""The tasks by the names of their suites."""
