"""What the postprocessor and the ingestion transform have in common: a guard, and how it acts."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.schema import BaseComponent, BaseNode

from guardalign_middleware import ImageGuard
from guardalign_middleware.errors import ImageRejected
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.types import CanonicalImage
from llama_index.llms.guardalign.images import OptionalFetch, Resolver
from llama_index.llms.guardalign.messages import UNSCANNED_REMEDY
from llama_index.llms.guardalign.nodes import Policy, cleaned_node, node_images, shows_video


class NodeGuard(BaseComponent):
    """Cleans the images of nodes.

    Args:
        guard: a loaded `ImageGuard` to use instead of a preset; it cannot be pickled.
        data: the fields.
    """

    model_config = ConfigDict(extra="forbid")

    preset: str | None = Field(
        default="mini",
        description="Name of a shipped preset, or path of a YAML file; None with a guard.",
    )
    policy: Policy = Field(
        default="mask",
        description="mask: unsafe regions are covered, blocked images taken out. drop: flagged "
        "nodes are left out. flag: images stay as they are, and metadata tells.",
    )
    unreadable: Literal["raise", "drop"] = Field(
        default="raise",
        description="What happens to a node whose image cannot or may not be read.",
    )
    allow_unscanned: bool = Field(
        default=False, description="Whether nodes with a video, which no guard sees, are kept."
    )
    batch_size: int = Field(default=16, gt=0, description="Nodes whose images are in memory.")
    fetch: OptionalFetch = Field(
        default=None,
        exclude=True,
        description="Gets the image behind a URL; None = as the intake policy says.",
    )

    _lazy: LazyGuard = PrivateAttr()

    def __init__(self, *, guard: ImageGuard | None = None, **data: Any) -> None:
        if guard is not None:
            data.setdefault("preset", None)
        super().__init__(**data)
        self._lazy = LazyGuard(preset=self.preset, guard=guard)

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex drops what cannot be pickled, from this very object too: rather an error.
        self._lazy.require_preset()
        pickle.dumps(self.fetch)
        return super().__getstate__()

    def clean(self, nodes: Sequence[BaseNode]) -> Iterator[BaseNode | None]:
        """What becomes of each node, in order; None of one that is left out.

        A node without images is itself; others are copies. The guard is loaded when the first
        image has been read.

        Raises:
            ImageRejected: with `unreadable="raise"`, an image that cannot or may not be read, or a
                video; the message names the node.
            GuardError: a fault while guarding.
        """
        for start in range(0, len(nodes), self.batch_size):
            yield from self._clean_batch(nodes[start : start + self.batch_size])

    def _clean_batch(self, nodes: Sequence[BaseNode]) -> list[BaseNode | None]:
        read = [self._read(node) for node in nodes]
        pictures = [image for images in read if images is not None for image in images.values()]
        cleaned = iter(self._lazy.get().sanitize_many(pictures) if pictures else ())
        done: list[BaseNode | None] = []
        for node, images in zip(nodes, read, strict=True):
            if not images:
                done.append(None if images is None else node)
                continue
            results = [next(cleaned) for _ in images]
            done.append(cleaned_node(node, list(images), results, self.policy))
        return done

    def _read(self, node: BaseNode) -> dict[str, CanonicalImage] | None:
        """The images by their fields; None when the node has to be left out unread."""
        resolve = Resolver(self._lazy.config.intake, self.fetch)
        place = f"node {node.node_id}"
        try:
            if shows_video(node) and not self.allow_unscanned:
                raise ImageRejected(
                    f"{place} holds a video, in which the guard sees no picture.",
                    reason="unsupported_type",
                    source=place,
                    remedy=UNSCANNED_REMEDY,
                )
            return {item.field: resolve(item.found) for item in node_images(node, place)}
        except ImageRejected:
            if self.unreadable == "raise":
                raise
            return None
