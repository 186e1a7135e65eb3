"""Refusals as the proxy's clients get them: in OpenAI's shape, at `/v1/messages` in Anthropic's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException


class SetupError(Exception):
    """The guardrail's section of the proxy's config is wrong; the text says what to change.

    No `ValueError` or `TypeError`: after one of these, LiteLLM starts without the guardrail.
    """


@contextmanager
def as_setup_errors() -> Iterator[None]:
    """Make a `SetupError` of what would let LiteLLM start without the guardrail."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise SetupError(
            f"The guardrail cannot be set up: {error}. Check its options in the proxy's config."
        ) from error


class Refused(HTTPException):
    """A request that goes to no model.

    The message becomes that of the error. Clients find `code`, and everything else, in the error's
    `provider_specific_fields`.

    Args:
        status: of HTTP.
        message: what is wrong, and what to do about it.
        code: stable name of the reason.
        found: the guard's verdicts; None where there are none.
    """

    def __init__(
        self, status: int, message: str, code: str, found: Mapping[str, Any] | None = None
    ) -> None:
        detail: dict[str, Any] = {"error": message, "code": code}
        if found is not None:
            detail["guardalign"] = dict(found)
        super().__init__(status, detail)
        self.message = message
        self.code = code


def unreachable(label: str, what: str) -> Refused:
    """The guard cannot be asked: nothing passes."""
    return Refused(
        503,
        f"The guard at {label} {what}. The request was not forwarded. Check that `guardalign "
        "serve` runs there, and api_base in the guardrail's section of the proxy's config.",
        "guard_unreachable",
    )


def unusable(
    label: str,
    what: str,
    remedy: str = "Check that api_base leads to `guardalign serve` of the same version.",
) -> Refused:
    """The guard's answer cannot be trusted: nothing passes."""
    message = f"The guard at {label} {what}. The request was not forwarded. {remedy}"
    return Refused(502, message, "guard_unusable")
