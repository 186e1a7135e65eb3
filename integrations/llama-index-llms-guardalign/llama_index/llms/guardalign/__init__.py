"""LlamaIndex adapters of GuardAlign Middleware."""

from llama_index.llms.guardalign.base import GuardAlignMultiModal
from llama_index.llms.guardalign.guarded_llm import GuardAlignGuardedLLM
from llama_index.llms.guardalign.ingestion import GuardAlignImageTransform
from llama_index.llms.guardalign.postprocessor import GuardAlignNodePostprocessor

__all__ = [
    "GuardAlignGuardedLLM",
    "GuardAlignImageTransform",
    "GuardAlignMultiModal",
    "GuardAlignNodePostprocessor",
]
