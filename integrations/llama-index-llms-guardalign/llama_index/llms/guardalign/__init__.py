"""LlamaIndex adapters of GuardAlign Middleware."""

from llama_index.llms.guardalign.base import GuardAlignMultiModal

__all__ = ["GuardAlignMultiModal"]
