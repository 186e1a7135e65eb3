"""Errors in OpenAI's shape, and at `/v1/messages` in Anthropic's: this server has no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from guardalign_middleware.error_kinds import anthropic_kind, is_anthropic, openai_kind
from guardalign_middleware.errors import (
    AuditError,
    BudgetExceeded,
    ConfigError,
    ContextOverflow,
    GuardAlignError,
    GuardError,
    ImageRejected,
    MessageError,
    ModelLoadError,
    OutOfMemory,
    Overloaded,
)
from guardalign_middleware.wire import Failure

_LOGGER = logging.getLogger(__name__)
_RETRY_SECONDS = 1


class ErrorDetail(BaseModel):
    """What is wrong; `code` is stable."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """OpenAI's error."""

    error: ErrorDetail
    guardalign: Failure | None = None
    """The guard's own error, where there is one; `RemoteImageGuard` raises it again."""


class ApiError(HTTPException):
    """A refusal with its status.

    Args:
        status: of HTTP.
        message: what is wrong, and what the client can do about it.
        code: stable name of the reason.
        param: which field of the request.
        kind: OpenAI's type of the error; None = the usual one for the status.
        headers: more headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.message = message
        self.code = code
        self.param = param
        self.kind = kind or openai_kind(status)
        self.failure: Failure | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The error as JSON values."""
        body: dict[str, Any] = {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }
        if self.failure is not None:
            body["guardalign"] = self.failure.model_dump(exclude_none=True)
        return body

    @property
    def anthropic_body(self) -> dict[str, Any]:
        """The error as JSON values in Anthropic's shape, with OpenAI's fields beside."""
        kind = anthropic_kind(self.status_code)
        return {"type": "error", "error": {**self.body["error"], "type": kind}}

    def response_at(self, path: str) -> JSONResponse:
        """The error as a response of the endpoint at a path, in the shape of its clients."""
        body = self.anthropic_body if is_anthropic(path) else self.body
        return JSONResponse(body, self.status_code, self.headers)


def api_error(error: GuardAlignError) -> ApiError:
    """The refusal for an error of the guard.

    Bad input is 400; a full queue 429; a server that cannot go on 503, both with `Retry-After`; any
    other fault 500.
    """
    refusal = _refusal(error)
    refusal.failure = Failure.of(error)
    return refusal


def _refusal(error: GuardAlignError) -> ApiError:
    text = str(error)
    if isinstance(error, ImageRejected):
        return ApiError(400, text, code=error.reason, param=error.source or None)
    if isinstance(error, ContextOverflow):
        return ApiError(400, text, code="context_length_exceeded", param="messages")
    if isinstance(error, MessageError):
        return ApiError(400, text, code="invalid_message", param="messages")
    if isinstance(error, BudgetExceeded):
        return ApiError(413, text, code="too_much")
    if isinstance(error, ConfigError):
        return ApiError(400, text, code="invalid_value")
    if isinstance(error, Overloaded):
        return overloaded(text, _RETRY_SECONDS)
    if isinstance(error, OutOfMemory):
        return unavailable(text, _RETRY_SECONDS, code="out_of_memory")
    if isinstance(error, AuditError | ModelLoadError):
        return unavailable(text, _RETRY_SECONDS, code=type(error).__name__)
    if isinstance(error, GuardError):
        return ApiError(500, text, code=f"fault_at_{error.stage}")
    return ApiError(500, text)


def overloaded(message: str, retry_after: int) -> ApiError:
    """429: too many requests are at work."""
    return ApiError(429, message, code="overloaded", headers={"Retry-After": str(retry_after)})


def unavailable(message: str, retry_after: int, *, code: str = "unavailable") -> ApiError:
    """503: the server closes, or cannot go on."""
    return ApiError(503, message, code=code, headers={"Retry-After": str(retry_after)})


def install_errors(app: FastAPI, refusal_for: Callable[[Exception], ApiError]) -> None:
    """Give every error of this app one shape."""

    async def refused(request: Request, error: Exception) -> JSONResponse:
        return refusal_for(error).response_at(request.url.path)

    for kind in (GuardAlignError, StarletteHTTPException, RequestValidationError):
        app.add_exception_handler(kind, refused)


def as_api_error(error: Exception) -> ApiError:
    """The refusal for an error; only its type is logged, because its text may hold content."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, GuardAlignError):
        refusal = api_error(error)
        if refusal.status_code >= 500:
            _LOGGER.error("A request failed: %s (%s).", type(error).__name__, refusal.code)
        return refusal
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, StarletteHTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        return ApiError(error.status_code, str(error.detail), code=code, headers=error.headers)
    _LOGGER.error("A request failed: %s.", type(error).__name__)
    return ApiError(500, f"Internal error: {type(error).__name__}.", code="internal_error")


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a route declares in the OpenAPI."""
    return {status: {"model": ErrorBody, "description": _MEANING[status]} for status in statuses}


_MEANING = {
    400: "The request is invalid, or asks for something that is not supported.",
    401: "The key is missing or wrong.",
    403: "The host or origin is not allowed.",
    404: "There is no such model or endpoint.",
    405: "The endpoint has no such method.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    415: "The body is of the wrong type.",
    422: "The request cannot be processed.",
    429: "Too many requests are at work.",
    500: "A fault; nothing was allowed.",
    502: "The upstream failed.",
    503: "The server is closing or cannot go on.",
    504: "The upstream took too long.",
}
WORK_ERRORS = (400, 401, 403, 408, 413, 415, 429, 500, 503)
"""What every route that does work can answer."""


def _invalid(error: RequestValidationError) -> ApiError:
    """The first problem, without its value."""
    problems = error.errors()
    # Of a field that takes several types, the error that lies deepest in the body is meant.
    same = [each for each in problems if each["loc"][:2] == problems[0]["loc"][:2]]
    first = max(same, key=lambda each: len(_path(each["loc"], error.body)))
    param = ".".join(_path(first["loc"], error.body)) or None
    if first["type"] == "extra_forbidden":
        return ApiError(
            400, f"{param} is not supported.", code="unsupported_parameter", param=param
        )
    if first["type"] == "missing":
        message = f"{param or 'The body'} is missing."
        return ApiError(400, message, code="missing_required_parameter", param=param)
    return ApiError(
        400, f"{param or 'The body'} is invalid: {first['msg']}.", code="invalid_value", param=param
    )


def _path(place: Sequence[Any], body: Any) -> list[str]:
    """Where in the body a problem is; pydantic also names the type that it tried."""
    names: list[str] = []
    for part in place[1:]:
        try:
            body = body[part]
        except (KeyError, IndexError, TypeError):
            if isinstance(body, dict):
                return [*names, str(part)]  # a field that is missing has a place, too
            continue  # a type that pydantic tried
        names.append(str(part))
    return names
