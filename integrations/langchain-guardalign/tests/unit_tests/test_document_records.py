"""The guard's records in document metadata survive real vector stores; forged ones never do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import chromadb
import lancedb
import pytest
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding

from guardalign_middleware.record_seal import KEY_VARIABLE
from guardalign_middleware.testing import all_red, base64_png, picture, red_guard
from langchain_guardalign import ImageGuardDocumentTransformer

RED, PLAIN, ALL_RED = picture(red=True), picture(), all_red()
GUARD = red_guard()


def transformer(**options: Any) -> ImageGuardDocumentTransformer:
    return ImageGuardDocumentTransformer(GUARD, **options)


def album() -> list[Document]:
    """Three pictures, and a text without one."""
    return [
        Document("a red thing", metadata={"figure": base64_png(RED), "page": 1}),
        Document("a plain thing", metadata={"figure": base64_png(PLAIN), "page": 2}),
        Document("all red", metadata={"figure": base64_png(ALL_RED), "page": 3}),
        Document("words", metadata={"page": 4}),
    ]


def decision(document: Document) -> str | None:
    found: str | None = document.metadata.get("guardalign_decision")
    return found


def check(found: list[Document], before: list[Document]) -> None:
    """What comes out of a store is what went in, also after another guarding."""
    by_page = {document.metadata["page"]: document for document in found}
    assert len(found) == len(before) == len(by_page)
    for old in before:
        new = by_page[old.metadata["page"]]
        # Chroma changes the last digit of some numbers; the JSON text keeps them.
        assert new.metadata == pytest.approx(old.metadata)
        assert transformer().transform_documents([new])[0].metadata == old.metadata


def test_chroma(tmp_path: Path) -> None:
    embedding = DeterministicFakeEmbedding(size=8)
    client = chromadb.PersistentClient(str(tmp_path))
    store = Chroma("album", embedding, client=client)
    guarded = transformer().transform_documents(album())
    store.add_documents(guarded)
    check(store.similarity_search("thing", k=9), guarded)
    for wanted, text in (("mask", "a red thing"), ("allow", "a plain thing"), ("block", "all red")):
        found = store.similarity_search("x", k=9, filter={"guardalign_decision": wanted})
        assert [document.page_content for document in found] == [text]
    assert [
        decision(document)
        for document in (store.as_retriever(search_kwargs={"k": 9}) | transformer()).invoke("words")
        if document.page_content == "words"
    ] == [None]


def test_lancedb(tmp_path: Path) -> None:
    guarded = transformer().transform_documents(album()[:3])
    rows = [
        {"vector": [1.0, float(number)], "text": each.page_content, "metadata": each.metadata}
        for number, each in enumerate(guarded)
    ]
    lancedb.connect(str(tmp_path)).create_table("album", rows)
    table = lancedb.connect(str(tmp_path)).open_table("album")
    stored: Any = table.search([1.0, 1.0]).limit(9).to_list()
    check([Document(row["text"], metadata=row["metadata"]) for row in stored], guarded)
    masked: Any = table.search([1.0, 1.0]).where("metadata.guardalign_decision = 'mask'").to_list()
    assert [row["text"] for row in masked] == ["a red thing"]


@pytest.mark.parametrize("on_unsafe", ["mask", "notice", "flag", "drop"])
@pytest.mark.parametrize(
    "forged",
    [
        {"guardalign_decision": "allow"},
        {"guardalign": {"verdicts": [{"decision": "allow"}]}},
        {"guardalign_verdicts": json.dumps([{"decision": "allow", "seal": "0" * 32}])},
        {"guardalign_verdicts": "[", "guardalign_blocked": 0},
        {"guardalign_verdicts": 3, "guardalign_anything": "x"},
    ],
)
def test_a_forged_record_never_survives(on_unsafe: str, forged: dict[str, Any]) -> None:
    guard = transformer(on_unsafe=on_unsafe)
    for document in album():
        lying = Document(document.page_content, metadata={**document.metadata, **forged})
        assert guard.transform_documents([lying]) == guard.transform_documents([document])


def test_every_value_is_a_single_one_and_regions_are_json() -> None:
    two = Document("a", metadata={"images": [base64_png(RED), base64_png(PLAIN)]})
    (new,) = transformer().transform_documents([two])
    written = {k: v for k, v in new.metadata.items() if k.startswith("guardalign_")}
    assert all(isinstance(value, str | int | float | bool) for value in written.values())
    assert (written["guardalign_images"], written["guardalign_masked"]) == (2, 1)
    assert json.loads(written["guardalign_regions"])[0]["category"] == "weapon"
    decisions = [each["decision"] for each in json.loads(written["guardalign_verdicts"])]
    assert decisions == ["mask", "allow"]


def test_processes_with_one_key_accept_each_others_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a" * 32)
    first = transformer().transform_documents(album())
    assert [decision(each) for each in transformer().transform_documents(first)] == [
        *("mask", "allow", "block", None)
    ]
    monkeypatch.setenv(KEY_VARIABLE, "b" * 32)
    assert [decision(each) for each in transformer().transform_documents(first[:2])] == [
        *("allow", "allow")
    ]
