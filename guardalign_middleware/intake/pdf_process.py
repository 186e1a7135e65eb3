"""The process that draws PDF pages: its start, its limits and the talk with it.

PDFium may be used by one thread at a time, and a hostile file can keep it busy for years: a page of
2 KB whose forms draw forms that draw forms. So each file is drawn in a process of its own, which is
ended after `max_pdf_seconds`. The guard's process never loads PDFium.
"""

from __future__ import annotations

import json
import math
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from guardalign_middleware.bare_python import (
    MissingPackage,
    NoProcess,
    bare_command,
    bare_environment,
)
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import GuardError, ImageRejected
from guardalign_middleware.local_extra import install

PROCESSES = 2
"""How many files are drawn at the same time; further ones wait."""

_SLOTS = threading.BoundedSemaphore(PROCESSES)
_WORKER = Path(__file__).with_name("pdf_worker.py")
_LIBRARIES = ("pypdfium2", "pypdfium2_raw")
_LONGEST_LINE = 1 << 20
_REASONS = {
    "encrypted": (
        "is encrypted and opens only with a password.",
        "Save it without a password.",
    ),
    "corrupt": (
        "is damaged or incomplete.",
        "Check that the upload or download is complete, or export the PDF again.",
    ),
    "dynamic_form": (
        "is a dynamic XFA form, which only Adobe's own programs draw.",
        "Print it to a PDF file first.",
    ),
}


class PdfProcess:
    """One opened file; made by `open_process`."""

    def __init__(self, process: subprocess.Popen[bytes], source: str, policy: IntakePolicy) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input: IO[bytes] = process.stdin
        self._output: IO[bytes] = process.stdout
        self._source = source
        self._policy = policy

    def open(self, data: bytes) -> tuple[int, list[tuple[float, float]]]:
        """The number of pages, and their sizes in points unless they are too many.

        Raises:
            ImageRejected: `corrupt`, `encrypted`, `dynamic_form`, `too_complex` or
                `format_not_installed`.
        """
        self._send(len(data).to_bytes(8, "big"), data)
        line = self._output.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise self._too_complex()
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise _no_process("it is no Python") from error
        code = answer.get("error")
        if code == "import":
            raise not_installed(self._source, answer.get("detail", ""))
        if code is not None:
            raise _rejected(code, self._source)
        return int(answer["count"]), [(float(x), float(y)) for x, y in answer["sizes"]]

    def draw(self, sizes: Sequence[tuple[int, int]]) -> Iterator[bytes]:
        """The RGB pixels of the first pages, each drawn in the given width and height.

        Raises:
            ImageRejected: `corrupt` or `too_complex`.
        """
        order = {"background": self._policy.background, "sizes": list(sizes)}
        self._send(json.dumps(order).encode() + b"\n")
        for width, height in sizes:
            state = self._output.read(1)
            if state == b"\0":
                raise _rejected("corrupt", self._source)
            pixels = self._output.read(width * height * 3)
            if state != b"\1" or len(pixels) != width * height * 3:
                raise self._too_complex()
            yield pixels

    def _send(self, *pieces: bytes) -> None:
        try:
            for piece in pieces:
                self._input.write(piece)
            self._input.flush()
        except OSError:
            # It has ended; what it still said, or that it said nothing, is read next.
            return

    def _too_complex(self) -> ImageRejected:
        return ImageRejected(
            f"The pages of {self._source} could not be drawn within "
            f"{self._policy.max_pdf_seconds:g} seconds and a fixed amount of memory.",
            reason="too_complex",
            source=self._source,
            remedy="Pass the pages as pictures, or raise intake.max_pdf_seconds.",
        )


@contextmanager
def open_process(policy: IntakePolicy, source: str) -> Iterator[PdfProcess]:
    """Start a process that can draw one file; it has ended when the context is left.

    Raises:
        ImageRejected: `format_not_installed`, because pypdfium2 is missing.
        GuardError: no process can be started.
    """
    limits = [str(policy.max_pdf_pages), str(math.ceil(policy.max_pdf_seconds) + 1)]
    try:
        command = bare_command(str(_WORKER), limits, _LIBRARIES)
    except MissingPackage as error:
        raise not_installed(source) from error
    except NoProcess as error:
        raise _no_process(str(error)) from error
    with _SLOTS:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=bare_environment(),
            )
        except OSError as error:
            raise _no_process(str(error.strerror)) from error
        timer = threading.Timer(policy.max_pdf_seconds, process.kill)
        timer.daemon = True
        try:
            timer.start()
            yield PdfProcess(process, source, policy)
        finally:
            timer.cancel()
            process.kill()
            _end(process)


def not_installed(source: str, detail: str = "") -> ImageRejected:
    """The error where pypdfium2 is missing or does not load."""
    return ImageRejected(
        f"{source} is a PDF file, for which no reader is installed"
        f"{f' ({detail})' if detail else ''}.",
        reason="format_not_installed",
        source=source,
        remedy=f"Run {install('pdf')}.",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe is not None:
                pipe.close()
        except OSError:
            pass  # Unsent bytes to a process that has ended.
    process.wait()


def _rejected(code: Any, source: str) -> ImageRejected:
    reason = code if code in _REASONS else "corrupt"
    problem, remedy = _REASONS[reason]
    return ImageRejected(f"{source} {problem}", reason=reason, source=source, remedy=remedy)


def _no_process(why: str) -> GuardError:
    return GuardError(
        f"The process that draws PDF pages cannot be started: {why}.",
        stage="pdf",
        remedy="Run the guard in a Python that may start another one, or set intake.pdf to notice "
        "or refuse.",
    )
