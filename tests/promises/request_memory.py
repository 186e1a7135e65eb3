"""The memory of one message, in a process of its own: `python -m tests.promises.request_memory`.

Without arguments, messages at the caps of a request are measured; the exit status is 1 if one of
them takes more than `MEGABYTES`.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import subprocess
import sys
from typing import Any

MEGABYTES = 1500

_MODULE = "tests.promises.request_memory"

_AT_THE_CAPS = (
    ("chain", 10, 6320, 6320, 2, "png"),  # all the pixels, in pictures of the most pixels
    ("front", 10, 6320, 6320, 1_900_000, "png"),
    ("front", 256, 1250, 1248, 10, "png"),  # all the pictures
    # The readers that take most.
    ("front", 10, 6320, 6320, 10, "jpeg"),
    ("front", 10, 6320, 6320, 10, "webp"),
)
_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 1},
    "jpeg": {"progressive": True, "subsampling": 0},
    "webp": {"method": 0},
}


def measure(
    way: str, count: int, width: int, height: int, words: int, kind: str = "png"
) -> dict[str, Any]:
    """Ask once, in another process.

    Args:
        way: "chain" answers with the preset `mini`, "front" only guards, for another model.
        count: pictures, all different.
        width: of each, in pixels.
        height: of each, in pixels.
        words: of the question.
        kind: of the picture files: "png", "jpeg" (progressive) or "webp".

    Returns:
        The number of `verdicts`, and the `peak` of the resident memory in megabytes.
    """
    command = [sys.executable, "-m", _MODULE, way, *map(str, (count, width, height, words)), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _ask(way: str, count: int, width: int, height: int, words: int, kind: str) -> int:
    from guardalign_middleware import GuardAlign

    content = [
        *({"type": "image", "image": file} for file in _made(count, width, height, kind)),
        {"type": "text", "text": "word " * words},
    ]
    if way == "chain":
        message = {"role": "user", "content": content}
        return len(GuardAlign.from_preset("mini").invoke([message]).verdicts)
    from langchain_guardalign import ImageGuardRunnable

    (cleaned,) = ImageGuardRunnable(preset="mini").invoke([("user", content)])
    return len(cleaned.response_metadata["guardalign"]["verdicts"])


def _file(width: int, height: int, seed: int, kind: str) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.new("RGB", (width, height), (seed, 30, 200))
    picture.save(buffer, kind.upper(), **_OPTIONS[kind])
    return buffer.getvalue()


def _made(count: int, width: int, height: int, kind: str) -> list[bytes]:
    """The files, made in another process, whose encoder would count as ours."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.starmap(_file, [(width, height, seed, kind) for seed in range(count)])


def _peak() -> float:
    with open("/proc/self/status", encoding="ascii") as status:
        (line,) = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def _main(arguments: list[str]) -> int:
    if arguments:
        way, *numbers, kind = arguments
        count, width, height, words = map(int, numbers)
        facts = {"verdicts": _ask(way, count, width, height, words, kind), "peak": _peak()}
        sys.stdout.write(json.dumps(facts) + "\n")
        return 0
    most = 0.0
    for case in _AT_THE_CAPS:
        facts = measure(*case)
        most = max(most, facts["peak"])
        sys.stdout.write(f"{' '.join(map(str, case))}: {facts}\n")
        sys.stdout.flush()
    return int(most > MEGABYTES)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
