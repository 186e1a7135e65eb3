from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from guardalign_middleware.errors import ConfigError, DetectionError, ImageRejected
from guardalign_middleware.notices import UNSAFE
from guardalign_middleware.testing import (
    BOX,
    all_red,
    base64_png,
    data_url,
    picture,
    png,
    red_guard,
)
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import ImageGuardDocumentTransformer

Pictures = Callable[[object], list[CanonicalImage]]
Forms = Callable[[CanonicalImage], dict[str, Any]]

PLAIN, RED, ALL_RED = picture(), picture(red=True), all_red()


def transformer(**options: Any) -> ImageGuardDocumentTransformer:
    return ImageGuardDocumentTransformer(guard=red_guard(), **options)


def is_masked(image: CanonicalImage) -> bool:
    x0, y0, x1, y1 = BOX
    return bool((image.pixels[y0:y1, x0:x1] == 127).all())


def ways(image: CanonicalImage) -> dict[str, Document]:
    """A document for each way to hold an image."""
    block = {"type": "image_url", "image_url": {"url": data_url(image)}}
    named = {"type": "image", "base64": base64_png(image), "mime_type": "image/png"}
    return {
        "base64": Document("a page", metadata={"image_base64": base64_png(image)}),
        "data url": Document("a page", metadata={"image": data_url(image), "page": 3}),
        "bytes": Document("a page", metadata={"image_bytes": png(image)}),
        "pil": Document("a page", metadata={"thumbnail": image.to_pil()}),
        "list": Document("a page", metadata={"images": [base64_png(image)]}),
        "block": Document("a page", metadata={"image": named}),
        "other key": Document("a page", metadata={"original": {"figure": data_url(image)}}),
        "content data url": Document(data_url(image)),
        "content base64": Document(base64_png(image)),
        "content block": Document(json.dumps(block)),
        "content blocks": Document(json.dumps([{"type": "text", "text": "a"}, named])),
        "markdown": Document(f"# Title\n![figure]({data_url(image)})\nwords"),
    }


WAYS = tuple(ways(PLAIN))


@pytest.mark.parametrize("way", WAYS)
def test_an_image_is_masked_wherever_it_is(pictures: Pictures, way: str) -> None:
    document = ways(RED)[way]
    document.id = "d1"
    before = repr(document)
    (new,) = transformer().transform_documents([document])
    (image,) = pictures(new)
    assert is_masked(image)
    assert (new.id, type(new)) == ("d1", Document)
    assert new.metadata["guardalign_masked"] == 1
    evidence = {k: v for k, v in new.metadata.items() if k.startswith("guardalign_")}
    assert len(json.dumps(evidence)) < 3000
    assert {k: v for k, v in new.metadata.items() if k == "page"} == (
        {"page": 3} if way == "data url" else {}
    )
    assert repr(document) == before
    if way.startswith("content block"):
        assert json.loads(new.page_content)
    assert transformer()([new])[0].page_content == new.page_content


@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_masked_becomes_a_notice(pictures: Pictures, way: str) -> None:
    (new,) = transformer().transform_documents([ways(ALL_RED)[way]])
    assert pictures(new) == []
    assert UNSAFE in repr(new)
    assert new.metadata["guardalign_blocked"] == 1


@pytest.mark.parametrize("way", WAYS)
def test_drop_notice_and_flag(pictures: Pictures, way: str) -> None:
    documents = [ways(image)[way] for image in (PLAIN, RED, ALL_RED)]
    noted = transformer(on_unsafe="notice").transform_documents(documents)
    assert [len(pictures(document)) for document in noted] == [1, 0, 0]
    assert [UNSAFE in repr(document) for document in noted] == [False, True, True]
    (kept,) = transformer(on_unsafe="drop").transform_documents(documents)
    assert pictures(kept)[0].sha256 == PLAIN.sha256
    flagged = transformer(on_unsafe="flag").transform_documents(documents)
    for new, old in zip(flagged, documents, strict=True):
        metadata = {k: v for k, v in new.metadata.items() if not k.startswith("guardalign_")}
        assert (new.page_content, metadata) == (old.page_content, old.metadata)
    decisions = [d.metadata["guardalign_decision"] for d in flagged]
    assert decisions[0] == "allow"
    assert "allow" not in decisions[1:]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(WAYS), st.booleans()), max_size=5))
def test_order_and_number_stay(pictures: Pictures, drawn: list[tuple[str, bool]]) -> None:
    documents = [Document("words", id="0", metadata={"source": "https://example.org/a.png"})]
    for number, (way, red) in enumerate(drawn, 1):
        document = ways(RED if red else PLAIN)[way]
        document.id = str(number)
        documents.append(document)
    new = SHARED.transform_documents(documents)
    assert [d.id for d in new] == [d.id for d in documents]
    assert new[0] is documents[0]
    for (_, red), document in zip(drawn, new[1:], strict=True):
        (image,) = pictures(document)
        assert is_masked(image) if red else image.sha256 == PLAIN.sha256


SHARED = transformer()


def test_equal_images_of_all_documents_are_scanned_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard = red_guard()
    counts: list[int] = []
    scan_many = guard.detector.scan_many

    def counting(images: list[CanonicalImage]) -> Any:
        counts.append(len(images))
        return scan_many(images)

    monkeypatch.setattr(guard.detector, "scan_many", counting)
    cleaner = ImageGuardDocumentTransformer(guard=guard)
    cleaner.transform_documents([*ways(PLAIN).values(), *ways(RED).values()])
    cleaner.transform_documents(list(ways(RED).values()))
    # Each image in its turn; the last scan confirms that masking the red one was enough.
    assert counts == [1, 1, 1]


@pytest.mark.parametrize(
    "document",
    [
        Document("a", metadata={"image": "https://example.org/a.png"}),
        Document("a", metadata={"image_bytes": b"%PDF-1.7"}),
        Document("a", metadata={"images": [base64_png(PLAIN), "/data/a.png"]}),
        Document("a", metadata={"image": base64_png(RED)[:120]}),
        Document("a", metadata={"image_bytes": png(RED)[:90]}),
    ],
)
def test_what_cannot_be_checked_concerns_its_own_document(document: Document) -> None:
    before, batch = repr(document), [Document("words"), document, ways(PLAIN)["base64"]]
    for on_unsafe in ("mask", "notice", "flag"):
        words, new, safe = transformer(on_unsafe=on_unsafe).transform_documents(batch)
        assert words is batch[0]
        assert safe.metadata["image_base64"]
        assert "not shown" in repr(new.metadata)
        evidence = json.loads(new.metadata["guardalign_verdicts"])
        (record,) = [each for each in evidence if each["action"] == "refused"]
        assert record["decision"] == "block"
        assert record["reason"] in {"unsupported_type", "corrupt", "too_many_bytes"}
        assert new.metadata["guardalign_decision"] == "block"
        (again,) = transformer(on_unsafe=on_unsafe).transform_documents([new])
        assert again == new
    kept = transformer(on_unsafe="drop").transform_documents(batch)
    assert [each.page_content for each in kept] == ["words", "a page"]
    with pytest.raises(ImageRejected) as caught:
        transformer(on_refused="raise").transform_documents(batch)
    assert caught.value.remedy
    assert repr(document) == before


@pytest.mark.parametrize("notice", [UNSAFE, "[hidden by policy]"])
@pytest.mark.parametrize("way", WAYS)
def test_a_notice_is_no_image_at_the_second_pass(way: str, notice: str) -> None:
    options: dict[str, Any] = {"on_unsafe": "notice", "on_refused": "raise", "notice": notice}
    (noted,) = transformer(**options).transform_documents([ways(RED)[way]])
    assert notice in repr(noted)
    for on_unsafe in ("mask", "notice", "flag", "drop"):
        (again,) = transformer(**{**options, "on_unsafe": on_unsafe}).transform_documents([noted])
        assert again == noted


def test_a_file_that_is_not_shown_is_no_image_at_the_second_pass() -> None:
    file = {"type": "file", "mime_type": "application/pdf", "base64": "JVBERi0xLjcKeHh4"}
    (noted,) = transformer().transform_documents([Document("a", metadata={"image": file})])
    assert noted.metadata["image"] == "[file not shown: it is a PDF file, which is not read]"
    assert transformer(on_refused="raise").transform_documents([noted]) == [noted]


def test_another_text_than_the_notice_is_refused() -> None:
    for text in ("[hidden by someone else]", f"{UNSAFE} https://example.org/a.png"):
        document = Document("a", metadata={"image": text})
        with pytest.raises(ImageRejected):
            transformer(notice="[hidden]", on_refused="raise").transform_documents([document])


def test_the_keys_are_a_setting(pictures: Pictures) -> None:
    document = Document("a", metadata={"image": "figures/a.png", "scan": "figures/b.png"})
    assert transformer(image_keys=()).transform_documents([document])[0] is document
    strict = transformer(image_keys=["scan"], on_refused="raise")
    with pytest.raises(ImageRejected, match=r"documents\[0\]\.metadata\['scan'\]"):
        strict.transform_documents([document])
    (new,) = transformer(image_keys=["scan"]).transform_documents([document])
    assert new.metadata["image"] == "figures/a.png"
    assert "figures/b.png" not in repr(new)


def test_wrong_options_are_refused() -> None:
    for wrong in ("hide", "block"):
        with pytest.raises(ConfigError, match="one of mask, notice, drop, flag"):
            transformer(on_unsafe=wrong)
    with pytest.raises(ConfigError, match="on_refused should be one of raise, notice"):
        transformer(on_refused="drop")
    with pytest.raises(ConfigError, match="Exactly one of preset and guard"):
        transformer(preset="mini")


def test_after_a_fault_no_document_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    guard = red_guard()

    def fail(images: Any) -> Any:
        raise DetectionError("The distance is NaN.", stage="transport")

    monkeypatch.setattr(guard.detector, "scan_many", fail)
    with pytest.raises(DetectionError):
        ImageGuardDocumentTransformer(guard=guard)(list(ways(PLAIN).values()))


class Shelf(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return self.documents


async def test_it_is_a_step_after_a_retriever(pictures: Pictures) -> None:
    chain = Shelf(documents=[ways(RED)["base64"], Document("words")]) | transformer()
    for found in (chain.invoke("a"), await chain.ainvoke("a"), chain.batch(["a"])[0]):
        assert len(found) == 2
        assert is_masked(pictures(found)[0])


async def test_async_does_not_block_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    guard, free = red_guard(), threading.Event()
    scan_many = guard.detector.scan_many

    def waiting(images: Any) -> Any:
        # Only a free loop can set this.
        assert free.wait(300)
        return scan_many(images)

    monkeypatch.setattr(guard.detector, "scan_many", waiting)
    cleaner = ImageGuardDocumentTransformer(guard=guard)
    documents = list(ways(RED).values())
    for call in (cleaner.atransform_documents, (Shelf(documents=documents) | cleaner).ainvoke):
        free.clear()
        task = asyncio.ensure_future(
            call(documents if call == cleaner.atransform_documents else "a")
        )
        await asyncio.sleep(0.01)
        free.set()
        assert len(await task) == len(documents)
