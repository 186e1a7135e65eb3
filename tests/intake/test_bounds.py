"""Small files that want much: refused within a second and little memory, in a process of its own.

The process may use 1.5 GB of addresses and 30 seconds; a file that got through would end it.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.support.pictures import encode, png

_SCRIPT = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (1_500_000_000, 1_500_000_000))
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.intake import load_frames, load_image
load_image(open(sys.argv[1], "rb").read())  # what a picture needs at all
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sys.argv[2:]:
    data = open(name, "rb").read()
    before = max(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    all_frames = IntakePolicy(frames="scan_all")
    for load, policy in ((load_image, IntakePolicy()), (load_frames, all_frames)):
        started = time.process_time()
        try:
            load(data, policy)
            reason = "accepted"
        except ImageRejected as error:
            reason = error.reason
        seconds = time.process_time() - started
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(json.dumps([name.rpartition("/")[2], reason, seconds, grown / 1024]))
"""


def black_png(width: int, height: int) -> bytes:
    """A complete PNG with one bit a pixel: a thousandth of its size in memory."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    body = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    return png((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))


def png_with(kind: bytes, body: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 9 * 8)
    return png((b"IHDR", header), (kind, body), (b"IDAT", rows), (b"IEND", b""))


def wide_webp() -> bytes:
    """A header that declares the largest canvas there is, and no pixel."""
    canvas = struct.pack("<I", 0x10) + (16_382).to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", len(canvas)) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def huge_gif() -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0" * 6 + frame + b"\x3b"


def long_gif() -> bytes:
    """A hundred thousand frames of one pixel."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    start = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0" * 6
    return start + frame * 100_000 + b"\x3b"


def huge_tiff() -> bytes:
    """Deflated strips that promise 60,000 × 60,000 pixels."""
    fields = [(256, 60_000), (257, 60_000), (258, 8), (259, 8), (262, 1), (273, 8), (277, 1)]
    fields += [(278, 60_000), (279, 8)]
    directory = struct.pack("<H", len(fields))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    return b"II*\0" + struct.pack("<I", 16) + zlib.compress(b"") + directory + b"\0" * 4


FILES: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "88-megapixels.png": (lambda: black_png(9400, 9400), {"too_many_pixels"}),
    "thin.png": (lambda: encode(Image.new("1", (1, 20_000))), {"extreme_aspect"}),
    "flat.png": (lambda: encode(Image.new("1", (20_000, 1))), {"extreme_aspect"}),
    "wide.webp": (wide_webp, {"too_many_pixels", "corrupt"}),
    "huge.gif": (huge_gif, {"too_many_pixels"}),
    "long.gif": (long_gif, {"multiple_frames", "too_many_frames"}),
    "huge.tiff": (huge_tiff, {"too_many_pixels"}),
    "profile.png": (
        lambda: png_with(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * 200_000_000, 9)),
        {"accepted", "corrupt"},
    ),
    "text.png": (
        lambda: png_with(b"zTXt", b"x\0\0" + zlib.compress(b"\0" * 200_000_000, 9)),
        {"corrupt"},
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, float, float]]]:
    """For each file: the reason, CPU seconds, and by how many MB the process grew."""
    folder = tmp_path_factory.mktemp("bounds")
    plain = folder / "plain.png"
    plain.write_bytes(encode(Image.new("RGB", (64, 64))))
    for name, (make, _) in FILES.items():
        (folder / name).write_bytes(make())
        assert (folder / name).stat().st_size < 2_000_000
    paths = [str(path) for path in (plain, *(folder / name for name in FILES))]
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *paths],
        capture_output=True,
        text=True,
        env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[tuple[str, float, float]]] = {}
    for name, reason, seconds, megabytes in map(json.loads, done.stdout.splitlines()):
        found.setdefault(name, []).append((reason, seconds, megabytes))
    return found


@pytest.mark.parametrize("name", FILES)
def test_it_is_refused_quickly_and_small(
    outcomes: dict[str, list[tuple[str, float, float]]], name: str
) -> None:
    assert len(outcomes[name]) == 2
    for reason, seconds, megabytes in outcomes[name]:
        assert reason in FILES[name][1]
        assert seconds < 2
        assert megabytes < 100
