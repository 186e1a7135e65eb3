"""`GuardAlignNodePostprocessor`: retrieved images are checked before anybody looks at them."""

from __future__ import annotations

from typing import Any

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from guardalign_middleware import ImageGuard
from llama_index.llms.guardalign.node_guards import NodeGuard


class GuardAlignNodePostprocessor(NodeGuard, BaseNodePostprocessor):
    """Scans the images of retrieved nodes, and cleans, drops or flags them.

    It looks at `ImageNode`, `ImageDocument`, and at `Node`s with an image in any media resource.
    The nodes that come out are copies: their image is PNG bytes of the scanned pixels, their paths,
    URLs and `metadata["file_path"]` are gone, the verdict and the sha256 of the pixels stand in
    `guardalign_…` metadata, and embeddings of images that were changed are cleared. Nodes without
    images and the order stay as they were. The async methods do not block the event loop.

    An image that cannot be read raises, or is left out with `unreadable="drop"`. Paths and
    URLs are read only as the preset's intake policy allows, or URLs by a `fetch` of yours.

    `SimpleMultiModalQueryEngine.image_query` calls no postprocessor: clean at ingestion for it, or
    use a guarded LLM.

    Args:
        preset: name of a shipped preset, or path of a YAML file; it needs no runner.
        guard: a loaded `ImageGuard` to use instead; such a postprocessor cannot be pickled.
        policy: `mask`, `drop` or `flag`; of a node with a blocked image, `mask` keeps the words.
        unreadable: `raise` or `drop`.
        allow_unscanned: whether nodes with a video pass unseen.
        batch_size: how many nodes are decoded at a time.
        fetch: gets the bytes behind an http(s) URL; it decides which hosts may be asked.

    Example:
        ```python
        engine = RetrieverQueryEngine.from_args(
            retriever=retriever,
            llm=llm,
            multimodal=True,
            node_postprocessors=[GuardAlignNodePostprocessor(preset="mini")],
        )
        ```
    """

    def __init__(self, *, guard: ImageGuard | None = None, **data: Any) -> None:
        # Once more, for type checkers: pydantic's plugin shows a subclass's fields alone.
        super().__init__(guard=guard, **data)

    @classmethod
    def class_name(cls) -> str:
        """Name in serialized form."""
        return "guardalign_node_postprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        kept = []
        for item, node in zip(nodes, self.clean([item.node for item in nodes]), strict=True):
            if node is item.node:
                kept.append(item)
            elif node is not None:
                kept.append(item.model_copy(update={"node": node}))
        return kept
