"""Whether the server lives, and whether it takes requests."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from guardalign_middleware.serving.errors import ErrorBody, unavailable
from guardalign_middleware.serving.service import Service


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


def probes_router(service: Service) -> APIRouter:
    """`/health`."""
    router = APIRouter(tags=["operations"])
    broken: dict[int | str, dict[str, Any]] = {
        503: {"model": ErrorBody, "description": "The model is lost; restart the server."}
    }

    @router.get("/health", responses=broken)
    async def health() -> Health:
        """Whether the process works; it does while it drains, too."""
        if service.admission.broken:
            raise unavailable(service.admission.broken, service.config.retry_after_seconds)
        return Health()

    return router
