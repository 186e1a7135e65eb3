"""LangChain: a photo album in a vector store, guarded on its way in and out. Runs offline.

LanceDB runs inside the process and keeps the album in a folder. The guard's miniature encoder finds
the pictures, and the miniature LLaVA answers. Both know drawn pictographs, not photographs.

python examples/langchain_rag.py
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Sequence
from typing import Any

import lancedb
import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage
from langchain_core.retrievers import BaseRetriever
from PIL import Image

from guardalign_middleware import GuardAlign
from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.mini.questions import THINGS, draw_question_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from langchain_guardalign import ChatGuardAlign, ImageGuardDocumentTransformer

ALBUM = (("dog",), ("car",), ("pizza",), ("knife", "banana"), ("bomb",))
QUESTION = "What is in the picture?"


def photo(names: Sequence[str], seed: int) -> Document:
    """Draw a picture of things, as a document with the image in its metadata."""
    things = [thing for thing in THINGS if thing.name in names]
    scene = draw_question_scene(np.random.default_rng(seed), things, HELD_OUT_BACKGROUNDS)
    buffer = io.BytesIO()
    Image.fromarray(scene.pixels).save(buffer, "PNG")
    picture = base64.b64encode(buffer.getvalue()).decode()
    return Document(f"{'-'.join(names)}.png", metadata={"image": picture})


class Album(BaseRetriever):
    """Pictures in LanceDB, found by a word of the encoder's vocabulary."""

    guard: Any
    folder: str

    def add(self, documents: Sequence[Document]) -> None:
        """Store documents, except those whose picture the guard has removed."""
        rows = [
            {
                "vector": self._embedded(document.metadata["image"]),
                "text": document.page_content,
                "metadata": json.dumps(document.metadata),
            }
            for document in documents
            if document.metadata.get("guardalign_blocked", 0) == 0
        ]
        store = lancedb.connect(self.folder)
        if "album" in store.list_tables().tables:
            store.open_table("album").add(rows)
        else:
            store.create_table("album", rows)

    def _embedded(self, picture: str) -> list[float]:
        # The mean over patches, because a thing in the picture can be small.
        image = self.guard.load(base64.b64decode(picture))
        encoder = self.guard.detector.meters[0].encoder
        boxes = patch_boxes(image.width, image.height, PatchConfig(), encoder.image_size)
        rows = encoder.encode_images(crop_patches(image, boxes, encoder.image_size))
        vector: list[float] = rows.mean(dim=0).tolist()
        return vector

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        vector = self.guard.detector.meters[0].encoder.encode_texts([query])[0].tolist()
        table = lancedb.connect(self.folder).open_table("album")
        found: Any = table.search(vector)
        rows = found.metric("cosine").limit(1).to_list()
        return [Document(row["text"], metadata=json.loads(row["metadata"])) for row in rows]


def main() -> None:
    """Store an album, then ask about what is found in it."""
    chain = GuardAlign.from_preset("mini")  # loaded once, shared by all
    transformer = ImageGuardDocumentTransformer(guard=chain.guard)
    model = ChatGuardAlign(chain=chain)
    with tempfile.TemporaryDirectory() as folder:
        album = Album(guard=chain.guard, folder=folder)

        documents = [photo(names, seed) for seed, names in enumerate(ALBUM)]
        clean = transformer.transform_documents(documents)
        print("At ingestion:")
        for document in clean:
            print(f"  {document.page_content}: {document.metadata['guardalign_decision']}")
        album.add(clean)

        # One picture was stored without a guard.
        album.add([photo(("axe", "apple"), seed=10)])

        retriever = album | transformer
        for wanted in ("dog", "pizza", "axe"):
            (found,) = retriever.invoke(wanted)
            decision = found.metadata["guardalign_decision"]
            print(f"Looking for {wanted!r}: {found.page_content}, {decision}")
            block = {
                "type": "image",
                "base64": found.metadata["image"],
                "mime_type": "image/png",
            }
            reply = model.invoke([HumanMessage([{"type": "text", "text": QUESTION}, block])])
            print(f"  {QUESTION} {reply.text}")


if __name__ == "__main__":
    main()
