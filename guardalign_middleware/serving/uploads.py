"""Pictures as files: the body is one, or a form holds some, instead of base64 in JSON."""

from __future__ import annotations

import base64
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import Request, Response
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from guardalign_middleware.serving.errors import ApiError
from guardalign_middleware.serving.routes import StrictRequest, StrictRoute
from guardalign_middleware.wire.calls import MAX_LABEL

OPTIONS = frozenset({"evidence", "overlay", "picture", "view_seed"})
"""What a query or a form may hold beside pictures."""
FILES = "image"
_FORM = "multipart/form-data"
_FILES = ("application/octet-stream", "application/pdf")
_FILE = {"schema": {"type": "string", "format": "binary"}}
UPLOADED: dict[str, Any] = {
    "requestBody": {
        "content": {
            "image/*": _FILE,
            "application/octet-stream": _FILE,
            _FORM: {
                "schema": {
                    "type": "object",
                    "properties": {FILES: {"type": "array", "items": _FILE["schema"]}},
                    "required": [FILES],
                }
            },
        }
    }
}
"""For `openapi_extra`."""


class UploadRoute(StrictRoute):
    """A strict route whose pictures may also come as files, with options in the query or the form.

    They are then read as the JSON that they stand for, within the same limits.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler."""
        handler = super().get_route_handler()

        async def read(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == _FORM:
                request = _Uploaded(request, await _form(request))
            elif kind.startswith("image/") or kind in _FILES:
                pictures = [{"image": _base64(await request.body())}]
                options = _options(request.query_params.multi_items())
                request = _Uploaded(request, {"images": pictures, **options})
            return await handler(request)

        return read


class _Uploaded(StrictRequest):
    """A request that stands for this JSON."""

    def __init__(self, request: Request, sent: dict[str, Any]) -> None:
        headers = request.headers.mutablecopy()
        headers["content-type"] = "application/json"
        super().__init__({**request.scope, "headers": headers.raw}, request.receive)
        self._sent = sent

    async def body(self) -> bytes:
        """Not empty, so that `json` is asked for."""
        return b"{}"

    async def json(self) -> Any:
        """What the files and options stand for."""
        return self._sent


class _InMemory(MultiPartParser):
    spool_max_size = 2**62  # pictures of users are not written to a disk


async def _form(request: Request) -> dict[str, Any]:
    headers = Headers(raw=request.scope["headers"])
    _, parameters = parse_options_header(headers["content-type"])
    if not parameters.get(b"boundary"):
        raise ApiError(400, "The form has no boundary.", code="invalid_form")
    body = await request.body()

    async def stream() -> Any:
        yield body

    try:
        form = await _InMemory(headers, stream(), max_part_size=len(body)).parse()
    except (MultiPartException, ValueError) as error:
        raise ApiError(400, "The form is invalid.", code="invalid_form") from error
    try:
        return await _read(form.multi_items(), request.query_params.multi_items())
    finally:
        await form.close()


async def _read(
    fields: Iterable[tuple[str, str | UploadFile]], query: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    pictures: list[dict[str, Any]] = []
    said = list(query)
    for name, value in fields:
        if isinstance(value, str):
            said.append((name, value))
        elif name == FILES:
            pictures.append(await _picture(value))
        else:
            raise _unknown(name)
    return {"images": pictures, **_options(said)}


async def _picture(file: UploadFile) -> dict[str, Any]:
    name = (file.filename or "").replace("\\", "/").rpartition("/")[2][-MAX_LABEL:]
    label = {"source": name} if name and name.isprintable() else {}
    return {"image": _base64(await file.read()), **label}


def _options(said: Iterable[tuple[str, str]]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in said:
        if name not in OPTIONS:
            raise _unknown(name)
        if name in options:
            raise ApiError(400, f"{name} appears twice.", code="invalid_value", param=name)
        options[name] = value
    return options


def _unknown(name: str) -> ApiError:
    return ApiError(
        400,
        f"The field {name[:64]!r} is not supported. Pictures are in fields {FILES!r}.",
        code="unknown_parameter",
        param=name[:64],
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
