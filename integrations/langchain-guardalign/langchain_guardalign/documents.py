"""Clean the images in the metadata and text of documents, at ingestion or after retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.documents import BaseDocumentTransformer, Document

from guardalign_middleware import notices
from guardalign_middleware.cleaning.records import refused_record, unscanned_record
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.handles import guard_handle
from guardalign_middleware.handling import (
    ON_REFUSED,
    OnRefused,
    OnUnsafe,
    check_known,
    check_option,
    named_options,
)
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.types import PASSES
from langchain_guardalign.cleaner import MessageCleaner
from langchain_guardalign.document_pdfs import pdfs_in, without_pdfs
from langchain_guardalign.document_records import with_flat_records
from langchain_guardalign.message_walk import find_images

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard

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
    Documents without images are not changed; documents keep their id and order. PDF files in the
    metadata, in content blocks or as a `Blob`, become what the preset's `intake.pdf` says: a text,
    or a list of the cleaned pictures of the pages.

    Args:
        source: a preset or a loaded guard, as below, given by position.
        preset: name of a shipped preset, or path of a .yaml file. It needs no runner.
        guard: a loaded `ImageGuard`, instead of `preset`. There is no default.
        on_unsafe: "mask" keeps the cleaned picture, or the notice where nothing may be shown;
            "notice" keeps the notice for every unsafe image; "drop" leaves out documents with an
            unsafe image, or with one that cannot be checked; "flag" changes nothing
            and only records the verdict.
        on_refused: "notice" puts a text that names the cause in place of what cannot be checked;
            "raise" raises the first such error.
        image_keys: metadata keys that must hold images; anything else under them, such as a URL, is
            taken for one that cannot be checked.
        notice: the text in place of an unsafe image. After retrieval, give that of the ingestion:
            under an image key, any other text is taken for an image that cannot be checked.
        cache_size: number of scanned pictures to remember.
        allow_unscanned: whether films and files of unknown kinds in content blocks pass unread, and
            PDF files that the policy refuses; the verdicts count them as `unscanned`.

    Raises:
        ConfigError: neither or both of `preset` and `guard`, an unknown preset, an option that does
            not exist, or any other `on_unsafe`.
    """

    def __init__(
        self,
        source: str | Path | AnyGuard | None = None,
        /,
        *,
        preset: str | Path | None = None,
        guard: AnyGuard | None = None,
        on_unsafe: OnUnsafe = "mask",
        on_refused: OnRefused = "notice",
        image_keys: Sequence[str] = IMAGE_KEYS,
        notice: str = UNSAFE,
        cache_size: int = 256,
        allow_unscanned: bool = False,
        **unknown: Any,
    ) -> None:
        owner = "ImageGuardDocumentTransformer"
        check_known(owner, unknown, named_options(ImageGuardDocumentTransformer))
        check_option("on_unsafe", on_unsafe, ON_UNSAFE)
        check_option("on_refused", on_refused, ON_REFUSED)
        handle = guard_handle(preset, guard, source, owner=owner)
        self._cleaner = MessageCleaner(handle, on_unsafe, notice, cache_size, allow_unscanned)
        self._on_refused = on_refused
        self._image_keys = tuple(image_keys)

    def __call__(self, documents: Sequence[Document]) -> list[Document]:
        """`transform_documents`, for use as a step: `retriever | transformer`."""
        return self.transform_documents(documents)

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:
        """Clean all documents with one scan; the originals are not changed.

        Raises:
            ImageRejected, MessageError: with `on_refused="raise"`, the first image that cannot be
                checked.
            GuardError: a fault of the guard; no document is returned.
        """
        prepared = [self._prepare(document, index) for index, document in enumerate(documents)]
        cleaned = self._cleaner.clean_many([each.value for each in prepared], "documents")
        results = []
        for document, each, new in zip(documents, prepared, cleaned, strict=True):
            errors = [*each.refused, *(item.refused for item in new.outcomes if item.refused)]
            if errors and self._on_refused == "raise":
                raise errors[0]
            records = [*map(refused_record, each.refused), *each.unscanned, *new.records]
            unsafe = any(record["decision"] not in PASSES for record in records)
            if not (unsafe and self._cleaner.on_unsafe == "drop"):
                results.append(_with_verdicts(document, new.value, records))
        return results

    async def atransform_documents(
        self, documents: Sequence[Document], **kwargs: Any
    ) -> list[Document]:
        """`transform_documents` in a thread, so that the event loop stays free."""
        return await in_scan_thread(self.transform_documents, documents)

    def _prepare(self, document: Document, index: int) -> _Prepared:
        """Take out whatever is under an image key and is not an image."""
        metadata, refused = dict(document.metadata), list[ImageRejected]()
        for key in self._image_keys:
            place = f"documents[{index}].metadata[{key!r}]"
            kept = self._only_images(metadata.get(key), place, refused)
            if kept is not metadata.get(key):
                metadata[key] = kept
        if not refused:
            metadata = document.metadata
        policy = self._cleaner.guard.config.intake
        place, unscanned = f"documents[{index}].metadata", list[Mapping[str, Any]]()
        if self._cleaner.allow_unscanned and policy.pdf == "refuse":
            unscanned += [unscanned_record("pdf") for _ in pdfs_in(metadata)]
        else:
            metadata = without_pdfs(metadata, place, policy, refused)
        value = {"page_content": document.page_content, "metadata": metadata}
        return _Prepared(value, refused, unscanned)

    def _only_images(self, value: Any, place: str, refused: list[ImageRejected]) -> Any:
        """The value with a text in place of every text and bytes that are no complete image."""
        if isinstance(value, list | tuple):
            kept = [
                self._only_images(item, f"{place}[{index}]", refused)
                for index, item in enumerate(value)
            ]
            same = all(new is old for new, old in zip(kept, value, strict=True))
            return value if same else kept
        if not isinstance(value, str | bytes) or not value:
            return value
        text = value.decode(errors="replace") if isinstance(value, bytes) else value
        if notices.is_notice(text, self._cleaner.notice):
            return value
        if any(image.complete for image in find_images(value, place)):
            return value
        error = ImageRejected(
            f"{place} holds no image that can be checked.",
            reason="unsupported_type",
            source=place,
            remedy="Keep the image's bytes there, or leave the key out of image_keys.",
        )
        refused.append(error)
        return notices.refused(error)


@dataclass(frozen=True)
class _Prepared:
    """A document as the cleaner takes it, what was taken out of it, and what stays unread."""

    value: dict[str, Any]
    refused: list[ImageRejected]
    unscanned: list[Mapping[str, Any]]


def _with_verdicts(
    document: Document, value: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> Document:
    content = value["page_content"]
    metadata = with_flat_records(value["metadata"], records)
    if content == document.page_content and metadata == document.metadata:
        return document
    return document.model_copy(update={"page_content": content, "metadata": metadata})
