"""The two networks that read: one finds lines, one spells them out. RapidOCR ships their weights.

Only files of the installed wheel are read, and only those whose digests are known: thresholds that
were fitted on what one network reads do not hold for another one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import math
import os
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from guardalign_middleware.errors import ConfigError, ModelLoadError
from guardalign_middleware.local_extra import install
from guardalign_middleware.provenance import Provenance, check_pins, note_files
from guardalign_middleware.words.sessions import cpu_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FINDER, SPELLER = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"
DIGESTS = {
    FINDER: "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    SPELLER: "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
}
"""SHA-256 of the weight files of RapidOCR 3.10."""

_REMEDY = install("words")


@dataclass(eq=False)
class Allowance:
    """What may still be spelled of one picture, in columns of strips; not for several threads.

    Attributes:
        left: of all strips.
        left_again: of those that are spelled once more, in another direction.
    """

    left: float = math.inf
    left_again: float = math.inf

    def takes(self, columns: int, *, again: bool) -> bool:
        """Whether a strip may be spelled; its columns are used up then."""
        if columns > self.left or (again and columns > self.left_again):
            return False
        self.left -= columns
        self.left_again -= columns * again
        return True


@dataclass(frozen=True, eq=False)
class ReadingModels:
    """The networks, loaded; threads may share them.

    Attributes:
        finder: `[1, 3, H, W]`, H and W multiples of 32 → `[1, 1, H, W]`, how probably a pixel lies
            in a line, 0 to 1.
        speller: `[N, 3, 48, W]` → `[N, T, C]`, softmax over the characters at T places.
        characters: C of them; the first stands for none.
        provenance: the files, and what digests they have.
        allowance: what may be spelled; without bounds in those that threads share.
    """

    finder: InferenceSession
    speller: InferenceSession
    characters: tuple[str, ...]
    provenance: Provenance
    allowance: Allowance = field(default_factory=Allowance)

    @classmethod
    def load(cls, threads: int) -> Self:
        """Load them from the installed wheel of RapidOCR, on the CPU.

        Args:
            threads: most of them that one pass of a network uses.

        Raises:
            ConfigError: the extra `words` is not installed, or a version without these weights.
            ModelLoadError: a weight file is not the known one, or cannot be loaded.
        """
        folder = _folder()
        paths = [folder / name for name in (FINDER, SPELLER)]
        if missing := [path.name for path in paths if not path.is_file()]:
            raise ConfigError(
                f"The installed rapidocr has no {' and no '.join(missing)}.",
                remedy="pip install 'rapidocr>=3.10,<3.11'",
            )
        version = importlib.metadata.version("rapidocr")
        provenance = Provenance("rapidocr", version, note_files(paths))
        check_pins(provenance.files, DIGESTS, f"rapidocr {version}")
        finder, speller = (_session(path, threads) for path in paths)
        characters = speller.get_modelmeta().custom_metadata_map["character"].split("\n")
        return cls(finder, speller, ("", *characters, " "), provenance)

    @property
    def fingerprint(self) -> str:
        """Differs for networks that may read differently."""
        digests = "".join(self.provenance.files.values())
        return hashlib.sha256(digests.encode()).hexdigest()[:16]

    def bounded(self, allowance: Allowance) -> Self:
        """The same networks, to spell no more than an allowance."""
        return replace(self, allowance=allowance)

    def find(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """How probably each pixel lies in a line; `[H, W, 3]` in -1 to 1 → `[H, W]` in 0 to 1."""
        batch = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        (found,) = self.finder.run(None, {self.finder.get_inputs()[0].name: batch})
        probability: NDArray[np.float32] = found[0, 0]
        return probability

    def spell(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """`[N, 3, 48, W]` in -1 to 1 → `[N, T, C]`, softmax over the characters at T places."""
        spelled: NDArray[np.float32]
        (spelled,) = self.speller.run(None, {self.speller.get_inputs()[0].name: batch})
        return spelled


@cache
def shared_models(threads: int) -> ReadingModels:
    """`ReadingModels.load`, once in a process."""
    return ReadingModels.load(threads)


if hasattr(os, "register_at_fork"):
    # A forked child has none of the threads of its parent's sessions.
    os.register_at_fork(after_in_child=shared_models.cache_clear)


def require_cv2() -> Any:
    """OpenCV, which RapidOCR brings along.

    Raises:
        ConfigError: the extra `words` is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise ConfigError("Reading words needs opencv.", remedy=_REMEDY) from error
    return cv2


def _folder() -> Path:
    # Finding the package runs none of its code, which could download and sets up logging.
    found = importlib.util.find_spec("rapidocr")
    if found is None or found.origin is None or importlib.util.find_spec("onnxruntime") is None:
        raise ConfigError("Reading words in pictures needs the extra `words`.", remedy=_REMEDY)
    return Path(found.origin).parent / "models"


def _session(path: Path, threads: int) -> InferenceSession:
    try:
        return cpu_session(str(path), threads)
    except RuntimeError as error:
        raise ModelLoadError(
            f"ONNX Runtime cannot load {path.name}.",
            remedy="Install rapidocr again, and look at the error attached to this one.",
        ) from error
