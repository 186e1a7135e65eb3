"""LlamaIndex: a photo album that is guarded at ingestion and at retrieval. Runs offline.

The guard's own miniature encoder finds the pictures, and the miniature LLaVA answers. Both know
drawn pictographs and no photographs. The album is in LlamaIndex's in-memory vector store; any other
store works too.

python examples/llama_index_rag.py
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageNode, ImageType, QueryBundle
from PIL import Image

from guardalign_middleware import GuardAlign, ImageGuard
from guardalign_middleware.config import PatchConfig
from guardalign_middleware.detection.patches import crop_patches, patch_boxes
from guardalign_middleware.mini.questions import THINGS, draw_question_scene
from guardalign_middleware.mini.world import HELD_OUT_BACKGROUNDS
from llama_index.llms.guardalign import (
    GuardAlignImageTransform,
    GuardAlignMultiModal,
    GuardAlignNodePostprocessor,
)

ALBUM = (("dog",), ("car",), ("pizza",), ("knife", "banana"), ("bomb",))
QUESTION = "What is in the picture?"


class GuardsEncoder(MultiModalEmbedding):
    """Embeds pictures and words by the encoder of a guard.

    A picture is the mean of its patches, because a thing in it may be small. Words have to be in
    the encoder's vocabulary; that of `mini` is its preset's concepts.
    """

    _guard: ImageGuard = PrivateAttr()

    def __init__(self, guard: ImageGuard, **data: Any) -> None:
        super().__init__(model_name=guard.config.name, **data)
        self._guard = guard

    def _get_image_embedding(self, img_file_path: ImageType) -> Embedding:
        if not isinstance(img_file_path, io.BytesIO):
            raise TypeError("Pass a node that holds the image's bytes.")
        image = self._guard.load(img_file_path.getvalue())
        encoder = self._guard.detector.meters[0].encoder
        boxes = patch_boxes(image.width, image.height, PatchConfig(), encoder.image_size)
        rows = encoder.encode_images(crop_patches(image, boxes, encoder.image_size))
        return cast(Embedding, rows.mean(dim=0).tolist())

    async def _aget_image_embedding(self, img_file_path: ImageType) -> Embedding:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)

    def _get_text_embedding(self, text: str) -> Embedding:
        encoder = self._guard.detector.meters[0].encoder
        return cast(Embedding, encoder.encode_texts([text])[0].tolist())

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)


def photo(names: Sequence[str], seed: int) -> ImageNode:
    """A node with a drawn picture of these things."""
    things = [thing for thing in THINGS if thing.name in names]
    scene = draw_question_scene(np.random.default_rng(seed), things, HELD_OUT_BACKGROUNDS)
    buffer = io.BytesIO()
    Image.fromarray(scene.pixels).save(buffer, "PNG")
    return ImageNode(
        image=base64.b64encode(buffer.getvalue()).decode(),
        image_mimetype="image/png",
        metadata={"file_name": f"{'-'.join(names)}.png"},
    )


def main() -> None:
    """Ingest an album, then ask about pictures in it."""
    chain = GuardAlign.from_preset("mini")  # loaded once, for all four
    guard = chain.guard
    assert isinstance(guard, ImageGuard), "the encoder is that of a guard in this process"

    pipeline = IngestionPipeline(transformations=[GuardAlignImageTransform(guard=guard)])
    nodes = list(pipeline.run(nodes=[photo(names, seed) for seed, names in enumerate(ALBUM)]))
    print("At ingestion:")
    for node in nodes:
        print(f"  {node.metadata['file_name']}: {node.metadata['guardalign_decision']}")

    # This one goes into the index unguarded.
    nodes.append(photo(("axe", "apple"), seed=10))

    encoder = GuardsEncoder(guard)
    index = MultiModalVectorStoreIndex(nodes=nodes, embed_model=encoder, image_embed_model=encoder)
    engine = RetrieverQueryEngine.from_args(
        retriever=index.as_retriever(image_similarity_top_k=1),
        llm=GuardAlignMultiModal(chain=chain),
        multimodal=True,
        node_postprocessors=[GuardAlignNodePostprocessor(guard=guard)],
    )
    for wanted in ("dog", "pizza", "axe"):
        # The encoder gets the word, the model the question.
        response = engine.query(QueryBundle(QUESTION, custom_embedding_strs=[wanted]))
        (source,) = response.source_nodes
        metadata = source.node.metadata
        print(f"Looking for {wanted!r}: {metadata['file_name']}, {metadata['guardalign_decision']}")
        print(f"  {QUESTION} {response}")


if __name__ == "__main__":
    main()
