"""PDF files in nodes: refused, noted, or a node for each page, in both guards of nodes."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    MediaResource,
    Node,
    NodeWithScore,
    TextNode,
)

from guardalign_middleware.config import IntakePolicy
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.testing import (
    data_url,
    has_red,
    open_png,
    picture,
    red_config,
    red_guard,
)
from guardalign_middleware.testing.pdf import BLUE_PAGE, PAGES, RED_PAGE, drawn_pdf, encrypted_pdf
from llama_index.llms.guardalign import GuardAlignImageTransform, GuardAlignNodePostprocessor

REPORT = drawn_pdf(BLUE_PAGE, RED_PAGE)


def resource(data: bytes = REPORT, text: str | None = None) -> MediaResource:
    return MediaResource(data=base64.b64encode(data), mimetype="application/pdf", text=text)


def postprocessed(nodes: list[BaseNode], policy: IntakePolicy, **options: Any) -> list[BaseNode]:
    guard = red_guard(red_config(intake=policy))
    scored = [NodeWithScore(node=node, score=0.5) for node in nodes]
    kept = GuardAlignNodePostprocessor(guard, **options).postprocess_nodes(scored)
    assert all(item.score == 0.5 for item in kept)
    return [item.node for item in kept]


def ingested(nodes: list[BaseNode], policy: IntakePolicy, **options: Any) -> list[BaseNode]:
    guard = red_guard(red_config(intake=policy))
    transform = GuardAlignImageTransform(guard, **options)
    return list(IngestionPipeline(transformations=[transform]).run(nodes=nodes))


Guard = Callable[..., list[BaseNode]]
both = pytest.mark.parametrize("guarded", [postprocessed, ingested])


def red_pages(nodes: list[BaseNode]) -> list[bool]:
    return [
        has_red(open_png(base64.b64decode(node.image_resource.data)))
        for node in nodes
        if isinstance(node, Node) and node.image_resource is not None
    ]


@both
class TestNodes:
    def test_pages_come_in_a_format_that_the_policy_accepts(self, guarded: Guard) -> None:
        policy = IntakePolicy(pdf="pages", pdf_dpi=72, formats=("JPEG",))
        pages = guarded([Node(image_resource=resource())], policy)
        assert red_pages(pages) == [False, False]
        assert {page.image_resource.mimetype for page in pages} == {"image/jpeg"}

    @pytest.mark.parametrize("field", ["image_resource", "video_resource", "audio_resource"])
    def test_each_page_is_a_node(self, guarded: Guard, field: str) -> None:
        node = Node(id_="n", **{field: resource()}, metadata={"author": "me"})
        before = node.model_dump()
        pages = guarded([node], PAGES)
        assert node.model_dump() == before
        assert len(pages) == 2
        assert red_pages(pages) == [False, False]
        assert len({page.node_id for page in pages}) == 2
        assert [page.metadata["page_label"] for page in pages] == ["1", "2"]
        assert [page.metadata["guardalign_decision"] for page in pages] == ["allow", "mask"]
        assert all(page.metadata["author"] == "me" for page in pages)
        assert b"%PDF" not in repr(pages).encode()
        assert base64.b64encode(REPORT).decode()[:40] not in repr(pages)

    def test_the_text_of_the_node_stays_in_front(self, guarded: Guard) -> None:
        node = Document(text_resource=resource(text="A summary."))
        first, *pages = guarded([node, TextNode(text="other")], PAGES)
        assert first.get_content() == "A summary."
        assert red_pages(pages) == [False, False]
        assert pages[-1].get_content() == "other"

    def test_it_is_refused_by_default(self, guarded: Guard) -> None:
        node = Document(text="A summary.", audio_resource=resource())
        (kept,) = guarded([node], IntakePolicy())
        assert isinstance(kept, Node)
        assert kept.audio_resource is None
        assert "it is a PDF file, which is not read" in kept.get_content()
        assert kept.metadata["guardalign_reason"] == "pdf_not_allowed"
        assert guarded([node], IntakePolicy(), on_refused="drop") == []
        with pytest.raises(ImageRejected) as caught:
            guarded([node], IntakePolicy(), on_refused="raise")
        assert caught.value.reason == "pdf_not_allowed"

    def test_a_refused_file_leaves_its_text(self, guarded: Guard) -> None:
        words = f"See {data_url(picture(red=True))}."
        node = Document(text_resource=resource(text=words))
        (kept,) = guarded([node], IntakePolicy())
        assert isinstance(kept, Node)
        text, notice = kept.get_content().split("\n")
        assert text.startswith("See data:image/png;base64,")
        assert text != words
        assert "it is a PDF file" in notice
        assert kept.text_resource == MediaResource(text=kept.get_content())
        (kept,) = guarded([Node(audio_resource=resource(text="A caption."))], IntakePolicy())
        assert kept.audio_resource == MediaResource(text="A caption.")

    def test_or_noted(self, guarded: Guard) -> None:
        node = Document(
            text="A summary.", audio_resource=resource(), metadata={"file_name": "report.pdf"}
        )
        (kept,) = guarded([node], IntakePolicy(pdf="notice"), on_refused="raise")
        assert kept.get_content() == (
            "A summary.\n[file report.pdf not shown: it is a PDF file, which is not read]"
        )
        assert REPORT[:40] not in repr(kept).encode()

    def test_what_cannot_be_drawn_is_refused(self, guarded: Guard) -> None:
        node = Document(text="A summary.", audio_resource=resource(encrypted_pdf()))
        (kept,) = guarded([node], PAGES)
        assert kept.metadata["guardalign_reason"] == "encrypted"
        with pytest.raises(ImageRejected) as caught:
            guarded([node], PAGES, on_refused="raise")
        assert caught.value.reason == "encrypted"

    def test_a_path_is_read_only_if_the_policy_allows_it(
        self, guarded: Guard, tmp_path: Path
    ) -> None:
        path = tmp_path / "report.pdf"
        path.write_bytes(REPORT)
        node = Node(text_resource=MediaResource(text="x"), audio_resource=MediaResource(path=path))
        (kept,) = guarded([node], PAGES)
        assert isinstance(kept, Node)
        assert kept.audio_resource is not None
        allowed = PAGES.model_copy(update={"allow_paths": True})
        assert red_pages(guarded([node], allowed)) == [False, False]

    def test_a_text_from_a_pdf_file_is_left_alone(self, guarded: Guard) -> None:
        node = Document(text="Page one.", metadata={"file_path": "a.pdf", "file_name": "a.pdf"})
        for policy in (PAGES, IntakePolicy()):
            (kept,) = guarded([node], policy)
            assert kept.get_content() == "Page one."
            assert kept.metadata == node.metadata

    def test_an_image_document_of_a_pdf_file(self, guarded: Guard) -> None:
        document = ImageDocument(image=base64.b64encode(REPORT).decode())
        assert red_pages(guarded([document], PAGES)) == [False, False]
