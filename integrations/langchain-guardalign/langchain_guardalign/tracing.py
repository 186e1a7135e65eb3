"""Verdicts on LangSmith's runs, and no pixels in them.

Callbacks see a message before any guard does, so pictures have to be removed where a tracer sends
its runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import BaseRunManager
from langchain_core.tracers import LangChainTracer
from langsmith import get_current_run_tree
from langsmith.run_trees import RunTree

from guardalign_middleware.errors import MessageError
from langchain_guardalign.message_walk import note_images
from langchain_guardalign.verdict_metadata import METADATA_KEY, summary, worst_decision

IMAGE_LEFT_OUT = "[image left out of the trace]"
VALUE_LEFT_OUT = "[left out of the trace: it could hold an image and cannot be read]"


def without_images(value: Any) -> Any:
    """Copy plain JSON values with a short text in place of every image.

    Use it as LangSmith's `anonymizer`, which is applied to inputs, outputs, errors and metadata of
    every run.

    ```python
    from langsmith import Client
    from langchain_core.tracers import LangChainTracer
    from langchain_guardalign import without_images

    tracer = LangChainTracer(client=Client(anonymizer=without_images))
    ```

    Nothing is decoded or scanned. URLs of images stay, because they hold no pixels. A value with
    something unreadable in it is left out as a whole.
    """
    try:
        return note_images(value, IMAGE_LEFT_OUT)
    except MessageError:
        return {METADATA_KEY: VALUE_LEFT_OUT}


def record_on_run(
    records: Sequence[Mapping[str, Any]], run_manager: BaseRunManager | None = None
) -> None:
    """Add the verdicts to the metadata of the run, if LangSmith traces it and there are any.

    Args:
        records: one for each image.
        run_manager: of the run; None for the current one.
    """
    run = get_current_run_tree() if run_manager is None else _traced_run(run_manager)
    if run is None or not records:
        return
    run.add_metadata(run_metadata(records))


def run_metadata(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the metadata of a run say about its images; nothing without images."""
    if not records:
        return {}
    # LangSmith filters only by flat values.
    return {METADATA_KEY: summary(records), f"{METADATA_KEY}_decision": worst_decision(records)}


def _traced_run(run_manager: BaseRunManager) -> RunTree | None:
    for handler in run_manager.handlers:
        if isinstance(handler, LangChainTracer):
            return handler.run_map.get(str(run_manager.run_id))
    return None
