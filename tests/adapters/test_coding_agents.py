"""Agents that read, write, edit and search files change no byte of what is no picture."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from deepagents import create_deep_agent
from deepagents.backends import FilesystemBackend
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context
from pydantic import PrivateAttr

from guardalign_middleware.testing import red_guard
from langchain_guardalign import GuardAlignMiddleware, ImageGuardRunnable
from langchain_guardalign.testing import RecordingModel
from llama_index.llms.guardalign import GuardAlignGuardedLLM
from llama_index_support.conversations import ignore_agent_warnings
from llama_index_support.doubles import ToolLLM
from tests.support.repository import read, repository, write

pytestmark = [ignore_agent_warnings, pytest.mark.evidence]

TEXTS = repository()
# A conversation each: a history grows with every file in it.
TASKS = [list(TEXTS)[at : at + 7] for at in range(0, len(TEXTS), 7)]
EDITED = "an edited line"
Work = Generator[tuple[str, dict[str, Any]], str, None]


def line_of(text: str) -> str:
    """The longest line that stands there once."""
    return max((line for line in text.splitlines() if text.count(line) == 1), key=len)


def work(paths: Sequence[str]) -> Work:
    """What a coding agent does with files: each step is a tool and its arguments.

    It is sent what the tool returned. Each file is written back as it was read; then one line is
    changed.
    """
    for path in paths:
        text = TEXTS[path]
        seen = yield "read_file", {"file_path": path}
        seen = seen.removeprefix(seen[: seen.index(" @@\n") + 4]) if seen[:2] == "@@" else seen
        yield "write_file", {"file_path": path, "content": seen.removesuffix("\n") + "\n"}
        line = line_of(text)
        yield "edit_file", {"file_path": path, "old_string": line, "new_string": EDITED}
        yield "edit_file", {"file_path": path, "old_string": EDITED, "new_string": f"{line}!"}
    for pattern in ("base64", "iVBOR", "/9j/"):
        yield "grep", {"pattern": pattern}


def expected() -> dict[str, str]:
    """Each file with one character more, in its longest line."""
    return {path: text.replace(line_of(text), f"{line_of(text)}!") for path, text in TEXTS.items()}


class Coder(RecordingModel):
    """A model that works through a repository."""

    answers: list[AIMessage] = []
    paths: list[str]
    _work: Work = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        self._work = work(self.paths)

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.seen.append(messages)
        answer = AIMessage("Done.")
        try:
            last = None if len(self.seen) == 1 else messages[-1].text
            name, args = self._work.send(last)  # type: ignore[arg-type]
            answer = AIMessage(
                "", tool_calls=[{"name": name, "args": args, "id": f"{len(self.seen)}"}]
            )
        except StopIteration:
            pass
        return ChatResult(generations=[ChatGeneration(message=answer)])


def transcript(state: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (type(message), message.content, getattr(message, "tool_calls", None))
        for message in state["messages"]
    ]


def run_langchain(
    folder: Path,
    guard: Callable[[Any], Any] = lambda model: model,
    middleware: Sequence[Any] = (),
) -> list[tuple[Any, ...]]:
    """Every message of an agent that works through the repository in a folder."""
    write(folder, TEXTS)
    backend = FilesystemBackend(root_dir=folder, virtual_mode=True)
    said = []
    for paths in TASKS:
        model = guard(Coder(paths=paths))
        agent = create_deep_agent(model, backend=backend, middleware=middleware)
        said += transcript(agent.invoke({"messages": [HumanMessage("Work.")]}))
    return said


def test_langchain_with_the_files_of_deepagents(tmp_path: Path) -> None:
    unguarded = run_langchain(tmp_path / "unguarded")
    assert len(unguarded) > 8 * len(TEXTS)
    guarded = run_langchain(
        tmp_path / "agent", middleware=[GuardAlignMiddleware(guard=red_guard())]
    )
    behind = run_langchain(
        tmp_path / "model", guard=lambda model: ImageGuardRunnable(guard=red_guard()) | model
    )
    assert guarded == behind == unguarded
    for name in ("agent", "model", "unguarded"):
        assert read(tmp_path / name) == expected()


class CoderLLM(ToolLLM):
    """An LLM that works through a repository."""

    paths: list[str]
    _work: Work = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._work = work(self.paths)

    def _next(self, messages: Sequence[ChatMessage], kwargs: dict[str, Any]) -> ChatMessage:
        super()._next(messages, kwargs)
        try:
            last = None if len(self.calls) == 1 else messages[-1].content
            name, args = self._work.send(last)  # type: ignore[arg-type]
        except StopIteration:
            return ChatMessage(role="assistant", content="Done.")
        block = ToolCallBlock(tool_name=name, tool_kwargs=args, tool_call_id=f"{len(self.calls)}")
        return ChatMessage(role="assistant", blocks=[block])


def tools(folder: Path) -> list[FunctionTool]:
    """Functions as a coding agent has them."""

    def at(file_path: str) -> Path:
        return folder / file_path.lstrip("/")

    def read_file(file_path: str) -> str:
        """Read a file."""
        return at(file_path).read_bytes().decode()

    def write_file(file_path: str, content: str) -> str:
        """Write a file."""
        at(file_path).write_bytes(content.encode())
        return "Written."

    def edit_file(file_path: str, old_string: str, new_string: str) -> str:
        """Replace a text in a file."""
        text = read_file(file_path)
        assert old_string in text
        return write_file(file_path, text.replace(old_string, new_string))

    def grep(pattern: str) -> list[str]:
        """Search all files."""
        return [
            line for text in read(folder).values() for line in text.splitlines() if pattern in line
        ]

    functions: list[Callable[..., Any]] = [read_file, write_file, edit_file, grep]
    return [FunctionTool.from_defaults(function) for function in functions]


async def run_llama_index(
    folder: Path, guard: Callable[[Any], Any] = lambda llm: llm
) -> list[tuple[Any, ...]]:
    """What the memory of an agent holds that works through the repository in a folder."""
    write(folder, TEXTS)
    said = []
    for paths in TASKS:
        agent = FunctionAgent(
            llm=guard(CoderLLM(paths=paths)), tools=tools(folder), streaming=False
        )
        context = Context(agent)
        await agent.run(user_msg="Work.", ctx=context, max_iterations=1000)
        memory = await context.store.get("memory")
        said += [(message.role, message.blocks) for message in await memory.aget_all()]
    return said


async def test_llama_index(tmp_path: Path) -> None:
    unguarded = await run_llama_index(tmp_path / "unguarded")
    assert len(unguarded) > 8 * len(TEXTS)
    guarded = await run_llama_index(
        tmp_path / "guarded", lambda llm: GuardAlignGuardedLLM(llm=llm, guard=red_guard())
    )
    assert guarded == unguarded
    for name in ("guarded", "unguarded"):
        assert read(tmp_path / name) == expected()
