"""What operators ask: is it alive, is it ready, what is it made of, how busy is it."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from guardalign_middleware import __version__
from guardalign_middleware.identity import chain_identity, guard_identity
from guardalign_middleware.provenance import Provenance
from guardalign_middleware.serving.auth import KeyCheck
from guardalign_middleware.serving.errors import ErrorBody, error_responses, unavailable
from guardalign_middleware.serving.service import Service


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Requests are taken; what answers them is told to those who have the key."""

    status: Literal["ready"] = "ready"
    parts: dict[str, Any] | None = None


def probes_router(service: Service) -> APIRouter:
    """`/health`, `/ready` and `/metrics`."""
    router = APIRouter(tags=["operations"])
    parts = _Parts(service)
    keys = KeyCheck(service.options)
    closed: dict[int | str, dict[str, Any]] = {
        503: {"model": ErrorBody, "description": "No requests are taken."}
    }

    @router.get("/health", responses=closed)
    async def health() -> Health:
        """Whether the process works; it does while it drains, too."""
        if service.broken:
            raise unavailable(service.broken, service.config.retry_after_seconds)
        return Health()

    @router.get("/ready", responses=closed, response_model_exclude_none=True)
    async def ready(request: Request) -> Ready:
        """Whether requests are taken, and with the key, fingerprints of everything that decides."""
        if reason := service.admission.closed_because or service.broken:
            raise unavailable(reason, service.config.retry_after_seconds)
        if not keys.holds_key(request.headers.raw):
            return Ready()
        # The first time, this hashes the weights, which may be gigabytes.
        known = await asyncio.to_thread(lambda: parts.known)
        # It can come later, with the first client that asks for the guard alone.
        warning = {} if service.warning is None else {"warning": service.warning}
        return Ready(parts={**known, **warning})

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            **error_responses(401, 403),
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        },
    )
    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router


class _Parts:
    """Fingerprints and hashes of what decides and answers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @cached_property
    def known(self) -> dict[str, Any]:
        guard, chain = self._service.guard, self._service.chain
        profile = guard.detector.profile
        parts: dict[str, Any] = {
            "version": __version__,
            "preset": guard.config.name,
            "guard": guard_identity(guard.config, guard)["fingerprint"],
            "profile": None if profile is None else profile.fingerprint,
            "detectors": [dict(meter.binding) for meter in guard.detector.meters],
            "words": None if guard.words is None else guard.words.fingerprint,
            "audited": guard.config.audit is not None,
            "mode": guard.config.mode,
            "on_fault": guard.config.on_fault,
        }
        if chain is None:
            return parts
        runner = chain.runner
        identity = chain_identity(chain.config, chain)
        parts |= {
            "chain": identity["fingerprint"],
            "runner": runner.name,
            "calibration": {
                "gamma": runner.config.calibration.gamma,
                "mode": runner.config.calibration.mode,
            },
        }
        provenance: Provenance | None = getattr(runner, "provenance", None)
        if provenance is not None:
            parts["weights"] = dict(provenance.files)
        return parts
