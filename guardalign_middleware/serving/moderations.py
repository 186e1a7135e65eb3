"""`/v1/moderations`: OpenAI's question about pictures, answered by the guard."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from guardalign_middleware.intake.part import load_part
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.serving.errors import WORK_ERRORS, ApiError, error_responses
from guardalign_middleware.serving.routes import StrictBody, strict_router
from guardalign_middleware.serving.service import Service
from guardalign_middleware.turns import Turn
from guardalign_middleware.types import Verdict

_NAMES = "omni-moderation-"


class ImageUrl(StrictBody):
    """A `data:` URL, or one whose host the intake policy allows."""

    url: str


class ImageInput(StrictBody):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


class TextInput(StrictBody):
    """A text, which is refused: the guard judges pictures."""

    type: Literal["text"]
    text: str


Part = Annotated[ImageInput | TextInput, Field(discriminator="type")]


class ModerationRequest(StrictBody):
    """OpenAI's request, with pictures as its input.

    `model` is that of this server, or the name of OpenAI's own moderation, which its clients send.
    """

    input: str | list[str] | list[Part]
    model: str | None = None


class ModerationResult(StrictBody):
    """What was found in all pictures together.

    `category_scores` are 1 − the distance of the nearest patch, cut to 0 to 1. They are no
    probabilities, and categories have thresholds of their own: read `flagged` and `categories`.
    """

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["image"]]]


class ModerationResponse(StrictBody):
    """OpenAI's answer, with the guard's verdicts in the order of the pictures."""

    id: str
    model: str
    results: list[ModerationResult]
    guardalign: dict[str, Any]


def moderations_router(service: Service) -> APIRouter:
    """`/v1/moderations`."""
    router = strict_router()

    @router.post(
        "/v1/moderations",
        responses=error_responses(*WORK_ERRORS, 404),
        tags=["guard"],
    )
    async def moderate(request: ModerationRequest) -> ModerationResponse:
        """Judge pictures by the categories of the guard; texts are refused."""
        if request.model is not None and not request.model.startswith(_NAMES):
            service.require_model(request.model)
        pictures = _pictures(request.input)
        service.guards_alone()
        verdicts = await in_scan_thread(_scanned, service, pictures)
        return ModerationResponse(
            id=f"modr-{uuid.uuid4().hex}",
            model=service.model,
            results=[result_of(verdicts, _categories(service))],
            guardalign={"verdicts": [verdict.to_json() for verdict in verdicts]},
        )

    return router


def result_of(verdicts: Sequence[Verdict], categories: Sequence[str] = ()) -> ModerationResult:
    """What was found in pictures, as OpenAI puts it.

    Args:
        verdicts: on all of them.
        categories: that the guard looks for; what the verdicts name is added.
    """
    unsafe: set[str] = set()
    scores = dict.fromkeys(categories, 0.0)
    for verdict in verdicts:
        near = zip(
            verdict.evidence.patch_categories,
            verdict.evidence.patch_distances.tolist(),
            strict=True,
        )
        said = [(each.category, each.distance) for each in verdict.regions if each.kind == "words"]
        for name, distance in (*near, *said):
            scores[name] = max(scores.get(name, 0.0), min(1.0 - distance, 1.0))
        if verdict.flagged:
            hidden = [each.category for each in verdict.regions if each.action != "flag"]
            unsafe.update(hidden or [verdict.category])
    names = sorted({*scores, *unsafe})
    return ModerationResult(
        flagged=any(verdict.flagged for verdict in verdicts),
        categories={name: name in unsafe for name in names},
        category_scores={name: scores.get(name, 1.0) for name in names},
        category_applied_input_types={name: ["image"] for name in names},
    )


def _pictures(given: str | Sequence[Any]) -> list[ImageInput]:
    """The pictures of a request.

    Raises:
        ApiError: 400, it holds texts or nothing.
    """
    parts = [part for part in given if isinstance(part, ImageInput)]
    if isinstance(given, str) or len(parts) < len(given):
        raise ApiError(
            400,
            "The guard judges pictures, not texts. Send only parts of the type image_url.",
            code="unsupported_input",
            param="input",
        )
    if not parts:
        raise ApiError(400, "input holds no picture.", code="invalid_value", param="input")
    return parts


def _scanned(service: Service, parts: Sequence[ImageInput]) -> list[Verdict]:
    guard = service.guard
    # A client of another machine names no file of this one, whatever the policy says of messages.
    policy = guard.config.intake.model_copy(update={"allow_paths": False})
    with service.budget():
        frames = [
            guard.load(frame)
            for place, part in enumerate(parts)
            for frame in load_part(part.model_dump(), f"input[{place}]", policy) or ()
        ]
    verdicts = guard.scan_many(frames, turns=[Turn("", len(frames))])
    service.count(verdicts)
    return verdicts


def _categories(service: Service) -> list[str]:
    meters = service.guard.detector.meters
    return [name for meter in meters for name in meter.anchors.categories]
