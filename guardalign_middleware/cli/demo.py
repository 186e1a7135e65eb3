"""`guardalign demo`: answer sample scenes in three ways, and write pictures of the findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps
from rich import box
from rich.markup import escape
from rich.table import Table

from guardalign_middleware.cli.console import (
    ALLOWED,
    STYLES,
    err,
    make_folder,
    out,
    plain,
    without_loading_bars,
)
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.mini.demo import DemoScene, demo_scenes
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.types import CanonicalImage, ImagePart, Message, TextPart

_CAPTION = (
    "unguarded: the plain model. prefix: with a safety prefix in the prompt. guarded: with the "
    "same prefix and the cleaned image. The miniature models know pictographs, not photos."
)


def run_demo(folder: Path) -> int:
    """Answer every scene in three ways, print a table, and write the pictures.

    For each scene: `NN-NAME.png` as drawn, `overlays/NN-NAME.png` with the findings, and
    `clean/NN-NAME.png` as shown to the model (absent if blocked). `overlays/masked-scene.png`
    shows these three side by side for the first masked scene. What is drawn over stands apart, so
    that a scan of `*.png` is one of the scenes.

    Returns:
        The exit status 0.

    Raises:
        ConfigError: the folder cannot be created.
        ModelLoadError: the shipped models are missing or damaged.
    """
    overlays, clean = make_folder(folder / "overlays"), make_folder(folder / "clean")
    without_loading_bars()
    with err().status("loading the miniature models") as status:
        chain = GuardAlign.from_preset("mini")
        scenes = demo_scenes()
        images = [
            CanonicalImage(item.scene.pixels, f"{number:02d}-{item.name}")
            for number, item in enumerate(scenes, start=1)
        ]
        conversations = [
            (Message("user", (ImagePart(image), TextPart(item.request))),)
            for image, item in zip(images, scenes, strict=True)
        ]
        status.update("asking the plain model")
        bare = chain.runner.generate_batch(conversations, prefix=False, calibrate=False)
        status.update("asking with the safety prefix")
        prefixed = chain.runner.generate_batch(conversations, prefix=True, calibrate=False)
        status.update("asking with the guard")
        guarded = chain.batch(conversations)
        cleaned = chain.guard.sanitize_many(images)
        status.update("writing the pictures")
        for item in cleaned:
            name = f"{item.original.source}.png"
            item.original.to_pil().save(folder / name)
            item.overlay().save(overlays / name)
            # A file from an earlier run must not suggest that a blocked image was forwarded.
            (clean / name).unlink(missing_ok=True)
            if item.image is not None:
                item.image.to_pil().save(clean / name)
        masked = next((item for item in cleaned if item.verdict.decision == "mask"), None)
        if masked is not None:
            _side_by_side(masked).save(overlays / "masked-scene.png")
    answers = [
        tuple(answer.text for answer in row) for row in zip(bare, prefixed, guarded, strict=True)
    ]
    console = out(soft_wrap=False)
    console.print(_table(scenes, answers, cleaned))
    console.print(f"[dim]{_CAPTION}[/]")
    place = plain(str(folder))
    console.print(f"Scenes: {place}/, findings: {place}/overlays/, cleaned: {place}/clean/")
    return ALLOWED


def _side_by_side(item: SanitizedImage) -> Image.Image:
    """The original picture, the findings, and the picture shown to the model."""
    shown = (item.original, item.image)
    panels = [picture.to_pil() for picture in shown if picture is not None]
    panels.insert(1, item.overlay())
    side, gap = 512, 16
    canvas = Image.new("RGB", (3 * side + 2 * gap, side), "white")
    for number, panel in enumerate(panels):
        fitted = ImageOps.pad(panel, (side, side), Image.Resampling.LANCZOS, color="white")
        canvas.paste(fitted, (number * (side + gap), 0))
    return canvas


def _table(
    scenes: Sequence[DemoScene],
    answers: Sequence[tuple[str, ...]],
    cleaned: Sequence[SanitizedImage],
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_lines=True)
    for title in ("scene", "request", "unguarded", "prefix", "guarded", "guard"):
        table.add_column(title, overflow="fold", ratio=None if title == "guard" else 1)
    for scene, (bare, prefixed, guarded), item in zip(scenes, answers, cleaned, strict=True):
        verdict = item.verdict
        found = ", ".join(sorted({region.category for region in verdict.regions}))
        table.add_row(
            escape(item.original.source),
            f"[red]{escape(scene.request)}[/]" if scene.harmful else escape(scene.request),
            escape(bare),
            escape(prefixed),
            f"[bold]{escape(guarded)}[/]",
            f"[{STYLES[verdict.decision]}]{verdict.decision}[/] {found}",
        )
    return table
