"""Pictures in tables and archives."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from guardalign_middleware.testing import picture, png

PLAIN, UNSAFE = png(picture()), png(picture(red=True))


def tar(path: Path, members: Sequence[tuple[str, bytes]], mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = {one.name: archive.extractfile(one) for one in archive}
        return {name: file.read() for name, file in files.items() if file is not None}


def table(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), path, row_group_size=2)
    return path


def is_red(data: bytes) -> bool:
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    return bool(np.any((pixels[..., 0] > 200) & (pixels[..., 1] < 50)))
