"""A small network that reads sentences and says whether they are orders to a model.

A sentence encoder that knows English (all-MiniLM-L6-v2; Reimers & Gurevych, arXiv 1908.10084;
Wang et al., arXiv 2002.10957), trained further on the wordings that the linear classifier learned
from. It finds orders in words that none of them has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from guardalign_middleware.errors import ConfigError, ModelLoadError
from guardalign_middleware.local_extra import install
from guardalign_middleware.words.plain import plain
from guardalign_middleware.words.sessions import cpu_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

NETWORK, PIECES, ROWS = "order_network.onnx", "order_pieces.json", "order_pieces.safetensors"
"""Names of the files: the network, what cuts texts into pieces, and what stands for each piece."""
_BATCH = 16


class OrderNetwork:
    """Texts → how much each is an order, as a logit; threads may share it.

    Args:
        session: `embedded` `[N, L, W]` float32 and `real` `[N, L]` bool → logits `[N]`.
        tokenizer: cuts plain text into pieces.
        rows: what stands for each piece, `[V, W]` int8.
        scales: by which its row is multiplied, `[V]` float32.
        fingerprint: digest of them all.
    """

    def __init__(
        self,
        session: InferenceSession,
        tokenizer: Tokenizer,
        rows: NDArray[np.int8],
        scales: NDArray[np.float32],
        *,
        fingerprint: str,
    ) -> None:
        if len(rows) != len(scales) or len(rows) != tokenizer.get_vocab_size():
            raise ValueError("Each piece needs a row and a scale.")
        self._session, self._tokenizer, self.fingerprint = session, tokenizer, fingerprint
        self._rows, self._scales = rows, scales

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The network of a folder.

        Raises:
            ConfigError: the extra `words` is not installed.
            ModelLoadError: a file is missing or damaged.
        """
        try:
            import onnxruntime  # noqa: F401 (a session needs it)
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ConfigError(
                "The classifier of orders needs the extra `words`.",
                remedy=install("words"),
            ) from error
        try:
            files = [(folder / name).read_bytes() for name in (NETWORK, PIECES, ROWS)]
        except OSError as error:
            raise _unreadable(folder, error) from error
        try:
            # One thread: a forked process has no others of its parent's.
            session = cpu_session(files[0], threads=1)
            tokenizer = Tokenizer.from_buffer(files[1])
            table = load(files[2])
            digest = hashlib.sha256(b"".join(files)).hexdigest()
            return cls(session, tokenizer, table["rows"], table["scales"], fingerprint=digest)
        except Exception as error:  # the first two libraries' errors have no class of their own
            raise _unreadable(folder, error) from error

    @property
    def words(self) -> tuple[str, ...]:
        """The pieces that are whole words, the commonest first, as the encoder lists them."""
        pieces = self._tokenizer.get_vocab()
        return tuple(piece for piece in sorted(pieces, key=pieces.__getitem__) if piece.isalpha())

    def logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """How much each text is an order, `[N]`: that of its window that is most like one.

        Raises:
            ValueError: the network gave NaN or infinity.
        """
        windows, owners = [], []
        for owner, text in enumerate(texts):
            # One by one: threads of `encode_batch` do not survive a fork.
            found = self._tokenizer.encode(plain(text))
            # A long text is cut into windows that overlap by half.
            for window in (found, *found.overflowing):
                windows.append(window.ids)
                owners.append(owner)
        logits = np.full(len(texts), -np.inf)
        # Texts of like length stand in a batch, so that little of it is empty.
        order = sorted(range(len(windows)), key=lambda window: len(windows[window]))
        for first in range(0, len(order), _BATCH):
            batch = order[first : first + _BATCH]
            said = self._read([windows[window] for window in batch])
            np.maximum.at(logits, [owners[window] for window in batch], said)
        return logits

    def _read(self, windows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        longest = max(map(len, windows))
        ids = np.zeros((len(windows), longest), dtype=np.int64)
        real = np.zeros(ids.shape, dtype=bool)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            real[row, : len(window)] = True
        embedded = self._rows[ids] * self._scales[ids][:, :, None]
        said: NDArray[np.float32]
        (said,) = self._session.run(None, {"embedded": embedded, "real": real})
        if not np.isfinite(said).all():
            # The greatest of several would not show it.
            raise ValueError("The network that reads orders gave NaN or infinity.")
        return said


@cache
def shared_network(folder: Path) -> OrderNetwork:
    """`OrderNetwork.load`, once in a process."""
    return OrderNetwork.load(folder)


def _unreadable(folder: Path, error: Exception) -> ModelLoadError:
    return ModelLoadError(
        f"Cannot read the classifier of orders in {folder}: {error}",
        remedy="Install the package again, or run make train-words.",
    )
