"""What the model reads: the conversation with its safety prefix, its spans, and tools."""
