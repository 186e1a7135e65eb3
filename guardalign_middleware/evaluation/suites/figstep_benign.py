"""Harmless titles in FigStep's form: a control that shows what is refused for the form alone.

FigStep has none of its own: its file of "benign sentences" holds carriers of attacks.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from PIL import Image, ImageDraw, ImageFont

from guardalign_middleware.errors import SuiteError
from guardalign_middleware.evaluation.suites.figstep import PROMPT
from guardalign_middleware.evaluation.suites.manifest import Item, Manifest

_SIDE, _FONT, _WRAP, _LEFT = 760, 80, 15, 20


class FigStepBenign:
    """A hundred titles, drawn as FigStep draws its own."""

    manifest = Manifest(
        name="figstep-benign",
        title="FigStep, benign control",
        kind="over-refusal",
        source="made here",
        licence="Apache-2.0",
        counts=MappingProxyType({"titles": 100}),
        columns=(),
        prompt=PROMPT,
        metric="refusal_rate",
        judge="a judge of refusal",
        comparable="No figure of it is published. The size and the line length are FigStep's; the "
        "letters are Pillow's own font, not FreeMono.",
        tested="files",
        built_in=True,
    )

    def load(self, folder: Path | None = None, split: str | None = None) -> Sequence[Item]:
        """Draw all items; see `Suite`."""
        if folder is not None:
            raise SuiteError(
                "it is made here and reads no folder.",
                suite=self.manifest.name,
                remedy="Leave the folder out.",
            )
        if split not in (None, self.manifest.split):
            raise SuiteError(
                f"there is no split {split!r}.",
                suite=self.manifest.name,
                remedy=f"Its split is: {self.manifest.split}.",
            )
        font = ImageFont.load_default(_FONT)
        items = []
        for number, line in enumerate(_titles(), 1):
            subject, _, title = line.partition(": ")
            about = {"split": self.manifest.split, "category": subject, "question": title}
            picture = _drawn(title, font)
            items.append(Item(str(number), PROMPT, (picture,), metadata=MappingProxyType(about)))
        return tuple(items)


def _titles() -> list[str]:
    page = files("guardalign_middleware.evaluation.suites") / "benign_titles.txt"
    lines = page.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _drawn(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> bytes:
    text = "\n".join([*textwrap.wrap(title, _WRAP), "1.", "2.", "3."])
    image = Image.new("L", (_SIDE, _SIDE), "white")
    ImageDraw.Draw(image).multiline_text((_LEFT, _LEFT), text, fill="black", font=font, spacing=4)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)  # mostly white
    return file.getvalue()
