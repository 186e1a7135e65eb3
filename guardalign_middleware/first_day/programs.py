"""Programs that use a preset; each runs as it is printed, beside a picture `photo.jpg`."""

from __future__ import annotations

import shlex
from pathlib import Path

from guardalign_middleware.config import GuardAlignConfig

_MODEL = "gpt-5.4"
"""Of another service, in its place."""
_UPSTREAM = " --upstream https://api.openai.com/v1 --upstream-key-env OPENAI_API_KEY"
_PARTS = (
    'picture = base64.b64encode(Path("photo.jpg").read_bytes()).decode()',
    'question = {"role": "user", "content": [',
    '    {"type": "text", "text": "What is in the picture?"},',
    '    {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}}]}',
)
_BLOCKS = (
    'photo = ImageBlock(image=Path("photo.jpg").read_bytes())',
    'text = TextBlock(text="What is in the picture?")',
    'question = ChatMessage(role="user", blocks=[text, photo])',
)


def programs(preset: Path, config: GuardAlignConfig) -> tuple[tuple[str, str], ...]:
    """What each program is for, and its lines.

    Args:
        preset: the .yaml file.
        config: what is in it: with a model that answers, or for a guard before another one.
    """
    name, local = preset.resolve().as_posix(), config.runner is not None
    found = {
        "LangChain": _langchain(name) if local else _langchain_in_front(name),
        "LlamaIndex": _llama_index(name) if local else _llama_index_in_front(name),
        "OpenAI client": _client(name, config),
    }
    return tuple((what, "\n".join(lines)) for what, lines in found.items())


def _langchain(name: str) -> tuple[str, ...]:
    return (
        "import base64",
        "from pathlib import Path",
        "from langchain_guardalign import ChatGuardAlign",
        *_PARTS,
        f"model = ChatGuardAlign(preset={name!r})  # was: ChatOpenAI(...)",
        "print(model.invoke([question]).text)",
    )


def _langchain_in_front(name: str) -> tuple[str, ...]:
    return (
        "import base64",
        "from pathlib import Path",
        "from langchain_guardalign import ImageGuardRunnable",
        "from langchain_openai import ChatOpenAI",
        *_PARTS,
        f'model = ChatOpenAI(model="{_MODEL}")  # or any other chat model',
        f"guarded = ImageGuardRunnable(preset={name!r}) | model",
        "print(guarded.invoke([question]).text)",
    )


def _llama_index(name: str) -> tuple[str, ...]:
    return (
        "from pathlib import Path",
        "from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock",
        "from llama_index.llms.guardalign import GuardAlignMultiModal",
        *_BLOCKS,
        f"llm = GuardAlignMultiModal(preset={name!r})  # was: OpenAI(...)",
        "print(llm.chat([question]))",
    )


def _llama_index_in_front(name: str) -> tuple[str, ...]:
    return (
        "from pathlib import Path",
        "from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock",
        "from llama_index.llms.guardalign import GuardAlignGuardedLLM",
        "from llama_index.llms.openai import OpenAI",
        *_BLOCKS,
        f'llm = OpenAI(model="{_MODEL}")  # or any other LLM',
        f"guarded = GuardAlignGuardedLLM(llm=llm, preset={name!r})",
        "print(guarded.chat([question]))",
    )


def _client(name: str, config: GuardAlignConfig) -> tuple[str, ...]:
    local = config.runner is not None
    preset = shlex.quote(name)
    model = (config.serve.model_name or config.name) if local else _MODEL
    return (
        # Before another service, the server holds its key: the client's stays here.
        f"# while this runs: guardalign serve --preset {preset}{'' if local else _UPSTREAM}",
        "import base64",
        "from pathlib import Path",
        "import openai",
        *_PARTS,
        'client = openai.OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="unused")',
        f"answer = client.chat.completions.create(model={model!r}, messages=[question])",
        "print(answer.choices[0].message.content)",
    )
