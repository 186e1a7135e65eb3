"""A service behind the guard that records what it gets, on a loopback socket."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
PIECES = ("Blue", " thing")


@dataclass
class Recorded:
    """What came in, and what is to be answered.

    Attributes:
        requests: paths, headers and bodies, in order.
        sent: the bytes of the last stream.
        status, answer, kind: replace the next answer.
        go_on: a stream waits for it after its first piece.
        closed: set when a stream has ended before its end.
    """

    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    sent: bytes = b""
    status: int = 200
    answer: bytes | None = None
    kind: str = "application/json"
    go_on: threading.Event | None = None
    closed: threading.Event = field(default_factory=threading.Event)

    @property
    def body(self) -> Any:
        """The last request's."""
        return self.requests[-1][2]

    @property
    def headers(self) -> dict[str, str]:
        """The last request's."""
        return self.requests[-1][1]


@contextmanager
def recording(recorded: Recorded) -> Iterator[str]:
    """Serve the service on a free port; gives its URL. Tests need the marker `allow_hosts`."""
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(upstream_app(recorded), log_config=None, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        # Requests wait until the server has started.
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the upstream did not stop"


@dataclass
class Raw:
    """What a service says that no library would send.

    Attributes:
        reply: the bytes of every response; the connection ends with them.
    """

    reply: bytes = b""

    def says(self, body: bytes, *headers: str, status: int = 200) -> None:
        """Answer with a body and these headers, as they are."""
        head = (f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers, "", "")
        self.reply = "\r\n".join(head).encode() + body


@contextmanager
def saying(raw: Raw) -> Iterator[str]:
    """Serve these bytes on a free port; gives its URL. Tests need the marker `allow_hosts`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.wfile.write(raw.reply)
            self.close_connection = True

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(60)


def upstream_app(recorded: Recorded) -> FastAPI:
    """The service; it answers in the form of the endpoint."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
    async def answer(path: str, request: Request) -> Response:
        data = await request.body()
        body = json.loads(data) if data else None
        recorded.requests.append((f"/{path}", dict(request.headers), body))
        headers = {"x-request-id": "req_1", "set-cookie": "a=b", "x-ratelimit-remaining": "7"}
        if recorded.answer is not None:
            return Response(recorded.answer, recorded.status, headers, recorded.kind)
        if isinstance(body, dict) and body.get("stream"):
            return StreamingResponse(
                _stream(recorded, path), media_type="text/event-stream", headers=headers
            )
        return JSONResponse(_whole(path, body), headers=headers)

    return app


async def _stream(recorded: Recorded, path: str) -> AsyncIterator[bytes]:
    recorded.sent = b""
    ended = False
    try:
        for number, piece in enumerate(events(path)):
            if number == 1 and recorded.go_on is not None:
                await asyncio.to_thread(recorded.go_on.wait, 30)
            recorded.sent += piece
            yield piece
        ended = True
    finally:
        if not ended:
            recorded.closed.set()


def _whole(path: str, body: Any) -> dict[str, Any]:
    text = "".join(PIECES)
    if path.endswith("models"):
        return {"object": "list", "data": [{"id": "m", "object": "model"}]}
    if "/models/" in path:
        return {"id": path.rpartition("/models/")[2], "object": "model"}
    if path.endswith("count_tokens"):
        return {"input_tokens": 3}
    if path.endswith("responses"):
        return _response("completed", [_item(text)])
    if path.endswith("messages"):
        return _message([{"type": "text", "text": text}], "end_turn")
    calls = {"tool_calls": [CALL]} if isinstance(body, dict) and body.get("tools") else {}
    message = {"role": "assistant", "content": text, **calls}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": USAGE,
    }


CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "look_up", "arguments": '{"word":  "fish"}'},
}


def _item(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part] if text else [],
    }


def _response(status: str, output: list[Any]) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": "m",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
    }


def _message(content: list[Any], stop: str | None) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    }


def events(path: str) -> list[bytes]:
    """The pieces of a stream, with odd spaces that a proxy must not touch."""
    if path.endswith("responses"):
        begun = _response("in_progress", [])
        done = _response("completed", [_item("".join(PIECES))])
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        return _named(
            ("response.created", {"response": begun}),
            ("response.output_item.added", {"output_index": 0, "item": _item("")}),
            (
                "response.content_part.added",
                {**place, "part": {"type": "output_text", "text": "", "annotations": []}},
            ),
            *(("response.output_text.delta", {**place, "delta": each}) for each in PIECES),
            ("response.completed", {"response": done}),
        )
    if path.endswith("messages"):
        deltas = ({"type": "text_delta", "text": each} for each in PIECES)
        stop = {"stop_reason": "end_turn", "stop_sequence": None}
        return _named(
            ("message_start", {"message": _message([], None)}),
            ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
            *(("content_block_delta", {"index": 0, "delta": delta}) for delta in deltas),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": stop, "usage": {"output_tokens": 2}}),
            ("message_stop", {}),
        )
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choices: list[list[dict[str, Any]]] = [
        *([{"index": 0, "delta": {"content": each}, "finish_reason": None}] for each in PIECES),
        [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    ]
    lines = [f"data:  {json.dumps({**chunk, 'choices': each})}\n\n" for each in choices]
    usage = f"data: {json.dumps({**chunk, 'choices': [], 'usage': USAGE})}\r\n\r\n"
    return [line.encode() for line in (*lines, usage, ": a comment\n\n", "data: [DONE]\n\n")]


def _named(*steps: tuple[str, dict[str, Any]]) -> list[bytes]:
    made = []
    for number, (name, fields) in enumerate(steps):
        data = json.dumps({"type": name, "sequence_number": number, **fields})
        made.append(f"event: {name}\ndata: {data}\n\n".encode())
    return made
