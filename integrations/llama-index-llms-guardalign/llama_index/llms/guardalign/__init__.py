"""LlamaIndex adapters of GuardAlign Middleware."""

from llama_index.llms.guardalign.errors import ImageBlocked
from llama_index.llms.guardalign.guarded_llm import GuardAlignGuardedLLM
from llama_index.llms.guardalign.memory import GuardAlignMemory, guard_memory
from llama_index.llms.guardalign.multi_modal import GuardAlignMultiModal
from llama_index.llms.guardalign.node_guards import (
    GuardAlignImageTransform,
    GuardAlignNodePostprocessor,
)
from llama_index.llms.guardalign.pipeline import GuardAlignIngestionPipeline

__all__ = [
    "GuardAlignGuardedLLM",
    "GuardAlignImageTransform",
    "GuardAlignIngestionPipeline",
    "GuardAlignMemory",
    "GuardAlignMultiModal",
    "GuardAlignNodePostprocessor",
    "ImageBlocked",
    "guard_memory",
]
