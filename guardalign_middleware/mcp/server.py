"""The process around the proxy for HTTP."""

from __future__ import annotations

import signal
import socket
from types import FrameType

import uvicorn

from guardalign_middleware.listening import is_loopback
from guardalign_middleware.mcp.app import create_app
from guardalign_middleware.mcp.guard import MessageGuard
from guardalign_middleware.mcp.upstream import Upstream

_CLOSE_SECONDS = 3


class ProxyServer(uvicorn.Server):
    """Ends after a signal; streams that are open then are closed, and clients resume them.

    Args:
        guard: cleans.
        upstream: the server behind it.
        local: whether only programs of this machine may ask.
    """

    def __init__(self, guard: MessageGuard, upstream: Upstream, *, local: bool = True) -> None:
        self.signal: int | None = None
        self._upstream = upstream
        super().__init__(
            uvicorn.Config(
                create_app(guard, upstream, local=local),
                http="h11",
                ws="none",
                lifespan="off",
                # Queries can hold keys.
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_CLOSE_SECONDS,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; the second time, at once."""
        self.signal = sig
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections of clients, and then those to the server behind."""
        await super().shutdown(sockets)
        await self._upstream.close()


def serve(guard: MessageGuard, upstream: Upstream, bound: socket.socket) -> int:
    """Serve until a signal; the exit status for it."""
    server = ProxyServer(guard, upstream, local=is_loopback(bound.getsockname()[0]))
    server.run([bound])
    return 128 + signal.SIGINT if server.signal == signal.SIGINT else 0
