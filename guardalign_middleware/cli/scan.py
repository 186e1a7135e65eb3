"""`guardalign scan`: one verdict for each image, frame or page, one line for each failed input."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from guardalign_middleware.cli.console import (
    ALLOWED,
    CANNOT,
    STYLES,
    UNSAFE,
    err,
    make_folder,
    out,
    plain,
    print_error,
    print_json,
    tracked,
)
from guardalign_middleware.config import GuardAlignConfig
from guardalign_middleware.errors import ConfigError, GuardAlignError, ImageRejected
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.intake.data_url import is_data_url
from guardalign_middleware.intake.pdf import page_label
from guardalign_middleware.overlay import draw_overlay
from guardalign_middleware.types import CanonicalImage, Verdict

# Including those that few intake policies accept: skipping an image is not "all allowed".
SUFFIXES = frozenset(
    ".apng .avif .bmp .gif .heic .heif .jfif .jpe .jpeg .jpg .png .tif .tiff .webp".split()
)
_LONGEST_STEM = 60


def run_scan(paths: Sequence[str], *, as_json: bool, overlay: Path | None, preset: str) -> int:
    """Scan files and folders, and print the results as they come.

    Returns:
        The exit status: 2 if an input could not be scanned, else 1 if one is unsafe, else 0.

    Raises:
        ConfigError: the preset or the overlay folder cannot be used.
        ModelLoadError: the encoder cannot be loaded.
    """
    folder = None if overlay is None else make_folder(overlay)
    config = GuardAlignConfig.load(preset)
    suffixes = SUFFIXES | {".pdf"} if config.intake.pdf == "pages" else SUFFIXES
    failed = False
    sources: list[str] = []
    for path in paths:
        try:
            sources += expand(path, suffixes)
        except ImageRejected as error:
            print_error(str(error))
            failed = True
    unsafe = False
    if sources:
        with err().status("loading the guard"):
            guard = ImageGuard.from_config(config)
        for number, source in enumerate(tracked(sources, "scanning"), start=1):
            try:
                frames = guard.load_frames(source)
                verdicts = guard.scan_many(frames)
            except GuardAlignError as error:
                print_error(_located(source, error))
                failed = True
                continue
            unsafe = unsafe or any(verdict.flagged for verdict in verdicts)
            # Even if it is allowed, it could not be scanned, which this command is for.
            failed = failed or any(verdict.fault is not None for verdict in verdicts)
            for index, (image, verdict) in enumerate(zip(frames, verdicts, strict=True), start=1):
                if as_json:
                    print_json(_to_record(verdict, index, len(frames)))
                else:
                    out().print(describe(verdict))
                if folder is not None:
                    name = f"{number:04d}-{_stem(source)}"
                    name += f"-{index}.png" if len(frames) > 1 else ".png"
                    _save_overlay(image, verdict, folder / name)
    if failed:
        return CANNOT
    return UNSAFE if unsafe else ALLOWED


def expand(path: str, suffixes: Collection[str] = SUFFIXES) -> list[str]:
    """The images of a PATH argument: the file itself, or all images below a folder.

    Links to folders are not followed.

    Args:
        path: of a file or folder.
        suffixes: of the files to take from a folder, in lower case.

    Raises:
        ImageRejected: the path is empty, or a folder at any depth cannot be read or has no images;
            unscanned is not "all allowed".
    """
    if not path:
        raise ImageRejected(
            "The path is empty.",
            reason="not_found",
            remedy="Check the variable it came from; the current folder is a dot.",
        )
    if not os.path.isdir(path):
        return [path]
    found = sorted(
        str(Path(folder, name))
        for folder, _, names in os.walk(path, onerror=_unreadable)
        for name in names
        if Path(name).suffix.lower() in suffixes
    )
    if not found:
        raise ImageRejected(
            f"The folder {path} contains no image file.",
            reason="is_directory",
            source=path,
            remedy=f"Looked for {', '.join(sorted(suffixes))}.",
        )
    return found


def describe(verdict: Verdict) -> str:
    """One line of rich markup for a person."""
    style = STYLES[verdict.decision]
    if verdict.fault is not None:
        return f"[bold red]fault[/] {plain(verdict.source)}  not scanned: {plain(verdict.fault)}"
    sign = "<=" if verdict.distance <= verdict.threshold else ">"
    line = (
        f"[{style}]{verdict.decision:5}[/] {plain(verdict.source)}  {plain(verdict.category)} "
        f"{verdict.distance:.3f} {sign} {verdict.threshold:.3f}"
    )
    boxes = ", ".join(
        f"{plain(region.category)} at {region.box}"
        + (" (only reported)" if region.action == "flag" else "")
        for region in verdict.regions
    )
    return f"{line}  {boxes}" if boxes else line


def _unreadable(error: OSError) -> None:
    raise ImageRejected(
        f"The folder {error.filename} cannot be read ({error.strerror}).",
        reason="unreadable",
        source=str(error.filename),
        remedy="Check its permissions, or name the folders to scan.",
    )


def _save_overlay(image: CanonicalImage, verdict: Verdict, path: Path) -> None:
    try:
        draw_overlay(image, verdict).save(path)
    except OSError as error:
        raise ConfigError(
            f"Cannot write the overlay {path}: {error.strerror}.", remedy="Name another folder."
        ) from error


def _to_record(verdict: Verdict, number: int, count: int) -> dict[str, Any]:
    """The JSON line of an image; a frame or page has its number, and the file as its source."""
    record = verdict.to_json()
    file = verdict.source.removesuffix(page_label("", number))
    if file != verdict.source:
        return {**record, "source": file, "page": number}
    if count == 1:
        return record
    return {**record, "source": verdict.source.removesuffix(f"#{number}"), "frame": number}


def _located(source: str, error: GuardAlignError) -> str:
    message = str(error)
    return message if source in message or is_data_url(source) else f"{source}: {message}"


def _stem(source: str) -> str:
    # A number precedes it, so a long name may be cut to what file systems accept.
    return "image" if is_data_url(source) else Path(source).stem[:_LONGEST_STEM]
