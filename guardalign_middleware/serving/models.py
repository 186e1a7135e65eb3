"""The models of a server without an upstream: it has one."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from guardalign_middleware.serving.errors import error_responses
from guardalign_middleware.serving.service import Service


class Model(BaseModel):
    """The only model."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["guardalign"] = "guardalign"


class Models(BaseModel):
    """The models of this server."""

    object: Literal["list"] = "list"
    data: list[Model]


def models_router(service: Service) -> APIRouter:
    """`/v1/models`."""
    router = APIRouter(tags=["operations"])

    @router.get("/v1/models", responses=error_responses(401, 403))
    async def models() -> Models:
        """The models of this server."""
        return Models(data=[Model(id=service.model)])

    @router.get("/v1/models/{name}", responses=error_responses(401, 403, 404))
    async def model(name: str) -> Model:
        """One model of this server."""
        service.require_model(name)
        return Model(id=service.model)

    return router
