"""What traces are told: the verdicts, and no pixels.

Callbacks see a message before any guard does, so the pictures have to be taken out where a tracer
sends its runs away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import BaseRunManager
from langchain_core.tracers import LangChainTracer
from langsmith import get_current_run_tree
from langsmith.run_trees import RunTree

from guardalign_middleware.errors import MessageError
from langchain_guardalign.message_walk import METADATA_KEY, note_images, summary

IMAGE_LEFT_OUT = "[image left out of the trace]"
UNREADABLE = "[left out of the trace: it could hold an image and cannot be read]"
_WORST_FIRST = ("block", "mask", "allow")


def without_images(value: Any) -> Any:
    """A copy of plain JSON values with a short text in the place of every image.

    This is LangSmith's `anonymizer`: it is applied to inputs, outputs, errors and metadata of every
    run, whoever made it.

    ```python
    from langsmith import Client
    from langchain_core.tracers import LangChainTracer
    from langchain_guardalign import without_images

    tracer = LangChainTracer(client=Client(anonymizer=without_images))
    ```

    Nothing is decoded or scanned. Addresses of images stay, for they are no pixels. A value with
    something unreadable in it is left out as a whole.
    """
    try:
        return note_images(value, IMAGE_LEFT_OUT)
    except MessageError:
        return {METADATA_KEY: UNREADABLE}


def tell_run(
    records: Sequence[Mapping[str, Any]], run_manager: BaseRunManager | None = None
) -> None:
    """Put what was found on the run, where LangSmith traces it; without images nothing is said.

    Args:
        records: one for each image.
        run_manager: of the run; None for the one that is current.
    """
    run = get_current_run_tree() if run_manager is None else _traced(run_manager)
    if run is None or not records:
        return
    decisions = {record.get("decision") for record in records}
    worst = next(decision for decision in _WORST_FIRST if decision in decisions)
    # LangSmith filters by flat values only.
    run.add_metadata({METADATA_KEY: summary(records), f"{METADATA_KEY}_decision": worst})


def _traced(run_manager: BaseRunManager) -> RunTree | None:
    for handler in run_manager.handlers:
        if isinstance(handler, LangChainTracer):
            return handler.run_map.get(str(run_manager.run_id))
    return None
