"""The model's prompt: the conversation with its safety prefix, the token spans, and tool calls."""

from guardalign_middleware.local_extra import require_local

require_local()
