"""`guardalign scan`: one verdict for each image or frame, one line for each input that failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from guardalign_middleware.cli.console import (
    ALLOWED,
    CANNOT,
    STYLES,
    UNSAFE,
    err,
    make_folder,
    out,
    print_error,
    print_json,
    tracked,
)
from guardalign_middleware.errors import GuardAlignError, ImageRejected
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.overlay import draw_overlay
from guardalign_middleware.types import Verdict

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def run_scan(paths: Sequence[str], *, as_json: bool, overlay: Path | None, preset: str) -> int:
    """Scan files and folders, and print the results as they come.

    Returns:
        The exit status: 2 if an input could not be scanned, else 1 if one is unsafe, else 0.

    Raises:
        ConfigError: the preset, or the overlay folder, cannot be used.
        ModelLoadError: the encoder cannot be loaded.
    """
    folder = None if overlay is None else make_folder(overlay)
    failed = False
    sources: list[str] = []
    for path in paths:
        try:
            sources += expand(path)
        except ImageRejected as error:
            print_error(str(error))
            failed = True
    unsafe = False
    if sources:
        with err().status("loading the guard"):
            guard = ImageGuard.from_preset(preset)
        for number, source in enumerate(tracked(sources, "scanning"), start=1):
            try:
                frames = guard.load_frames(source)
                verdicts = guard.scan_many(frames)
            except GuardAlignError as error:
                print_error(_located(source, error))
                failed = True
                continue
            unsafe = unsafe or any(verdict.flagged for verdict in verdicts)
            # Allowed or not, it could not be scanned, and that is what this command is asked for.
            failed = failed or any(verdict.fault is not None for verdict in verdicts)
            for index, (image, verdict) in enumerate(zip(frames, verdicts, strict=True), start=1):
                frame = index if len(frames) > 1 else None
                if as_json:
                    print_json(_facts(verdict, frame))
                else:
                    out().print(describe(verdict))
                if folder is not None:
                    name = f"{number:04d}-{_stem(source)}{'' if frame is None else f'-{frame}'}.png"
                    draw_overlay(image, verdict).save(folder / name)
    if failed:
        return CANNOT
    return UNSAFE if unsafe else ALLOWED


def expand(path: str) -> list[str]:
    """The images that a PATH argument stands for: itself, or those in a folder and below it.

    Raises:
        ImageRejected: a folder without images; nothing was scanned, which is not "all allowed".
    """
    if not Path(path).is_dir():
        return [path]
    found = sorted(
        str(file)
        for file in Path(path).rglob("*")
        if file.suffix.lower() in SUFFIXES and not file.is_dir()
    )
    if not found:
        raise ImageRejected(
            f"The folder {path} holds no image file.",
            reason="is_directory",
            source=path,
            remedy=f"Looked for {', '.join(sorted(SUFFIXES))}.",
        )
    return found


def describe(verdict: Verdict) -> str:
    """One line of rich markup for a person."""
    style = STYLES[verdict.decision]
    if verdict.fault is not None:
        return f"[bold red]fault[/] {escape(verdict.source)}  not scanned: {escape(verdict.fault)}"
    sign = "<=" if verdict.distance <= verdict.threshold else ">"
    line = (
        f"[{style}]{verdict.decision:5}[/] {escape(verdict.source)}  {verdict.category} "
        f"{verdict.distance:.3f} {sign} {verdict.threshold:.3f}"
    )
    boxes = ", ".join(f"{region.category} at {region.box}" for region in verdict.regions)
    return f"{line}  {boxes}" if boxes else line


def _facts(verdict: Verdict, frame: int | None) -> dict[str, Any]:
    """The line of an image; a frame of a file has its number, and the file as its source."""
    facts = verdict.to_json()
    if frame is None:
        return facts
    return {**facts, "source": verdict.source.removesuffix(f"#{frame}"), "frame": frame}


def _located(source: str, error: GuardAlignError) -> str:
    message = str(error)
    return message if source in message or source.startswith("data:") else f"{source}: {message}"


def _stem(source: str) -> str:
    return "image" if source.startswith("data:") else Path(source).stem
