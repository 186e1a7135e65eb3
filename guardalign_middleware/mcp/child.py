"""The MCP server as a process: started, asked to end, and ended with everything that it started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.mcp.pipes import LineReader

GRACE_SECONDS = 10.0
"""For a server to end by itself, after there are no more requests for it."""
KILL_SECONDS = 1.5
"""After a signal; the official client kills this process two seconds after its own signal."""


class Child:
    """A server that talks on its standard streams.

    Its standard error is that of this process. It has a process group of its own, so that signals
    reach what it starts, such as the program behind `npx`.
    """

    def __init__(self, process: asyncio.subprocess.Process, output: int) -> None:
        self._process = process
        self.output = LineReader(output, owned=True)

    @classmethod
    async def start(cls, command: Sequence[str]) -> Child:
        """Start a command.

        Raises:
            ConfigError: it cannot be started.
        """
        if not hasattr(os, "killpg"):
            raise ConfigError(
                "A server on standard streams needs process groups, which this system lacks.",
                remedy="Run it behind streamable HTTP, and use --url.",
            )
        # A pipe of our own: it can be given up if a grandchild never closes it.
        output, written = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=written, start_new_session=True
            )
        except (OSError, ValueError) as error:
            os.close(output)
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigError(
                f"Cannot start {command[0]!r}: {reason}.",
                remedy="Give the command of the MCP server after --.",
            ) from error
        finally:
            os.close(written)
        return cls(process, output)

    async def write(self, data: bytes) -> None:
        """Send bytes; a server that has ended takes none."""
        stdin = self._process.stdin
        if stdin is not None and not stdin.is_closing():
            with suppress(BrokenPipeError, ConnectionResetError):
                stdin.write(data)
                await stdin.drain()

    def close_input(self) -> None:
        """Say that there are no more requests."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def wait(self) -> int:
        """Its exit status, as a shell says it."""
        status = await self._process.wait()
        return 128 - status if status < 0 else status

    async def end(self, number: int | None = None) -> None:
        """Make it end: with a signal, or by itself if it does so soon.

        Args:
            number: the signal; None gives it time to end by itself first.
        """
        if number is None and await self._ended(GRACE_SECONDS):
            return
        self.send(number or signal.SIGTERM)
        if not await self._ended(KILL_SECONDS):
            self.send(signal.SIGKILL)
            await self._process.wait()

    def send(self, number: int) -> None:
        """Send a signal to it and to what it has started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _ended(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            return False
        return True
