"""Answers of the local chain, whole or piece by piece, for the routes of every protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from guardalign_middleware.errors import BudgetExceeded
from guardalign_middleware.generation.options import GenerationOptions, Tools
from guardalign_middleware.generation.prompt.tool_calls import Answer, AnswerReader, ToolRunner
from guardalign_middleware.guard import GuardAlign, GuardedPrompt
from guardalign_middleware.guarded_stream import GuardedStream
from guardalign_middleware.replies import GuardedReply
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.service import Service


@dataclass(frozen=True)
class Call:
    """A tool call of an answer; `arguments` is JSON."""

    name: str
    arguments: str
    id: str


@dataclass(frozen=True)
class Complete:
    """A complete answer: its text without calls, and its calls."""

    text: str
    calls: tuple[Call, ...]
    reply: GuardedReply


class Answering:
    """One question to the chain.

    Args:
        service: its chain answers.
        tools: what the model may call.

    Raises:
        ApiError: 400, the model cannot call tools.
    """

    def __init__(self, service: Service, tools: Tools = ()) -> None:
        self._service = service
        self._chain = _chain_of(service)
        self._tools = tools
        self._template = tool_template_of(self._chain) if tools else None
        if tools and self._template is None:
            raise ApiError(
                400,
                f"The model {service.model!r} cannot call tools, so tools are not supported.",
                code="unsupported_parameter",
                param="tools",
            )

    async def prepare(self, messages: Sequence[Mapping[str, Any]]) -> GuardedPrompt:
        """Guard the conversation within the budget of a request.

        Raises:
            GuardAlignError: as `GuardAlign.prepare`; `BudgetExceeded` for too much of anything.
        """
        with self._service.budget():
            prompt = await in_scan_thread(self._chain.prepare, messages)
        most = self._service.config.max_text_characters
        count = sum(len(message.text) for message in prompt.messages)
        if count > most:
            raise BudgetExceeded(
                f"The request has {count:,} characters of text; at most {most:,} are accepted.",
                remedy="Shorten the conversation.",
            )
        return prompt

    async def whole(self, prompt: GuardedPrompt, options: GenerationOptions) -> Complete:
        """The answer in one piece."""
        reply = await self._chain.areply(prompt, **self._with_tools(options))
        reader = self._reader()
        if reader is None or reply.finish_reason == "blocked":
            return Complete(reply.text, (), reply)
        reader.feed(reply.text)
        return _complete(reader.finish()[1], reply)

    async def start(self, prompt: GuardedPrompt, options: GenerationOptions) -> GuardedStream:
        """Begin an answer; errors of the prompt and a full queue are raised here."""
        # Starting the stream resizes images for the model, so it runs in a thread.
        stream = self._chain.stream_reply
        return await asyncio.to_thread(stream, prompt, **self._with_tools(options))

    async def pieces(self, stream: GuardedStream) -> AsyncGenerator[str | Complete, None]:
        """The texts of an answer as it is generated, and at the end all of it."""
        reader = self._reader()
        said = ""
        async for chunk in stream:
            text, reply, answer = chunk.text, chunk.reply, None
            if reader is not None and not (reply and reply.finish_reason == "blocked"):
                text = reader.feed(text)
                if reply is not None:
                    rest, answer = reader.finish()
                    # A call that cannot be read is shown as it was written.
                    text += rest or answer.broken.removeprefix(said + text)
            said += text
            if text:
                yield text
            if reply is not None:
                yield Complete(said, (), reply) if answer is None else _complete(answer, reply)

    def _reader(self) -> AnswerReader | None:
        if not self._tools or self._template is None:
            return None
        return AnswerReader(self._template, self._tools)

    def _with_tools(self, options: GenerationOptions) -> GenerationOptions:
        return {**options, "tools": self._tools} if self._tools else options


def tool_template_of(chain: GuardAlign) -> Mapping[str, Any] | None:
    """How the model writes tool calls; None if it cannot call any."""
    runner = chain.runner
    return runner.tool_template if isinstance(runner, ToolRunner) else None


def _chain_of(service: Service) -> GuardAlign:
    if service.chain is None:
        raise ApiError(404, "This server only guards; no model answers here.", code="no_model")
    return service.chain


def _complete(answer: Answer, reply: GuardedReply) -> Complete:
    calls = tuple(
        Call(call.name, json.dumps(dict(call.arguments), ensure_ascii=False), f"call_{uuid4().hex}")
        for call in answer.calls
    )
    return Complete(answer.broken or answer.text, calls, reply)
