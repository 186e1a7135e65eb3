"""Conversations of other models' APIs: every picture found, cleaned and put back."""

from guardalign_middleware.conversation.cleaner import (
    CleanedConversation,
    ConversationGuard,
    Handling,
)
from guardalign_middleware.conversation.dialects import (
    CHAT,
    DIALECTS,
    MESSAGES,
    RESPONSES,
    Dialect,
    dialect_of,
)

__all__ = [
    "CHAT",
    "DIALECTS",
    "MESSAGES",
    "RESPONSES",
    "CleanedConversation",
    "ConversationGuard",
    "Dialect",
    "Handling",
    "dialect_of",
]
