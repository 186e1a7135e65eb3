"""How the networks that read words are run: by ONNX Runtime, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def cpu_session(model: str | bytes, threads: int) -> InferenceSession:
    """A session for a model; what ONNX Runtime raises is left to the caller.

    Args:
        model: path of the file, or its content.
        threads: most of them that one pass uses.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Lines are short passes: threads that spin between them cost three times the processor's time,
    # and take it from the threads that work where cores are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Pictures of a thousand sizes would each keep their own share of an arena.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
