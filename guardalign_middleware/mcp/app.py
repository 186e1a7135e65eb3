"""The proxy for streamable HTTP: one endpoint, which answers as the server behind it does."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from guardalign_middleware.errors import MessageError
from guardalign_middleware.listening import host_in, is_loopback
from guardalign_middleware.mcp.events import EventReader, message_in, type_of, with_message
from guardalign_middleware.mcp.guard import MessageGuard, Passed
from guardalign_middleware.mcp.messages import FAULT
from guardalign_middleware.mcp.pipes import LONGEST_LINE
from guardalign_middleware.mcp.upstream import (
    Headers,
    Upstream,
    UpstreamFailed,
    is_readable,
    passing,
    reply_headers,
    request_headers,
)

_LOGGER = logging.getLogger(__name__)
_EVENTS = "text/event-stream"


class HttpProxy:
    """Passes requests on, and cleans what comes back.

    Args:
        guard: cleans what the server sends and what the client answers.
        upstream: the server.
        local: whether only programs of this machine may ask. A web page cannot, because a browser
            names its origin.
    """

    def __init__(self, guard: MessageGuard, upstream: Upstream, *, local: bool = True) -> None:
        self._guard = guard
        self._upstream = upstream
        self._local = local

    async def handle(self, request: Request) -> Response:
        """Answer a request to the endpoint."""
        if not _is_allowed(request, local=self._local):
            return _failure(403, "This proxy answers programs of its own machine only.")
        if not is_readable(", ".join(request.headers.getlist("content-type"))):
            return _failure(415, "This proxy reads messages in UTF-8 only.")
        try:
            content = await self._content(request)
            headers = request_headers(request.headers.raw)
            query = request.query_params.multi_items()
            response = await self._upstream.open(request.method, headers, query, content)
        except UpstreamFailed as error:
            _LOGGER.error("%s", error)
            return _failure(502, str(error))
        except MessageError as error:
            return _failure(413, str(error))
        sent = passing(response.headers.raw)
        kind = response.headers.get("content-type", "")
        if not is_readable(kind):
            await response.aclose()
            return _failure(502, "The MCP server answers in another charset than UTF-8.")
        if kind.lower().startswith(_EVENTS):
            events = self._events(response, headers)
            return _with_headers(StreamingResponse(events, response.status_code), sent)
        try:
            return await self._body(response, headers, sent)
        except (UpstreamFailed, MessageError, httpx.TransportError) as error:
            _LOGGER.error("The answer cannot be passed on: %s", type(error).__name__)
            return _failure(502, "The answer of the MCP server cannot be passed on.")
        finally:
            await response.aclose()

    async def _content(self, request: Request) -> bytes | None:
        """The body of a request, cleaned if it is what the client's model has said."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            _check_length(len(body))
        if not body:
            return None if request.method in {"GET", "DELETE"} else b""
        seen = await self._guard.look(bytes(body), "client")
        if not seen.pictures:
            return bytes(body)
        return (await self._guard.clean(seen)).forward or b""

    async def _body(self, response: httpx.Response, asked: Headers, sent: Headers) -> Response:
        """A whole answer.

        Raises:
            UpstreamFailed: it is no message, and could be a picture.
        """
        data = bytearray()
        async for chunk in response.aiter_bytes():
            data += chunk
            _check_length(len(data))
        if not data:
            return _with_headers(Response(status_code=response.status_code), sent)
        passed = await self._passed(bytes(data), asked)
        if passed.forward is None:
            raise UpstreamFailed("The answer holds nothing that can be passed on.")
        return _with_headers(Response(passed.forward, response.status_code), sent)

    async def _events(
        self, response: httpx.Response, asked: Headers
    ) -> AsyncGenerator[bytes, None]:
        """The events of an answer, each as soon as it is there, in their order."""
        reader = EventReader()
        try:
            async for chunk in response.aiter_bytes():
                for event in reader.feed(chunk):
                    yield await self._event(event, asked)
            if rest := reader.end():
                yield await self._event(rest, asked)
        except (UpstreamFailed, MessageError, httpx.TransportError) as error:
            # It ends here; a client resumes after the last event that it has.
            _LOGGER.error("A stream was ended: %s", type(error).__name__)
        finally:
            await response.aclose()

    async def _event(self, event: bytes, asked: Headers) -> bytes:
        if type_of(event) == b"endpoint":
            raise UpstreamFailed("The older HTTP transport names an address past this guard.")
        message = message_in(event)
        if not message:
            return event
        passed = await self._passed(message, asked)
        return event if passed.forward == message else with_message(event, passed.forward)

    async def _passed(self, message: bytes, asked: Headers) -> Passed:
        """What goes on of a message; errors for the server are sent to it."""
        passed = await self._guard.clean(await self._guard.look(message, "server"))
        for reply in passed.replies:
            try:
                response = await self._upstream.open("POST", reply_headers(asked), (), reply)
                await response.aclose()
            except UpstreamFailed as error:
                _LOGGER.error("The server was not told of an error: %s", error)
        return passed


def create_app(guard: MessageGuard, upstream: Upstream, *, local: bool = True) -> Starlette:
    """The proxy as an application, at the path of the server's endpoint."""
    proxy = HttpProxy(guard, upstream, local=local)
    methods = ["GET", "POST", "DELETE"]
    return Starlette(routes=[Route(upstream.path, proxy.handle, methods=methods)])


def _is_allowed(request: Request, *, local: bool) -> bool:
    """Whether a request comes from a program, or from a page of the host that was asked."""
    host = host_in(f"//{request.headers.get('host', '')}")
    origin = request.headers.get("origin")
    named = host if origin is None else host_in(origin)
    if local:
        return is_loopback(host) and is_loopback(named)
    return origin is None or (named != "" and named == host)


def _check_length(length: int) -> None:
    if length > LONGEST_LINE:
        raise MessageError(f"A message has more than {LONGEST_LINE:,} bytes.")


def _with_headers(response: Response, headers: Headers) -> Response:
    own = [(name, value) for name, value in response.raw_headers if name == b"content-length"]
    given = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    response.raw_headers = [*given, *own]
    return response


def _failure(status: int, text: str) -> Response:
    error = {"code": FAULT, "message": text}
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error})
    return Response(body, status, media_type="application/json")
