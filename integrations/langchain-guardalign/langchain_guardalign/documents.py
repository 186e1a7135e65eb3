"""Retrieved documents without unsafe images: in their metadata and in their text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.documents import BaseDocumentTransformer, Document

from guardalign_middleware.errors import ConfigError, ImageRejected
from guardalign_middleware.handles import LazyGuard
from langchain_guardalign.blocks import names_an_image
from langchain_guardalign.cleaner import NOTICE, Cleaned, ImageCleaner, Strategy
from langchain_guardalign.message_walk import METADATA_KEY, find_images, summary

if TYPE_CHECKING:
    from guardalign_middleware.image_guard import ImageGuard

Policy = Literal["mask", "drop", "flag"]
IMAGE_KEYS = (
    "b64_json",
    "base64",
    "image",
    "image_b64",
    "image_base64",
    "image_bytes",
    "image_data",
    "images",
    "thumbnail",
)


class ImageGuardDocumentTransformer(BaseDocumentTransformer):
    """Cleans the images that documents carry, at ingestion or after retrieval.

    ```python
    from langchain_guardalign import ImageGuardDocumentTransformer

    retriever = vector_store.as_retriever() | ImageGuardDocumentTransformer(preset="mini")
    ```

    Images are found anywhere in the metadata and in `page_content`, as base64, data URL, bytes, PIL
    picture or image block, also when the text is the JSON of a block. The verdicts are in
    `metadata["guardalign"]`, without pixels. Documents without images are not touched, and those
    that come back keep id and order.

    Args:
        preset: a shipped preset by name, or the path of a .yaml file; it needs no runner.
        guard: an `ImageGuard` that exists already; then `preset` is not looked at.
        policy: "mask" keeps the cleaned picture, or the notice where nothing may be shown; "drop"
            leaves out documents with an unsafe image, or with one that cannot be read; "flag"
            changes nothing and only records the verdict.
        image_keys: metadata that must be images: what cannot be read there, a URL for instance, is
            refused and not passed on.
        notice: the text that stands where an image was removed.
        cache_size: how many scanned pictures are remembered.

    Raises:
        ConfigError: an unknown preset or policy.
    """

    def __init__(
        self,
        preset: str | Path = "mini",
        *,
        guard: ImageGuard | None = None,
        policy: Policy = "mask",
        image_keys: Sequence[str] = IMAGE_KEYS,
        notice: str = NOTICE,
        cache_size: int = 256,
    ) -> None:
        if policy not in _STRATEGY:
            raise ConfigError(
                f"There is no policy {policy!r}.", remedy=f"Use one of: {', '.join(_STRATEGY)}."
            )
        lazy = LazyGuard(preset) if guard is None else LazyGuard(guard=guard)
        self._cleaner = ImageCleaner(lazy, _STRATEGY[policy], notice, cache_size)
        self._policy = policy
        self._image_keys = tuple(image_keys)

    def __call__(self, documents: Sequence[Document]) -> list[Document]:
        """`transform_documents`, so that `retriever | transformer` is a chain."""
        return self.transform_documents(documents)

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:
        """Clean all documents with one scan; the originals are not changed.

        Raises:
            ImageRejected: an image that the intake policy does not accept, or no image under one
                of `image_keys`.
            MessageError: a block that names two images.
            GuardError: a fault of the guard; no document is passed on.
        """
        opened = [self._open(document, index) for index, document in enumerate(documents)]
        results = []
        for document, value, cleaned in zip(
            documents, opened, self._cleaner.clean_many(opened, "documents"), strict=True
        ):
            if isinstance(cleaned, Exception):
                raise cleaned
            if self._policy == "drop" and any(r["decision"] != "allow" for r in cleaned.records):
                continue
            results.append(_closed(document, value, cleaned))
        return results

    async def atransform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> list[Document]:
        """`transform_documents` in a thread, so that nothing blocks the event loop."""
        return await asyncio.to_thread(self.transform_documents, documents)

    def _open(self, document: Document, index: int) -> dict[str, Any]:
        for key in self._image_keys:
            _require_images(document.metadata.get(key), f"documents[{index}].metadata[{key!r}]")
        return {
            "page_content": _block_or_text(document.page_content),
            "metadata": document.metadata,
        }


_STRATEGY: dict[str, Strategy] = {"mask": "mask", "drop": "replace", "flag": "flag"}


def _require_images(value: object, place: str) -> None:
    """Refuse what stands where an image should be and is none that can be read."""
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _require_images(item, f"{place}[{index}]")
    elif isinstance(value, str | bytes) and value and not find_images(value, place):
        raise ImageRejected(
            f"{place} holds no image that can be checked.",
            reason="unsupported_type",
            source=place,
            remedy="Keep the image's bytes there, or leave the key out of image_keys.",
        )


def _block_or_text(text: str) -> Any:
    """The block whose JSON a text is, because then the text is an image; else the text."""
    if text.lstrip()[:1] not in {"{", "["}:
        return text
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return text
    blocks = data if isinstance(data, list) else [data]
    named = any(
        isinstance(block, dict) and block.get("type") and names_an_image(block) for block in blocks
    )
    return data if named else text


def _closed(document: Document, value: Mapping[str, Any], cleaned: Cleaned) -> Document:
    content, metadata = cleaned.value["page_content"], cleaned.value["metadata"]
    if not cleaned.records or (cleaned.value is value and METADATA_KEY in metadata):
        return document
    text = document.page_content
    if content is not value["page_content"]:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    metadata = {**metadata, METADATA_KEY: summary(cleaned.records)}
    return document.model_copy(update={"page_content": text, "metadata": metadata})
