"""Small HTTP servers on loopback addresses that can be slow, endless or malicious."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
Answer = bytes | Callable[[socket.socket], None]


def ok(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = ("HTTP/1.1 200 OK", f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join((*lines, *headers, "", "")).encode() + body


def redirect(location: str, *headers: str, status: int = 302) -> bytes:
    lines = (f"HTTP/1.1 {status} Found", f"Location: {location}", "Content-Length: 0")
    return "\r\n".join((*lines, *headers, "", "")).encode()


def drip(data: Iterable[int], seconds: float = 0.05) -> Callable[[socket.socket], None]:
    """Send byte after byte, each soon enough for a limit on single reads."""

    def send(connection: socket.socket) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(seconds)

    return send


class Server:
    """Answers by path and records all requests, heads and bodies."""

    def __init__(
        self,
        routes: Mapping[str, Answer],
        *,
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.routes = dict(routes)
        self.heads: list[str] = []
        self._tls = tls
        self._listener = socket.create_server((address, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._workers: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A blocked accept does not notice that its socket was closed; a shutdown wakes it.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *self._workers):
            thread.join(300)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            worker = threading.Thread(target=self._answer, args=(connection,), daemon=True)
            self._workers.append(worker)
            worker.start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(300)
            with suppress(OSError):
                if self._tls is None:
                    self._respond(connection)
                else:
                    with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                        self._respond(wrapped)

    def _respond(self, connection: socket.socket) -> None:
        request, size = b"", 0
        # Closing with a body left unread would reset the connection under the answer.
        while b"\r\n\r\n" not in request or len(request) < size:
            received = connection.recv(4096)
            if not received:
                return
            request += received
            head, end, _ = request.partition(b"\r\n\r\n")
            length = _LENGTH.search(head)
            size = len(head + end) + (int(length[1]) if length else 0)
        text = request.decode("latin-1")
        self.heads.append(text)
        answer = self.routes.get(text.split(" ")[1], b"HTTP/1.1 404 Not Found\r\n\r\n")
        if callable(answer):
            answer(connection)
        else:
            connection.sendall(answer)


def make_certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS context for a host name, and a client's that trusts no other server."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        + ["-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))
