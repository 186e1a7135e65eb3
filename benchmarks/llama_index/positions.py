"""The positions of LlamaIndex's programs in which a picture can stand.

Each is a function of an image file and returns its cases by name. A case runs a program with or
without the guard, and returns what must not hold the raw picture: what the LLM was sent, or what
the pipeline stored.
"""

from __future__ import annotations

from benchmarks.llama_index.message_positions import MESSAGE_POSITIONS
from benchmarks.llama_index.node_positions import NODE_POSITIONS

POSITIONS = {**MESSAGE_POSITIONS, **NODE_POSITIONS}
