"""The model's prompt: the conversation with its safety prefix, the token spans, and tool calls."""
