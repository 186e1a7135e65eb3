"""GuardAlign for LangChain: swap the chat model, and every image is checked before it is seen."""

from langchain_guardalign.chat_models import ChatGuardAlign

__all__ = ["ChatGuardAlign"]
