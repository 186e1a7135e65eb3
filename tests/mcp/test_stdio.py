"""The proxy on standard streams: what passes when, and how both sides end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from torch import Tensor

from guardalign_middleware.errors import ConfigError, MessageError
from guardalign_middleware.mcp import MessageGuard, child, pipes, stdio
from guardalign_middleware.testing import CountingEncoder, has_red, picture, png, red_guard
from tests.mcp.positions import asked, image, notified, tool
from tests.support.mcp_frames import line, pictures_in, stdio_session

UNSAFE = png(picture(red=True))
ECHO = ("cat",)
SHOT = json.dumps(tool(image(UNSAFE)))
# Shows a picture first.
SHOWS = ("sh", "-c", f"echo '{SHOT}'; exec cat")


def script(text: str) -> Sequence[str]:
    """A server of a few lines; -S -E starts it in a hundredth of a second."""
    return (sys.executable, "-S", "-E", "-c", text)


@pytest.fixture(scope="module")
def guard() -> MessageGuard:
    return MessageGuard.of(red_guard())


class Held(CountingEncoder):
    """Looks at pictures only when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may = threading.Event(), threading.Event()

    def encode_images(self, pixels: Tensor) -> Tensor:
        self.begun.set()
        assert self.may.wait(60)
        return super().encode_images(pixels)


@pytest.fixture
def held() -> tuple[MessageGuard, Held]:
    inner = red_guard()
    inner.detector.meters[0].encoder = encoder = Held()
    return MessageGuard.of(inner), encoder


async def test_messages_pass_to_the_byte_and_in_order(guard: MessageGuard) -> None:
    sent = [b'{"jsonrpc": "2.0",  "id": "%d", "method": "ping"}\r\n' % n for n in range(50)]
    async with stdio_session(guard, ECHO) as session:
        await session.say(b"".join(sent))
        assert [await session.hear() for _ in sent] == sent


async def test_pictures_are_cleaned(guard: MessageGuard) -> None:
    async with stdio_session(guard, SHOWS) as session:
        heard = json.loads(await session.hear())
    assert list(pictures_in(heard))
    assert not any(map(has_red, pictures_in(heard)))


async def test_a_huge_line(guard: MessageGuard) -> None:
    text = "words, words " * 400_000
    raw = line(tool({"type": "text", "text": text}))
    async with stdio_session(guard, ECHO) as session:
        await session.say(raw)
        assert await session.hear() == raw


async def test_a_line_without_end_at_the_end(guard: MessageGuard) -> None:
    async with stdio_session(guard, ("printf", '{"id": 1}')) as session:
        assert await session.hear() == b'{"id": 1}'


async def test_a_line_that_no_memory_holds_ends_it(
    guard: MessageGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipes.LineReader.__init__, "__kwdefaults__", {"owned": False, "longest": 9})
    with pytest.raises(MessageError, match="more than 9 bytes"):
        async with stdio_session(guard, ECHO) as session:
            await session.say(b"1234567890")


async def test_what_has_no_picture_waits_for_no_scan(held: tuple[MessageGuard, Held]) -> None:
    guard, encoder = held
    async with stdio_session(guard, SHOWS) as session:
        assert await asyncio.to_thread(encoder.begun.wait, 60)
        ping = line({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        await session.say(ping)
        assert await session.hear() == ping
        encoder.may.set()
        assert not any(map(has_red, pictures_in(json.loads(await session.hear()))))


async def test_a_cancelled_request_gets_no_answer(held: tuple[MessageGuard, Held]) -> None:
    guard, encoder = held
    cancel = line(notified("cancelled", requestId=7))
    async with stdio_session(guard, SHOWS) as session:
        assert await asyncio.to_thread(encoder.begun.wait, 60)
        await session.say(cancel)
        # The server hears of it, too; here it echoes.
        assert await session.hear() == cancel
        encoder.may.set()
        session.hang_up()
        assert await session.hear() == b""


async def test_a_request_that_the_server_takes_back_never_arrives(
    held: tuple[MessageGuard, Held],
) -> None:
    guard, encoder = held
    cancel = notified("cancelled", requestId=8)
    text = f"import sys; print({json.dumps(asked(image(UNSAFE)))!r}, flush=True)\n"
    text += f"sys.stdin.readline(); print({json.dumps(cancel)!r}, flush=True); print(3)"
    async with stdio_session(guard, script(text)) as session:
        assert await asyncio.to_thread(encoder.begun.wait, 60)
        await session.say(b"go on\n")
        assert await session.hear() == b"3\n"
        encoder.may.set()
        assert await session.hear() == b""


async def test_a_server_is_told_that_its_request_went_no_further() -> None:
    def make() -> Any:
        raise ConfigError("no guard")

    guard = MessageGuard(make)
    guard.load = lambda: None  # type: ignore[method-assign]
    text = f"import sys; print({json.dumps(asked(image(UNSAFE)))!r}, flush=True)\n"
    text += "print('[\"' + str(len(sys.stdin.readline())) + '\"]', flush=True)"
    async with stdio_session(guard, script(text)) as session:
        (length,) = json.loads(await session.hear())
        assert int(length) > 50


@pytest.mark.parametrize("status", [0, 7])
async def test_the_exit_status_passes(status: int, guard: MessageGuard) -> None:
    async with stdio_session(guard, ("sh", "-c", f"exit {status}")) as session:
        assert await session.proxy == status


async def test_a_server_that_was_killed(guard: MessageGuard) -> None:
    async with stdio_session(guard, ("sh", "-c", "kill -9 $$")) as session:
        assert await session.proxy == 128 + signal.SIGKILL


async def test_what_was_said_before_the_end_arrives(held: tuple[MessageGuard, Held]) -> None:
    guard, encoder = held
    text = f"print({SHOT!r})"
    async with stdio_session(guard, script(text)) as session:
        assert await asyncio.to_thread(encoder.begun.wait, 60)
        encoder.may.set()
        assert list(pictures_in(json.loads(await session.hear())))
        assert await session.proxy == 0


async def test_a_client_that_hangs_up_ends_the_server(guard: MessageGuard) -> None:
    async with stdio_session(guard, ECHO) as session:
        session.hang_up()
        assert await session.proxy == 0


async def test_a_server_that_does_not_hear_is_ended(
    guard: MessageGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "GRACE_SECONDS", 0.0)
    async with stdio_session(guard, ("sleep", "600")) as session:
        session.hang_up()
        assert await session.proxy == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_reaches_the_server(number: int, guard: MessageGuard) -> None:
    text = (
        "import signal, sys\nfor each in (2, 15): signal.signal(each, lambda n, _: sys.exit(n))\n"
    )
    text += "print(1, flush=True)\nsignal.pause()"
    async with stdio_session(guard, script(text)) as session:
        assert await session.hear() == b"1\n"
        os.kill(os.getpid(), number)
        assert await session.proxy == number


async def test_a_signal_that_is_ignored_is_followed_by_one_that_is_not(
    guard: MessageGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "KILL_SECONDS", 0.0)
    command = ("sh", "-c", "trap '' TERM; echo 1; sleep 600 & wait; sleep 600")
    async with stdio_session(guard, command) as session:
        assert await session.hear() == b"1\n"
        os.kill(os.getpid(), signal.SIGTERM)
        assert await session.proxy == 128 + signal.SIGKILL


async def test_a_client_that_reads_no_more_ends_the_server(guard: MessageGuard) -> None:
    command = ("sh", "-c", "while :; do echo 1; done")
    async with stdio_session(guard, command) as session:
        assert await session.hear() == b"1\n"
        session.go_away()
        assert await session.proxy == 128 + signal.SIGTERM


async def test_a_program_that_was_left_behind_holds_nobody_up(
    guard: MessageGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio, "_DRAIN_SECONDS", 0.1)
    async with stdio_session(guard, ("sh", "-c", "sleep 600 & echo 1")) as session:
        assert await session.hear() == b"1\n"
        assert await session.proxy == 0


async def test_no_such_command(guard: MessageGuard) -> None:
    with pytest.raises(ConfigError, match="Cannot start 'no-such-server': No such file"):
        async with stdio_session(guard, ("no-such-server",)):
            pass


async def test_a_system_without_process_groups(
    guard: MessageGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "killpg")
    with pytest.raises(ConfigError, match="use --url"):
        async with stdio_session(guard, ECHO):
            pass


async def test_a_guard_that_cannot_be_loaded_ends_the_server() -> None:
    def make() -> Any:
        raise ConfigError("no such preset")

    with pytest.raises(ConfigError, match="no such preset"):
        async with stdio_session(MessageGuard(make), ("sleep", "600")):
            pass
