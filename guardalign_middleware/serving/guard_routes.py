"""`/v1/guard`: the guard itself, for `RemoteImageGuard` and for any other client."""

from __future__ import annotations

import base64
import io
from functools import cached_property, partial

from fastapi import APIRouter, Response

from guardalign_middleware.identity import guard_identity
from guardalign_middleware.sanitize import SanitizedImage
from guardalign_middleware.scan_threads import in_scan_thread
from guardalign_middleware.serving.errors import WORK_ERRORS, ApiError, error_responses
from guardalign_middleware.serving.routes import strict_router
from guardalign_middleware.serving.sent_images import frames_of
from guardalign_middleware.serving.service import Service
from guardalign_middleware.serving.uploads import UPLOADED, UploadRoute
from guardalign_middleware.turns import of_frames
from guardalign_middleware.unscanned import worst
from guardalign_middleware.wire import (
    GuardDescription,
    SanitizeRequest,
    SanitizeResponse,
    ScanRequest,
    ScanResponse,
    WireCleaning,
    WireVerdict,
)
from guardalign_middleware.wire.base import WireModel


def guard_router(service: Service) -> APIRouter:
    """`/v1/guard`, `/v1/guard/scan` and `/v1/guard/sanitize`."""
    router, uploads = strict_router(), APIRouter(route_class=UploadRoute)
    asked = _Asked(service)
    refusals = error_responses(*WORK_ERRORS)

    @router.get("/v1/guard", responses=error_responses(401, 403), tags=["guard"])
    async def describe() -> GuardDescription:
        """What the guard is: settings, fingerprint and limits."""
        return await in_scan_thread(lambda: asked.description)

    @uploads.post(
        "/v1/guard/scan",
        response_model=ScanResponse,
        responses=refusals,
        openapi_extra=UPLOADED,
        tags=["guard"],
    )
    async def scan(request: ScanRequest) -> Response:
        """Scan pictures; of a file of several frames, the worst one counts."""
        return await in_scan_thread(asked.scan, request)

    @uploads.post(
        "/v1/guard/sanitize",
        response_model=SanitizeResponse,
        responses=refusals,
        openapi_extra=UPLOADED,
        tags=["guard"],
    )
    async def sanitize(request: SanitizeRequest) -> Response:
        """Scan pictures and hide what is unsafe in them."""
        return await in_scan_thread(asked.sanitize, request)

    router.routes += uploads.routes
    return router


class _Asked:
    """Answers in a thread for scans, where waiting and decoding hold up nobody."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._guard = service.guard

    @cached_property
    def description(self) -> GuardDescription:
        """What clients are told; the fingerprint covers files, so it is made once."""
        config, limits = self._guard.config, self._service.config
        return GuardDescription.of(
            config,
            guard_identity(config, self._guard)["fingerprint"],
            max_body_bytes=limits.max_body_bytes,
            max_images=limits.max_images,
            max_pixels=limits.max_pixels,
            max_text_characters=limits.max_text_characters,
        )

    def scan(self, request: ScanRequest) -> Response:
        """The verdict on each file."""
        self._service.guards_alone()
        _check_turns(self._service, request)
        files = frames_of(self._service, request.images, single=False)
        frames = [frame for file in files for frame in file]
        seed = request.view_seed
        if seed is None:
            turns = of_frames([turn.read() for turn in request.turns], files)
            scanned = self._guard.scan_many(frames, turns=turns)
        else:
            scanned = [self._guard.scan(frame, view_seed=seed) for frame in frames]
        verdicts = worst(files, scanned)
        self._service.count(verdicts)
        return _response(
            ScanResponse(
                guard=self.description.guard,
                verdicts=tuple(
                    WireVerdict.of(verdict, evidence=request.evidence) for verdict in verdicts
                ),
            )
        )

    def sanitize(self, request: SanitizeRequest) -> Response:
        """Each picture, cleaned."""
        self._service.guards_alone()
        _check_turns(self._service, request)
        files = frames_of(self._service, request.images, single=True)
        images = [image for file in files for image in file]
        seed = request.view_seed
        if seed is None:
            turns = [turn.read() for turn in request.turns]
            items = self._guard.sanitize_many(images, turns=turns)
        else:
            items = [self._guard.sanitize(image, view_seed=seed) for image in images]
        self._service.count(item.verdict for item in items)
        results = tuple(map(partial(_wire, request), items))
        return _response(SanitizeResponse(guard=self.description.guard, results=results))


def _check_turns(service: Service, request: ScanRequest) -> None:
    """Refuse turns that do not have the pictures, or have too much text.

    Raises:
        ApiError: 400 or 413.
    """
    if not request.turns:
        return
    if request.view_seed is not None:
        raise ApiError(
            400, "view_seed and turns exclude each other.", code="invalid_value", param="turns"
        )
    if sum(turn.images for turn in request.turns) != len(request.images):
        raise ApiError(
            400,
            f"The turns should have {len(request.images)} images together.",
            code="invalid_value",
            param="turns",
        )
    most = service.config.max_text_characters
    if sum(len(turn.text) for turn in request.turns) > most:
        raise ApiError(
            413, f"The texts have more than {most:,} characters.", code="too_much", param="turns"
        )


def _wire(request: SanitizeRequest, item: SanitizedImage) -> WireCleaning:
    shown = item.encode() if request.picture and item.image is not None else None
    return WireCleaning.of(
        item,
        evidence=request.evidence,
        image=None if shown is None else _data_url(shown.data, shown.mime_type),
        overlay=_overlay(item) if request.overlay else None,
    )


def _overlay(item: SanitizedImage) -> str:
    buffer = io.BytesIO()
    item.overlay().save(buffer, "PNG", compress_level=1)
    return _data_url(buffer.getvalue(), "image/png")


def _data_url(data: bytes, mime_type: str) -> str:
    return f"data:{mime_type};base64,{base64.b64encode(data).decode('ascii')}"


def _response(answer: WireModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")
