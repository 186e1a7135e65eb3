"""The positions of LlamaIndex's nodes and stores in which a picture can stand."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore

from benchmarks.llama_index.cases import Case, Cases, maybe_guarded
from benchmarks.llama_index.recording import RecordingLLM
from guardalign_middleware import ImageGuard
from llama_index.llms.guardalign import (
    GuardAlignImageTransform,
    GuardAlignIngestionPipeline,
    GuardAlignNodePostprocessor,
)


def nodes(png: bytes) -> dict[str, BaseNode]:
    """The picture in a node of each kind that can hold it."""
    base = base64.b64encode(png).decode()
    url = f"data:image/png;base64,{base}"
    image = ImageNode(image=base, text="A picture.", image_mimetype="image/png")
    resource = MediaResource(data=base64.b64encode(png), mimetype="image/png")
    text = MediaResource(text="A picture.")
    related = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="s", metadata={"image": base})}
    return {
        "ImageNode": image,
        "ImageNode with a data URL": ImageNode(image_url=url, text="A picture."),
        "ImageDocument": ImageDocument(image=base, text="A picture."),
        "Node with an image resource": Node(text_resource=text, image_resource=resource),
        "IndexNode of an ImageNode": IndexNode(text="A.", index_id="i", obj=image),
        "IndexNode of an IndexNode": IndexNode(
            text="A.", index_id="i", obj=IndexNode(text="B.", index_id="j", obj=image)
        ),
        "metadata": TextNode(text="A.", metadata={"thumbnail": base}),
        "metadata of a relationship": TextNode(text="A.", relationships=related),
        "text": TextNode(text=f"before ![]({url}) after"),
    }


class _Finds(BaseRetriever):
    def __init__(self, node: BaseNode) -> None:
        super().__init__()
        self._node = node

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=self._node, score=1.0)]


def _retrieved(node: BaseNode) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        inner = RecordingLLM()
        guards = [] if guard is None else [GuardAlignNodePostprocessor(guard=guard)]
        engine = RetrieverQueryEngine.from_args(
            retriever=_Finds(node),
            llm=maybe_guarded(inner, guard),
            multimodal=True,
            node_postprocessors=list(guards),
        )
        answer = engine.query("What is it?")
        return inner.calls, answer.source_nodes

    return case


def _ingested(node: BaseNode) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        transforms = [] if guard is None else [GuardAlignImageTransform(guard=guard)]
        return IngestionPipeline(transformations=list(transforms)).run(nodes=[node])

    return case


def _documents(node: BaseNode) -> Case:
    def case(guard: ImageGuard | None) -> Any:
        store = SimpleDocumentStore()
        options: dict[str, Any] = {
            "transformations": [],
            "docstore": store,
            "docstore_strategy": DocstoreStrategy.DUPLICATES_ONLY,
        }
        if guard is None:
            pipeline = IngestionPipeline(**options)
        else:
            transform = GuardAlignImageTransform(guard=guard)
            pipeline = GuardAlignIngestionPipeline(guard=transform, **options)
        return pipeline.run(nodes=[node]), store.to_dict()

    return case


def _per_node(build: Callable[[BaseNode], Case], *without: str) -> Callable[[bytes], Cases]:
    return lambda png: {
        name: build(node) for name, node in nodes(png).items() if name not in without
    }


def _completed(png: bytes) -> Cases:
    held = {"ImageBlock": ImageBlock(image=png)} | {
        name: node for name, node in nodes(png).items() if "Image" in name and "Index" not in name
    }

    def case(document: Any) -> Case:
        def run(guard: ImageGuard | None) -> Any:
            inner = RecordingLLM()
            maybe_guarded(inner, guard).complete("What is it?", image_documents=[document])
            return inner.calls

        return run

    return {name: case(document) for name, document in held.items()}


NODE_POSITIONS: dict[str, Callable[[bytes], Cases]] = {
    "`complete(image_documents=…)`": _completed,
    # LlamaIndex itself cannot show a data URL in an ImageNode.
    "a retrieved node": _per_node(_retrieved, "ImageNode with a data URL"),
    "a node that a pipeline hands on": _per_node(_ingested),
    "a node that a docstore keeps": _per_node(_documents),
}
