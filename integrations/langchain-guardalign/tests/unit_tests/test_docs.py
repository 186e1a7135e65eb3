"""The code on the pages runs as it is printed, on the miniature models."""

from __future__ import annotations

import functools
import io
import re
from pathlib import Path
from typing import Any

import langsmith
import pytest
from PIL import Image

from guardalign_middleware.mini.demo import demo_scenes
from langchain_guardalign import testing
from langchain_guardalign.testing import RecordingModel, holds_raw
from langchain_support.langsmith import Traces

ROOT = Path(__file__).parents[4]
PAGES = (ROOT / "docs" / "langchain.md", ROOT / "integrations/langchain-guardalign/README.md")


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


class Models(list[RecordingModel]):
    """The models that a page makes."""

    def made(self, **fields: Any) -> RecordingModel:
        self.append(RecordingModel(**fields))
        return self[-1]


def unsafe_png() -> bytes:
    scene = next(item for item in demo_scenes() if item.name == "pistol-apple")
    buffer = io.BytesIO()
    Image.fromarray(scene.scene.pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.slow
def test_the_python(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = unsafe_png()
    (tmp_path / "guardalign-demo").mkdir()
    (tmp_path / "guardalign-demo" / "04-pistol-apple.png").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    traces, models = Traces(), Models()
    monkeypatch.setattr(langsmith, "Client", functools.partial(traces.client))
    monkeypatch.setattr(testing, "RecordingModel", models.made)
    names: dict[str, Any] = {}
    for code in blocks(page.read_text(encoding="utf-8")):
        exec(compile(code, page.name, "exec"), names)
    # Everything on the page goes through a guard.
    seen = [messages for model in models for messages in model.seen]
    assert seen or page.stem != "langchain"
    assert not holds_raw(seen, data)
    assert not any(holds_raw(body, data) for body in traces.bodies)
    assert names["found" if page.stem == "langchain" else "reply"]


def test_the_page_shows_every_part() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    assert len(blocks(text)) >= 8
    for part in ("ChatGuardAlign", "ImageGuardRunnable", "GuardAlignMiddleware", "without_images"):
        assert part in text


def test_the_example_of_the_doubles() -> None:
    (code,) = blocks(testing.__doc__ or "")
    exec(compile(code, "testing", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_pages_it_links_to_exist(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link
