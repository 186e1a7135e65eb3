"""`GuardAlignIngestionPipeline`: cleans what goes in, before the document store can keep it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import BaseNode, Document, TransformComponent

from guardalign_middleware.scan_threads import in_scan_thread

_WARNING = (
    "This IngestionPipeline has a docstore, which keeps the raw documents: it stores what goes in, "
    "not what comes out of the transformations. Use GuardAlignIngestionPipeline(guard=…), or clean "
    "the documents first: pipeline.run(documents=transform(documents))."
)


class GuardAlignIngestionPipeline(IngestionPipeline):
    """An `IngestionPipeline` that cleans its input, for pipelines with a document store.

    A pipeline puts its input into its `docstore`, unchanged by its transformations, and persists
    it. Here the input is cleaned before anything else: document store, cache and transformations
    get cleaned nodes only, and duplicates are recognized by their hashes.

    Args:
        guard: a `GuardAlignImageTransform`; it need not be among the transformations.
            The other arguments are those of `IngestionPipeline`.

    Example:
        ```python
        pipeline = GuardAlignIngestionPipeline(
            guard=GuardAlignImageTransform(preset="guard.yaml"),
            transformations=[embed_model],
            docstore=SimpleDocumentStore(),
        )
        ```
    """

    _guard: TransformComponent = PrivateAttr()

    def __init__(self, *, guard: TransformComponent, **data: Any) -> None:
        super().__init__(**data)
        self._guard = guard

    def _prepare_inputs(
        self, documents: Sequence[Document] | None, nodes: Sequence[BaseNode] | None
    ) -> Sequence[BaseNode]:
        if isinstance(nodes, _Clean):
            return list(nodes)
        return self._guard(list(super()._prepare_inputs(documents, nodes)))

    async def arun(
        self,
        show_progress: bool = False,
        documents: list[Document] | None = None,
        nodes: Sequence[BaseNode] | None = None,
        **kwargs: Any,
    ) -> Sequence[BaseNode]:
        """`run` without blocking the event loop; the input is cleaned in a scan thread."""
        clean = await in_scan_thread(self._prepare_inputs, documents, nodes)
        return await super().arun(show_progress=show_progress, nodes=_Clean(clean), **kwargs)


class _Clean(list[BaseNode]):
    """Input that is cleaned already."""


def warn_of_docstore(frame: FrameType | None) -> None:
    """Warn if a transformation is called by a pipeline that stores its raw input.

    LlamaIndex tells a transformation nothing about its pipeline, so the callers are looked at.

    Args:
        frame: of the caller.
    """
    while frame is not None:
        pipeline = frame.f_locals.get("self")
        if isinstance(pipeline, IngestionPipeline):
            if pipeline.docstore is not None and not isinstance(
                pipeline, GuardAlignIngestionPipeline
            ):
                warnings.warn(_WARNING, UserWarning, stacklevel=3)
            return
        frame = frame.f_back
