"""Whole RAG programs: guarded ingestion into a store on disk, reloaded, filtered, and asked about.

The stores are Chroma and LanceDB. What they wrote is searched for the raw pictures.
"""

from __future__ import annotations

import base64
import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import chromadb
import lancedb
import numpy as np
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, HumanMessage
from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import BaseNode, ImageNode, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.vector_stores.chroma import ChromaVectorStore
from llama_index.vector_stores.lancedb import LanceDBVectorStore

from guardalign_middleware.testing import BOX, RED, has_red, png, red_guard
from guardalign_middleware.types import CanonicalImage
from langchain_guardalign import ImageGuardDocumentTransformer, ImageGuardRunnable
from langchain_guardalign.message_walk import find_images
from langchain_guardalign.testing import RecordingModel, holds_raw
from llama_index.llms.guardalign import (
    GuardAlignGuardedLLM,
    GuardAlignImageTransform,
    GuardAlignNodePostprocessor,
)
from llama_index_support.doubles import PlainLLM
from tests.support.on_disk import holds_any, pieces

pytestmark = pytest.mark.slow


def photo(seed: int, *, red: bool = False) -> CanonicalImage:
    """A picture that does not compress, so that its bytes are found in pieces too."""
    pixels = np.random.default_rng(seed).integers(0, 120, (64, 64, 3), dtype=np.uint8)
    if red:
        x0, y0, x1, y1 = BOX
        pixels[y0:y1, x0:x1] = RED
    return CanonicalImage(pixels)


UNSAFE, SAFE, LATE = photo(1, red=True), photo(2), photo(3, red=True)


def traces(image: CanonicalImage) -> list[bytes]:
    """Pieces of its file that only a raw picture leaves on disk."""
    clean = red_guard().sanitize(png(image)).image
    assert clean is not None
    found = pieces(png(image), png(clean))
    assert found
    return found


def node(image: CanonicalImage, name: str) -> ImageNode:
    text = base64.b64encode(png(image)).decode()
    return ImageNode(image=text, text=name, image_mimetype="image/png", id_=name)


def chroma(folder: Path) -> Any:
    client = chromadb.PersistentClient(str(folder))
    return ChromaVectorStore(chroma_collection=client.get_or_create_collection("album"))


def lance(folder: Path) -> Any:
    mode = "append" if (folder / "album.lance").exists() else "create"
    return LanceDBVectorStore(uri=str(folder), table_name="album", mode=mode)


Store = Callable[[Path], Any]
# LlamaIndex's store calls an old name of LanceDB.
all_stores = pytest.mark.parametrize(
    "store",
    [
        chroma,
        pytest.param(
            lance, marks=pytest.mark.filterwarnings("ignore:table_names:DeprecationWarning")
        ),
    ],
)
EMBEDDING = MockEmbedding(embed_dim=3)


def ingest(nodes: Sequence[BaseNode], store: Any, *guards: Any) -> None:
    pipeline = IngestionPipeline(transformations=[*guards, EMBEDDING], vector_store=store)
    pipeline.run(nodes=nodes)


@all_stores
def test_llama_index(store: Store, tmp_path: Path) -> None:
    guard = red_guard()
    album = [node(UNSAFE, "unsafe"), node(SAFE, "safe"), TextNode(text="words", id_="words")]
    ingest(album, store(tmp_path), GuardAlignImageTransform(guard=guard))
    gc.collect()
    assert not holds_any(tmp_path, traces(UNSAFE))

    reloaded = VectorStoreIndex.from_vector_store(store(tmp_path), embed_model=EMBEDDING)
    for decision, wanted in (("mask", {"unsafe"}), ("allow", {"safe"})):
        only = MetadataFilters(filters=[MetadataFilter(key="guardalign_decision", value=decision)])
        found = reloaded.as_retriever(similarity_top_k=9, filters=only).retrieve("a picture")
        assert {item.node.metadata["guardalign_decision"] for item in found} == {decision}
        assert {item.node.get_content() for item in found} == wanted

    # A picture that comes in without a guard is cleaned at retrieval.
    ingest([node(LATE, "late")], store(tmp_path))
    reloaded = VectorStoreIndex.from_vector_store(store(tmp_path), embed_model=EMBEDDING)
    inner = PlainLLM()
    engine = RetrieverQueryEngine.from_args(
        retriever=reloaded.as_retriever(similarity_top_k=9),
        llm=GuardAlignGuardedLLM(llm=inner, guard=guard),
        node_postprocessors=[GuardAlignNodePostprocessor(guard=guard)],
        multimodal=True,
    )
    answer = engine.query("What is in the pictures?")
    assert str(answer) == "I see."
    assert {item.node.get_content() for item in answer.source_nodes} == {
        "unsafe",
        "safe",
        "late",
        "words",
    }
    assert len(inner.seen) == 3
    assert not any(map(has_red, inner.seen))
    for image in (UNSAFE, LATE):
        assert not holds_raw(inner.calls, png(image))
        assert not holds_raw(answer.source_nodes, png(image))


@all_stores
def test_llama_index_without_a_guard(store: Store, tmp_path: Path) -> None:
    """The search of the disk does find raw pictures."""
    ingest([node(UNSAFE, "unsafe")], store(tmp_path))
    gc.collect()
    assert holds_any(tmp_path, traces(UNSAFE))


VECTORS = DeterministicFakeEmbedding(size=3)


class ChromaDocuments:
    """Chroma as LangChain has it."""

    def __init__(self, folder: Path) -> None:
        self._store = Chroma("album", VECTORS, persist_directory=str(folder))

    def add(self, documents: Sequence[Document]) -> None:
        self._store.add_documents(list(documents))

    def search(self, decision: str | None = None) -> list[Document]:
        only = None if decision is None else {"guardalign_decision": decision}
        return self._store.similarity_search("a picture", k=9, filter=only)


class LanceDocuments:
    """LanceDB with a row for each document; LangChain's package for it needs an older LangChain."""

    def __init__(self, folder: Path) -> None:
        self._client = lancedb.connect(str(folder))

    def add(self, documents: Sequence[Document]) -> None:
        rows = [
            {
                "vector": VECTORS.embed_query(document.page_content),
                "text": document.page_content,
                "metadata": document.metadata,
            }
            for document in documents
        ]
        if "album" in self._client.list_tables().tables:
            self._client.open_table("album").add(rows)
        else:
            self._client.create_table("album", rows)

    def search(self, decision: str | None = None) -> list[Document]:
        search = self._client.open_table("album").search(VECTORS.embed_query("a picture"))
        if decision is not None:
            search = search.where(f"metadata.guardalign_decision = '{decision}'")
        return [
            Document(row["text"], metadata=row["metadata"]) for row in search.limit(9).to_list()
        ]


def document(image: CanonicalImage, name: str) -> Document:
    return Document(name, metadata={"image": base64.b64encode(png(image)).decode()})


@pytest.mark.parametrize("store", [ChromaDocuments, LanceDocuments])
def test_langchain(store: Callable[[Path], Any], tmp_path: Path) -> None:
    guard = red_guard()
    transformer = ImageGuardDocumentTransformer(guard=guard)
    album = [document(UNSAFE, "unsafe"), document(SAFE, "safe")]
    store(tmp_path).add(transformer.transform_documents(album))
    gc.collect()
    assert not holds_any(tmp_path, traces(UNSAFE))
    reloaded = store(tmp_path)
    for decision, name in (("mask", "unsafe"), ("allow", "safe")):
        (found,) = reloaded.search(decision)
        assert found.page_content == name
        assert found.metadata["guardalign_decision"] == decision

    # A picture that comes in without a guard is cleaned at retrieval.
    reloaded.add([document(LATE, "late")])
    retrieved = transformer.transform_documents(reloaded.search())
    assert {item.page_content for item in retrieved} == {"unsafe", "safe", "late"}
    assert {item.page_content: item.metadata["guardalign_decision"] for item in retrieved}[
        "late"
    ] == "mask"
    model = RecordingModel(answers=[AIMessage("I see.")])
    blocks = [
        {"type": "image", "base64": item.metadata["image"], "mime_type": "image/png"}
        for item in retrieved
    ]
    answer = (ImageGuardRunnable(guard=guard) | model).invoke([HumanMessage(blocks)])
    assert answer.text == "I see."
    shown = [guard.load(base64.b64decode(item.part["base64"])) for item in find_images(model.seen)]
    assert len(shown) == 3
    assert not any(map(has_red, shown))
    for image in (UNSAFE, LATE):
        assert not holds_raw([retrieved, model.seen], png(image))


@pytest.mark.parametrize("store", [ChromaDocuments, LanceDocuments])
def test_langchain_without_a_guard(store: Callable[[Path], Any], tmp_path: Path) -> None:
    store(tmp_path).add([document(UNSAFE, "unsafe")])
    gc.collect()
    assert holds_any(tmp_path, traces(UNSAFE))
