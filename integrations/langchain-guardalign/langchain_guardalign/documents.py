"""Clean the images in the metadata and text of documents, at ingestion or after retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.documents import BaseDocumentTransformer, Document

from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.handles import guard_handle
from guardalign_middleware.handling import OnUnsafe, check_known, check_option, named_options
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.scan_threads import in_scan_thread
from langchain_guardalign.cleaner import Cleaned, ImageCleaner
from langchain_guardalign.document_records import with_flat_records
from langchain_guardalign.message_walk import find_images

if TYPE_CHECKING:
    from guardalign_middleware.image_guard import ImageGuard

ON_UNSAFE: tuple[OnUnsafe, ...] = ("mask", "notice", "drop", "flag")
"""What the guard of documents can do about an unsafe image."""

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

    Images are found anywhere in the metadata, as base64, data URL, bytes, PIL picture or image
    block. In `page_content` and other text, only a complete picture in base64 counts, and only an
    unsafe one is replaced; all else is words and stays to the letter. The verdicts are in the
    metadata under flat keys, which vector stores accept and filter by: `guardalign_decision`,
    `guardalign_category`, `guardalign_blocked`, `guardalign_regions` as JSON text, and so on.
    Documents without images are not changed; documents keep their id and order.

    Args:
        source: a preset or a loaded guard, as below, given by position.
        preset: name of a shipped preset, or path of a .yaml file. It needs no runner.
        guard: a loaded `ImageGuard`, instead of `preset`. There is no default.
        on_unsafe: "mask" keeps the cleaned picture, or the notice where nothing may be shown;
            "notice" keeps the notice for every unsafe image; "drop" leaves out documents with an
            unsafe image, or with one that the intake policy does not accept; "flag" changes nothing
            and only records the verdict.
        image_keys: metadata keys that must hold images; anything else under them, such as a URL, is
            refused.
        notice: the text in place of an unsafe image.
        cache_size: number of scanned pictures to remember.

    Raises:
        ConfigError: neither or both of `preset` and `guard`, an unknown preset, an option that does
            not exist, or any other `on_unsafe`.
    """

    def __init__(
        self,
        source: str | Path | ImageGuard | None = None,
        /,
        *,
        preset: str | Path | None = None,
        guard: ImageGuard | None = None,
        on_unsafe: OnUnsafe = "mask",
        image_keys: Sequence[str] = IMAGE_KEYS,
        notice: str = UNSAFE,
        cache_size: int = 256,
        **unknown: Any,
    ) -> None:
        owner = "ImageGuardDocumentTransformer"
        check_known(owner, unknown, named_options(ImageGuardDocumentTransformer))
        check_option("on_unsafe", on_unsafe, ON_UNSAFE)
        handle = guard_handle(preset, guard, source, owner=owner)
        self._cleaner = ImageCleaner(handle, on_unsafe, notice, cache_size)
        self._image_keys = tuple(image_keys)

    def __call__(self, documents: Sequence[Document]) -> list[Document]:
        """`transform_documents`, for use as a step: `retriever | transformer`."""
        return self.transform_documents(documents)

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:
        """Clean all documents with one scan; the originals are not changed.

        Raises:
            ImageRejected: an image that the intake policy does not accept, or a value under one of
                `image_keys` that holds none.
            MessageError: a block that names two images.
            GuardError: a fault of the guard; no document is returned.
        """
        values = [self._value(document, index) for index, document in enumerate(documents)]
        results = []
        all_cleaned = self._cleaner.clean_many(values, "documents")
        for document, cleaned in zip(documents, all_cleaned, strict=True):
            if isinstance(cleaned, Exception):
                raise cleaned
            unsafe = any(record["decision"] != "allow" for record in cleaned.records)
            if not (unsafe and self._cleaner.on_unsafe == "drop"):
                results.append(_with_verdicts(document, cleaned))
        return results

    async def atransform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> list[Document]:
        """`transform_documents` in a thread, so that the event loop stays free."""
        return await in_scan_thread(self.transform_documents, documents)

    def _value(self, document: Document, index: int) -> dict[str, Any]:
        for key in self._image_keys:
            _require_images(document.metadata.get(key), f"documents[{index}].metadata[{key!r}]")
        return {"page_content": document.page_content, "metadata": document.metadata}


def _require_images(value: object, place: str) -> None:
    """Refuse text or bytes that are no complete image."""
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _require_images(item, f"{place}[{index}]")
    elif isinstance(value, str | bytes) and value:
        if any(image.complete for image in find_images(value, place)):
            return
        raise ImageRejected(
            f"{place} holds no image that can be checked.",
            reason="unsupported_type",
            source=place,
            remedy="Keep the image's bytes there, or leave the key out of image_keys.",
        )


def _with_verdicts(document: Document, cleaned: Cleaned) -> Document:
    content = cleaned.value["page_content"]
    metadata = with_flat_records(cleaned.value["metadata"], cleaned.records)
    if content == document.page_content and metadata == document.metadata:
        return document
    return document.model_copy(update={"page_content": content, "metadata": metadata})
