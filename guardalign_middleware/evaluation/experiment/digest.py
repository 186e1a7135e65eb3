"""The digest of a suite's items, by which an experiment knows them again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from guardalign_middleware.evaluation.suites import Item


def items_digest(items: Sequence[Item]) -> str:
    """SHA-256 over ids, prompts, targets and the bytes of all pictures, in their order.

    Raises:
        OSError: a picture is gone since the suite was loaded.
    """
    whole = hashlib.sha256()
    for item in items:
        texts = (item.id, item.prompt, item.target or "")
        pictures = [hashlib.sha256(data).digest() for data in item.read_images()]
        for part in (*(text.encode() for text in texts), *pictures):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()
