"""The guards of nodes: `GuardAlignNodePostprocessor` and `GuardAlignImageTransform`.

Both decide here which nodes are dropped: flagged ones, unreadable ones, and those with nothing
left. `nodes.py` finds the images and rebuilds the nodes.
"""

from __future__ import annotations

import pickle
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    BaseComponent,
    BaseNode,
    MediaResource,
    Node,
    NodeWithScore,
    QueryBundle,
    TextNode,
    TransformComponent,
)
from llama_index.core.utils import get_tqdm_iterable

from guardalign_middleware.faults import memory_faults
from guardalign_middleware.fixed_options import FixedOptions
from guardalign_middleware.handles import LazyGuard, guard_handle
from guardalign_middleware.handling import OnUnsafe, check_known, check_option
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.sources import with_source
from guardalign_middleware.verdict_records import flat_record
from llama_index.llms.guardalign.admission import Measurer
from llama_index.llms.guardalign.fields import GuardPreset, OptionalFetch
from llama_index.llms.guardalign.images import Resolver
from llama_index.llms.guardalign.node_pages import paged
from llama_index.llms.guardalign.node_walk import NodeWalk
from llama_index.llms.guardalign.nodes import WalkedNode, rebuilt_node
from llama_index.llms.guardalign.pipeline import warn_of_docstore
from llama_index.llms.guardalign.visitors import Finder, Visitor, showing

if TYPE_CHECKING:
    from guardalign_middleware.handles import AnyGuard

_ON_UNSAFE: tuple[OnUnsafe, ...] = ("mask", "drop", "flag")
OnRefusedNode = Literal["notice", "raise", "drop"]
_IDENTITY = "guard_identity"
_CALL = "call"


class NodeGuard(FixedOptions, BaseComponent):
    """Cleans the images of nodes.

    Args:
        source: a preset or a loaded `ImageGuard`, as `preset` or `guard`.
        data: the fields, and `guard`, which cannot be pickled.

    Raises:
        ConfigError: a guard and a preset, neither of them, an unknown keyword or `on_unsafe`.
    """

    model_config = ConfigDict(extra="forbid")

    ACCEPTED: ClassVar[Mapping[str, Sequence[str]]] = {
        "on_unsafe": _ON_UNSAFE,
        "on_refused": get_args(OnRefusedNode),
    }

    preset: GuardPreset = None
    on_unsafe: OnUnsafe = Field(
        default="mask",
        description="mask: cover unsafe regions and remove blocked images. drop: leave flagged "
        "nodes out. flag: keep the images and only record the verdict in the metadata.",
    )
    on_refused: OnRefusedNode = Field(
        default="notice",
        description="What to do with an image that cannot be read or is not allowed. notice: show "
        "a text that names the cause. raise: raise the error. drop: leave the node out.",
    )
    allow_unscanned: bool = Field(
        default=False, description="Whether to keep nodes with a video, which cannot be scanned."
    )
    batch_size: int = Field(
        default=16, gt=0, description="Number of nodes whose images are in memory at once."
    )
    fetch: OptionalFetch = None

    _lazy: LazyGuard = PrivateAttr()

    def __init__(self, source: AnyGuard | str | Path | None = None, /, **data: Any) -> None:
        owner = type(self).__name__
        given = with_source(source, data, "guard", owner)
        guard = given.pop("guard", None)
        check_known(owner, given, {*type(self).model_fields, "guard"})
        check_option(
            "on_unsafe",
            given.get("on_unsafe", "mask"),
            _ON_UNSAFE,
            remedy="Use drop to leave flagged nodes out.",
        )
        preset = given.pop("preset", None)
        handle = guard_handle(preset, guard, owner=owner)
        super().__init__(preset=None if preset is None else str(preset), **given)
        self._lazy = handle

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex silently drops attributes that cannot be pickled; raise instead.
        self._lazy.require_preset()
        pickle.dumps(self.fetch)
        return super().__getstate__()

    def clean(self, nodes: Sequence[BaseNode]) -> Iterator[BaseNode | None]:
        """Yield each node after the guard, in order; None for a node that is dropped.

        A node without images is yielded itself, others as copies. The guard is loaded once the
        first image has been read.

        Raises:
            ImageRejected, MessageError: an image that the intake policy does not accept, or what
                could hold a picture and cannot be searched, if `on_refused` is "raise"; the
                message names the node.
            GuardError: a fault while guarding.
        """
        for start in range(0, len(nodes), self.batch_size):
            yield from self._clean_batch(nodes[start : start + self.batch_size])

    def _clean_batch(self, nodes: Sequence[BaseNode]) -> list[BaseNode | None]:
        read = [self._read(node) for node in nodes]
        pictures = [picture for finder, _ in read for picture in finder.pictures]
        images = self._lazy.get().sanitize_many(pictures) if pictures else []
        done, start = list[BaseNode | None](), 0
        for node, (finder, walked) in zip(nodes, read, strict=True):
            if finder.empty:
                # A second pass would return the same.
                done.append(rebuilt_node(walked, []))
                continue
            end = start + len(finder.pictures)
            done.append(self._cleaned(node, finder, images[start:end]))
            start = end
        return done

    def paged(self, node: BaseNode) -> list[BaseNode]:
        """A node for each page of a node's PDF files, if the preset says `intake.pdf: pages`."""
        return paged(node, f"node {node.node_id}", self._resolve)

    @property
    def _resolve(self) -> Resolver:
        return Resolver(self._lazy.config.intake, self.fetch)

    def _read(self, node: BaseNode) -> tuple[Finder, Any]:
        """Find and read everything in a node; the `WalkedNode` is no use if it is refused."""
        measurer = Measurer(self._resolve)

        def walk(visitor: Visitor) -> Any:
            return visitor.unit(
                lambda: self._walk(visitor, node), lambda notice: notice, node.node_id
            )

        with memory_faults("intake"):
            walked = measurer.measure(lambda: walk(measurer))
            finder = Finder(
                self._resolve, measurer.admission, lambda *_: self.on_refused == "raise"
            )
            if measurer.empty:
                # A second pass would find the same.
                return finder, walked
            return finder, finder.read(lambda: walk(finder))

    def _walk(self, visitor: Visitor, node: BaseNode) -> WalkedNode:
        walk = NodeWalk(visitor, self._resolve, allow_unscanned=self.allow_unscanned)
        return walk.node(node, f"node {node.node_id}")

    def _cleaned(
        self, node: BaseNode, finder: Finder, images: Sequence[SanitizedImage]
    ) -> BaseNode | None:
        flagged = any(item.verdict.flagged for item in images)
        refused = finder.refused
        if self.on_unsafe == "drop" and (flagged or refused):
            return None
        if self.on_refused == "drop" and refused:
            return None
        flag = self.on_unsafe == "flag"
        with showing(finder.slots, images, flag=flag) as shower:
            walked = shower.unit(lambda: self._walk(shower, node), lambda notice: notice, None)
        if not isinstance(walked, WalkedNode):
            # Nodes nested too deeply, of which nothing is known.
            return TextNode(id_=node.node_id, text=walked, metadata=flat_record(refused))
        records = [
            {key: value for key, value in item.verdict.to_json().items() if key != "source"}
            for slot, item in zip(finder.found, images, strict=True)
            if not slot.in_words or item.verdict.flagged
        ]
        return rebuilt_node(walked, [*records, *refused], flag=flag)


class GuardAlignNodePostprocessor(NodeGuard, BaseNodePostprocessor):
    """Scans the images of retrieved nodes, and masks, drops or flags them.

    It covers `ImageNode`, `ImageDocument`, and `Node`s with an image in any media resource. The
    resulting nodes are copies: the image is a file of the scanned pixels; paths, URLs and
    `metadata["file_path"]` are removed; `guardalign_…` metadata holds the verdict and the sha256 of
    the pixels; embeddings of changed images are cleared. Nodes without images and the order stay
    the same. The async methods do not block the event loop.

    Paths and URLs are read only if the preset's intake policy allows them; `fetch` gets the URLs
    instead of the policy. With the preset's `intake.pdf: pages`, a PDF file in a media resource
    becomes a node for each page, with its number as `page_label`.

    `SimpleMultiModalQueryEngine.image_query` calls no postprocessor: clean its images at ingestion,
    or use a guarded LLM.

    Args:
        preset: name of a built-in preset, or path of a YAML file; it needs no runner. There is no
            default: give a preset or a guard, by name or as the first argument.
        guard: a loaded `ImageGuard` instead of a preset; it cannot be pickled.
        on_unsafe: `mask`, `drop` or `flag`; `mask` keeps the text of a node with a blocked image.
        on_refused: of an image that cannot be read, show a `notice` that names the cause, `raise`
            the error, or `drop` the node.
        allow_unscanned: whether to keep nodes with a video, which cannot be scanned.
        batch_size: number of nodes whose images are in memory at once.
        fetch: gets the bytes behind an http(s) URL and decides which hosts it may ask.

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

    def __init__(self, source: AnyGuard | str | Path | None = None, /, **data: Any) -> None:
        # Repeated for type checkers: pydantic's mypy plugin would show the fields only.
        super().__init__(source, **data)

    @classmethod
    def class_name(cls) -> str:
        """Name in serialized form."""
        return "guardalign_node_postprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        kept = []
        nodes = [
            item if page is item.node else item.model_copy(update={"node": page})
            for item in nodes
            for page in self.paged(item.node)
        ]
        for item, node in zip(nodes, self.clean([item.node for item in nodes]), strict=True):
            if node is item.node:
                kept.append(item)
            elif node is not None:
                kept.append(item.model_copy(update={"node": node}))
        return kept


class GuardAlignImageTransform(NodeGuard, TransformComponent):
    """Scans the images of nodes in an `IngestionPipeline`, and masks, drops or flags them.

    Nodes are treated as by `GuardAlignNodePostprocessor`. Put it before the embeddings, which are
    then made from the cleaned pictures.

    Caching: the keys of a pipeline's cache cover the nodes' text and `to_dict`, but not their
    pictures; a different picture would get the result of the first one without being scanned.
    Therefore `to_dict` names the guard and differs for each call, so the guard always runs and
    leaves an unused cache entry. The keys of later transforms cover the picture's sha256 in the
    metadata; LlamaIndex reads metadata only beside a text, so a node without one gets an empty
    text.

    LlamaIndex does not serialize the bytes of a `MediaResource`: on a cache hit of a later
    transform, a `Node` or `ImageDocument` comes back without its picture. `ImageNode` keeps it.

    Args:
        show_progress: whether to show a progress bar; the call accepts the same keyword.
            The other arguments are those of `GuardAlignNodePostprocessor`.

    Example:
        ```python
        pipeline = IngestionPipeline(
            transformations=[GuardAlignImageTransform(preset="mini"), embed_model],
            cache=IngestionCache(),
        )
        nodes = pipeline.run(documents=documents)
        ```
    """

    show_progress: bool = Field(default=False, description="Whether to show a progress bar.")

    def __init__(self, source: AnyGuard | str | Path | None = None, /, **data: Any) -> None:
        # Repeated for type checkers: pydantic's mypy plugin would show the fields only.
        super().__init__(source, **data)

    @classmethod
    def class_name(cls) -> str:
        """Name in serialized form."""
        return "guardalign_image_transform"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Clean the images of nodes; the nodes themselves stay unchanged.

        Raises:
            ImageRejected, MessageError: what cannot be checked, if `on_refused` is "raise".
            GuardError: a fault while guarding.
        """
        warn_of_docstore(sys._getframe(1))
        return self._transformed(nodes, kwargs)

    def _transformed(self, nodes: Sequence[BaseNode], kwargs: dict[str, Any]) -> list[BaseNode]:
        show = bool(kwargs.get("show_progress", self.show_progress))
        nodes = [page for node in nodes for page in self.paged(node)]
        cleaned = get_tqdm_iterable(nodes, show, "Guarding images")
        kept = []
        for node, clean in zip(cleaned, self.clean(nodes), strict=True):
            if clean is not None:
                kept.append(clean if clean is node else _with_text(clean))
        return kept

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """`__call__` without blocking the event loop."""
        warn_of_docstore(sys._getframe(1))
        return await in_scan_thread(self._transformed, nodes, kwargs)

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """The fields, the guard's identity, and a number that is unique to each call."""
        data = super().to_dict(**kwargs)
        return {**data, _IDENTITY: self._lazy.identity, _CALL: uuid.uuid4().hex}

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: the data are of a loaded guard; give it as `guard=...`.
        """
        fields = {key: value for key, value in data.items() if key not in {_IDENTITY, _CALL}}
        return super().from_dict(fields, **kwargs)


def _with_text(node: BaseNode) -> BaseNode:
    """A node with a text, without which LlamaIndex's caches ignore the metadata."""
    if isinstance(node, Node) and node.text_resource is None:
        return node.model_copy(update={"text_resource": MediaResource(text="")})
    return node
