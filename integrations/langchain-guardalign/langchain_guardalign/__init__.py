"""GuardAlign for LangChain: every image is checked before a model sees it.

`ChatGuardAlign` is a local model with its own guard, and `GuardedChatModel` any chat model behind
one. `ImageGuardRunnable`, `GuardAlignMiddleware` and `ImageGuardDocumentTransformer` guard chains,
agents and documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_guardalign.chat_models import ChatGuardAlign
from langchain_guardalign.documents import ImageGuardDocumentTransformer
from langchain_guardalign.errors import ImageBlocked
from langchain_guardalign.guarded_model import GuardedChatModel
from langchain_guardalign.runnable import ImageGuardRunnable
from langchain_guardalign.tracing import without_images

if TYPE_CHECKING:
    from langchain_guardalign.middleware import GuardAlignMiddleware

__all__ = [
    "ChatGuardAlign",
    "GuardAlignMiddleware",
    "GuardedChatModel",
    "ImageBlocked",
    "ImageGuardDocumentTransformer",
    "ImageGuardRunnable",
    "without_images",
]


def __getattr__(name: str) -> object:
    # Only the middleware needs langchain itself; everything else works with langchain-core.
    if name != "GuardAlignMiddleware":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from langchain_guardalign.middleware import GuardAlignMiddleware
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] not in {"langchain", "langgraph"}:
            raise
        raise ImportError(
            "GuardAlignMiddleware needs langchain, which is not installed. "
            'Run: pip install "langchain-guardalign[agents]"'
        ) from error
    return GuardAlignMiddleware


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
