"""The lines that put a preset into a program."""

from __future__ import annotations

from pathlib import Path


def programs(preset: Path, *, answers: bool) -> tuple[tuple[str, str], ...]:
    """What it is for, and its lines.

    Args:
        preset: the .yaml file.
        answers: whether it has a model that answers, or guards another one.
    """
    name = preset.resolve().as_posix()
    return (*(_local(name) if answers else _in_front(name)), _client(name, answers=answers))


def _local(name: str) -> tuple[tuple[str, str], ...]:
    return (
        (
            "LangChain",
            "from langchain_guardalign import ChatGuardAlign\n"
            f"model = ChatGuardAlign(preset={name!r})  # was: ChatOpenAI(...)\n"
            "model.invoke([question])",
        ),
        (
            "LlamaIndex",
            "from llama_index.llms.guardalign import GuardAlignMultiModal\n"
            f"llm = GuardAlignMultiModal(preset={name!r})  # was: OpenAI(...)\n"
            "llm.chat([question])",
        ),
    )


def _in_front(name: str) -> tuple[tuple[str, str], ...]:
    return (
        (
            "LangChain",
            "from langchain_guardalign import ImageGuardRunnable\n"
            f"guarded = ImageGuardRunnable(preset={name!r}) | model  # your chat model\n"
            "guarded.invoke([question])",
        ),
        (
            "LlamaIndex",
            "from llama_index.llms.guardalign import GuardAlignGuardedLLM\n"
            f"guarded = GuardAlignGuardedLLM(llm=llm, preset={name!r})  # your LLM\n"
            "guarded.chat([question])",
        ),
    )


def _client(name: str, *, answers: bool) -> tuple[str, str]:
    upstream = "" if answers else " --upstream https://api.openai.com/v1"
    return (
        "OpenAI client",
        f"# guardalign serve --preset {name}{upstream}\n"
        'client = openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="unused")\n'
        "client.chat.completions.create(model=..., messages=[question])",
    )
