"""`GuardAlignImageTransform`: images are checked on their way into the index."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, Self

from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import BaseNode, MediaResource, Node, TransformComponent
from llama_index.core.utils import get_tqdm_iterable

from guardalign_middleware import ImageGuard
from llama_index.llms.guardalign.node_guards import NodeGuard

_IDENTITY = "guard_identity"
_CALL = "call"


class GuardAlignImageTransform(NodeGuard, TransformComponent):
    """Scans the images of nodes in an `IngestionPipeline`, and cleans, drops or flags them.

    What happens to a node is what `GuardAlignNodePostprocessor` does. Put it before embeddings, so
    that these are made from the cleaned picture.

    Caching: a pipeline's cache makes its keys of the nodes' text and of `to_dict`, not of their
    pictures, so that a second, other picture would be given the result of the first and never be
    scanned. Therefore `to_dict` is different each time, and the guard always runs; it also names
    the guard. The transforms behind it see the picture's sha256 in the metadata, and so have
    keys of their own; for this, a node without text gets an empty one. Each run leaves an unused
    entry in the cache.

    LlamaIndex does not write the bytes of a `MediaResource` down: a cache hit of a later transform
    returns a `Node` or `ImageDocument` without its picture. `ImageNode` keeps it.

    Args:
        preset: name of a shipped preset, or path of a YAML file; it needs no runner.
        guard: a loaded `ImageGuard` to use instead; such a transform cannot be pickled.
        policy: `mask`, `drop` or `flag`; of a node with a blocked image, `mask` keeps the words.
        unreadable: `raise` or `drop`: what happens to a node whose image cannot be read.
        allow_unscanned: whether nodes with a video pass unseen.
        batch_size: how many nodes are decoded at a time.
        fetch: gets the bytes behind an http(s) URL; it decides which hosts may be asked.
        show_progress: whether there is a progress bar; a keyword of the call does the same.

    Example:
        ```python
        pipeline = IngestionPipeline(
            transformations=[GuardAlignImageTransform(preset="mini"), embed_model],
            cache=IngestionCache(),
        )
        nodes = pipeline.run(documents=documents)
        ```
    """

    show_progress: bool = Field(default=False, description="Whether there is a progress bar.")

    def __init__(self, *, guard: ImageGuard | None = None, **data: Any) -> None:
        # Once more, for type checkers: pydantic's plugin shows a subclass's fields alone.
        super().__init__(guard=guard, **data)

    @classmethod
    def class_name(cls) -> str:
        """Name in serialized form."""
        return "guardalign_image_transform"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Clean the images of nodes; the nodes are not changed.

        Raises:
            ImageRejected: with `unreadable="raise"`, an image that cannot or may not be read.
            GuardError: a fault while guarding.
        """
        show = bool(kwargs.get("show_progress", self.show_progress))
        cleaned = get_tqdm_iterable(nodes, show, "Guarding images")
        kept = []
        for node, clean in zip(cleaned, self.clean(nodes), strict=True):
            if clean is not None:
                kept.append(clean if clean is node else _with_words(clean))
        return kept

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """`__call__` without blocking the event loop."""
        return await asyncio.to_thread(self.__call__, nodes, **kwargs)

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The fields, the guard's identity, and a number of its own for each call."""
        data = super().to_dict(**kwargs)
        return {**data, _IDENTITY: self._lazy.identity, _CALL: uuid.uuid4().hex}

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Rebuild what `to_dict` wrote down."""
        fields = {key: value for key, value in data.items() if key not in {_IDENTITY, _CALL}}
        return super().from_dict(fields, **kwargs)


def _with_words(node: BaseNode) -> BaseNode:
    """A node whose metadata LlamaIndex's caches look at, which they do only beside a text."""
    if isinstance(node, Node) and node.text_resource is None:
        return node.model_copy(update={"text_resource": MediaResource(text="")})
    return node
