"""Stores keep cleaned pictures and the guard's flat records: document stores, caches, vectors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import chromadb
import lancedb
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.schema import BaseNode, Document, ImageNode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.core.vector_stores.utils import node_to_metadata_dict
from llama_index.vector_stores.chroma import ChromaVectorStore

from guardalign_middleware.testing import base64_png, data_url, picture
from llama_index.llms.guardalign import GuardAlignImageTransform, GuardAlignIngestionPipeline
from llama_index_support.conversations import BLOCKED, GUARD, SAFE, UNSAFE, image_node

MARKER = base64_png(UNSAFE)[40:120]


class Counts(BaseEmbedding):
    """Embeds a text by its length."""

    def _get_text_embedding(self, text: str) -> list[float]:
        assert "guardalign" not in text
        return [float(len(text)), 1.0]

    _get_query_embedding = _get_text_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def inputs() -> list[Any]:
    return [
        image_node(UNSAFE, text="one", id_="1"),
        Document(text=f"see {data_url(UNSAFE)}", id_="2", metadata={"x": base64_png(UNSAFE)}),
        TextNode(text="three", id_="3"),
        image_node(SAFE, text="four", id_="4"),
        image_node(BLOCKED, text="five", id_="5"),
        ImageNode(image=base64_png(SAFE)[:60], text="six", id_="6"),
    ]


def guard() -> GuardAlignImageTransform:
    return GuardAlignImageTransform(guard=GUARD)


def files_of(folder: Path) -> str:
    return "".join(file.read_text("latin-1") for file in folder.rglob("*") if file.is_file())


async def run(pipeline: Any, way: str, **given: Any) -> list[BaseNode]:
    if way == "sync":
        return list(pipeline.run(**given))
    return list(await pipeline.arun(**given))


@pytest.mark.parametrize("way", ["sync", "async"])
@pytest.mark.parametrize("order", ["guarded pipeline", "cleaned first"])
async def test_a_docstore_on_disk_holds_no_raw_picture(
    way: str, order: str, tmp_path: Path
) -> None:
    shared: Any = {
        "docstore": SimpleDocumentStore(),
        "docstore_strategy": "duplicates_only",
        "cache": IngestionCache(),
    }
    shared["transformations"] = [Counts()]
    if order == "guarded pipeline":
        pipeline: Any = GuardAlignIngestionPipeline(guard=guard(), **shared)
    else:
        pipeline = IngestionPipeline(**shared)

    def given() -> dict[str, Any]:
        return {"nodes": inputs() if order == "guarded pipeline" else guard()(inputs())}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nodes = await run(pipeline, way, **given())
        assert [node.node_id for node in nodes] == list("123456")
        # Duplicates are recognized by the hashes of the cleaned nodes.
        assert await run(pipeline, way, **given()) == []
    pipeline.persist(str(tmp_path))
    assert MARKER not in files_of(tmp_path)
    assert "guardalign_decision" in files_of(tmp_path)


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_a_pipeline_that_stores_raw_input_warns(way: str, tmp_path: Path) -> None:
    pipeline = IngestionPipeline(
        transformations=[guard()],
        docstore=SimpleDocumentStore(),
        docstore_strategy="duplicates_only",
    )
    with pytest.warns(UserWarning, match="GuardAlignIngestionPipeline"):
        await run(pipeline, way, nodes=inputs())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await run(IngestionPipeline(transformations=[guard()]), way, nodes=inputs())


def test_the_cache_of_a_pipeline_holds_no_raw_picture(tmp_path: Path) -> None:
    pipeline = IngestionPipeline(transformations=[guard(), Counts()], cache=IngestionCache())
    pipeline.run(nodes=inputs())
    pipeline.persist(str(tmp_path))
    assert MARKER not in files_of(tmp_path)


def indexed() -> list[BaseNode]:
    nodes = [*inputs(), image_node(picture(side=80, red=True), text="seven", id_="7")]
    pipeline = GuardAlignIngestionPipeline(guard=guard(), transformations=[Counts()])
    return list(pipeline.run(nodes=nodes))


def records(metadata: dict[str, Any]) -> dict[str, Any]:
    """The guard's keys that are not empty; a table has a column for each key of any row."""
    return {
        key: value
        for key, value in metadata.items()
        if key.startswith("guardalign_") and value is not None
    }


def test_the_simple_vector_store_takes_the_records_as_they_are(tmp_path: Path) -> None:
    nodes, store = indexed(), SimpleVectorStore()
    store.add(nodes)
    store.persist(str(tmp_path / "store.json"))
    again = SimpleVectorStore.from_persist_path(str(tmp_path / "store.json"))
    for node in nodes:
        assert records(again.data.metadata_dict[node.node_id]) == records(node.metadata)
    assert MARKER not in files_of(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_chroma_takes_the_records_as_they_are(tmp_path: Path) -> None:
    nodes = indexed()
    client = chromadb.PersistentClient(str(tmp_path))
    store = ChromaVectorStore(chroma_collection=client.get_or_create_collection("album"))
    store.add(nodes)
    query = VectorStoreQuery(query_embedding=[3.0, 1.0], similarity_top_k=7)
    found = {node.node_id: node for node in store.query(query).nodes or ()}
    assert sorted(found) == sorted(node.node_id for node in nodes)
    for node in nodes:
        assert records(found[node.node_id].metadata) == records(node.metadata)
    assert MARKER not in files_of(tmp_path)


def test_lancedb_takes_the_records_as_they_are(tmp_path: Path) -> None:
    """Rows as LlamaIndex's LanceDB store writes them; that store itself needs pandas."""
    nodes = indexed()
    rows = [
        {
            "id": node.node_id,
            "vector": node.get_embedding(),
            "metadata": node_to_metadata_dict(node, flat_metadata=True),
        }
        for node in nodes
    ]
    table = lancedb.connect(str(tmp_path)).create_table("a", data=rows)
    found = {row["id"]: row["metadata"] for row in table.to_arrow().to_pylist()}
    for node in nodes:
        assert records(found[node.node_id]) == records(node.metadata)
    assert MARKER not in files_of(tmp_path)
