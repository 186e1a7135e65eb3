"""The process around the app: its socket, slow clients, and an end that drops no answer."""

from __future__ import annotations

import logging
import socket
import sys
import time
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from guardalign_middleware.serving.service import Service

_FLUSH_SECONDS = 5
"""For the rest of answers on the way to slow readers, after the last request has ended."""
_EVENT_BYTES = 2**20
_LOGGER = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """Ends after a signal in two steps: first no more requests are taken, then it stops.

    New requests are answered with 503, and `/ready` with them, while those at work go on for at
    most `drain_seconds`. A second signal ends it at once.

    Args:
        app: from `create_app`.
        pages: whether the app has pages that keep a websocket open, and a lifespan.
    """

    def __init__(self, app: FastAPI, *, pages: bool = False) -> None:
        self._service: Service = app.state.service
        self._end_at: float | None = None
        self._resting: dict[Any, float] = {}
        self.signal: int | None = None
        if pages:
            # Like the access log, it would quote the query, in which is a visitor's id.
            logging.getLogger("uvicorn.error").addFilter(_quotes_no_query)
        super().__init__(
            uvicorn.Config(
                app,
                # Strict about how a body is framed, and all of it can be read.
                http="h11",
                ws="wsproto" if pages else "none",
                # Pictures are posted, so that their size is checked; events are small.
                ws_max_size=_EVENT_BYTES,
                lifespan="on" if pages else "off",
                # Its access log quotes the query; the app counts requests itself.
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_FLUSH_SECONDS,
            )
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; the second time, at once."""
        if self._end_at is not None:
            self._end_at = 0.0
            self.force_exit = True
            return
        self.signal = sig
        self._service.admission.drain()
        self._end_at = time.monotonic() + self._service.config.drain_seconds
        _LOGGER.info("Draining: %d requests are at work.", self._service.admission.at_work)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop."""
        if self._end_at is not None:
            late = time.monotonic() >= self._end_at
            if late:
                for task in self.server_state.tasks:
                    task.cancel()
            self.should_exit |= late or self._service.admission.at_work == 0
        self._close_silent_connections()
        return await super().on_tick(counter)

    def _close_silent_connections(self) -> None:
        """Close connections whose client sends no whole head, or reads no end, in time."""
        now, config = time.monotonic(), self._service.config
        resting = {}
        for connection in self.server_state.connections:
            if isinstance(connection, H11Protocol) and not _is_at_work(connection):
                resting[connection] = self._resting.get(connection, now)
                unread = connection.transport.get_write_buffer_size() > 0
                most = config.stalled_seconds if unread else config.body_seconds
                if now - resting[connection] > most:
                    connection.transport.abort()
        self._resting = resting


def _quotes_no_query(record: logging.LogRecord) -> bool:
    return '"WebSocket %s"' not in str(record.msg)


def _is_at_work(connection: H11Protocol) -> bool:
    cycle = connection.cycle
    answering = cycle is not None and not cycle.response_complete
    return answering and not connection.transport.is_closing()


def serve(app: FastAPI, bound: socket.socket, *, pages: bool = False) -> int | None:
    """Serve until a signal; returns it.

    Args:
        app: from `create_app`.
        bound: from `listening.bind`.
        pages: as for `DrainingServer`.
    """
    server = DrainingServer(app, pages=pages)
    server.run([bound])
    return server.signal


def log_to_stderr() -> None:
    """Show what the server says, one line each: no request's content is in it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("guardalign_middleware", "uvicorn"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
