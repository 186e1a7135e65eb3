"""Guards for the pictures that agents show their models: a module for each framework.

`guardalign_agents.openai` for the OpenAI Agents SDK, `guardalign_agents.pydantic_ai` and
`guardalign_agents.haystack`; each needs the extra of its name.
"""

from guardalign_agents.guarding import ImageBlocked

__all__ = ["ImageBlocked"]
