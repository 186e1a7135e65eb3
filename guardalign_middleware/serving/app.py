"""The app: every route behind the same key, limits and errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI

from guardalign_middleware import __version__
from guardalign_middleware.guard import GuardAlign
from guardalign_middleware.image_guard import ImageGuard
from guardalign_middleware.serving.auth import OPEN_PATHS, Auth, KeyCheck
from guardalign_middleware.serving.chat import chat_router
from guardalign_middleware.serving.conversation_route import conversation_router
from guardalign_middleware.serving.errors import install_errors
from guardalign_middleware.serving.exchange import Exchange
from guardalign_middleware.serving.guard_routes import guard_router
from guardalign_middleware.serving.lingering import Lingering
from guardalign_middleware.serving.metrics import Measured
from guardalign_middleware.serving.models import models_router
from guardalign_middleware.serving.moderations import moderations_router
from guardalign_middleware.serving.options import ServeOptions
from guardalign_middleware.serving.probes import probes_router
from guardalign_middleware.serving.responses import responses_router
from guardalign_middleware.serving.routes import add_routes
from guardalign_middleware.serving.service import Service
from guardalign_middleware.serving.upstream.routes import closed_router, upstream_router

_LOGGER = logging.getLogger(__name__)
RouterOf = Callable[[Service], APIRouter]

ROUTERS: tuple[RouterOf, ...] = (
    guard_router,
    conversation_router,
    moderations_router,
    probes_router,
)
"""What every server offers, the busiest first: routes are tried in order."""

LOCAL_ROUTERS: tuple[RouterOf, ...] = (chat_router, responses_router)
"""What a server offers whose own model answers."""


def create_app(
    served: GuardAlign | ImageGuard,
    options: ServeOptions | None = None,
    *,
    routers: Sequence[RouterOf] = (),
) -> FastAPI:
    """The guard as an ASGI app, for `guardalign serve` or a server of your own.

    With an upstream in the options, that service answers, and a chain's model does not.

    The app checks keys and limits by itself. Where it listens is the server's business: pass on
    `options.config.host`, which was checked against the key.

    Args:
        served: the chain that answers, or a guard alone.
        options: limits and keys; None = the section `serve` of the chain's config.
        routers: more routes, behind the same key and limits; each is made for the service.

    Raises:
        ConfigError: the options are invalid, or a key is missing.
    """
    options = options or ServeOptions.read(served.config.serve)
    service = Service.of(served, options)
    if service.warning is not None:
        _LOGGER.warning("%s", service.warning)
    app = _App(options)
    app.state.service = service
    answering: tuple[RouterOf, ...] = (models_router,)
    closing: tuple[RouterOf, ...] = ()
    if service.config.upstream is not None:
        answering, closing = (upstream_router,), (closed_router,)
    elif service.chain is not None:
        answering = (*LOCAL_ROUTERS, models_router)
    for make in (*answering, *ROUTERS):
        add_routes(app, make(service))
    for make in routers:
        app.include_router(make(service))
    for make in closing:
        add_routes(app, make(service))
    install_errors(app, service.refusal_for)
    # The last one added is the first to see a request.
    app.add_middleware(Exchange, admission=service.admission, config=service.config)
    app.add_middleware(Auth, check=KeyCheck(options))
    app.add_middleware(Measured, metrics=service.metrics)
    app.add_middleware(Lingering, config=service.config)
    return app


class _App(FastAPI):
    def __init__(self, options: ServeOptions) -> None:
        self._has_key = options.api_key is not None
        # No pages of documentation: they would load their scripts from elsewhere.
        super().__init__(
            title="GuardAlign",
            version=__version__,
            docs_url=None,
            redoc_url=None,
            # Its own spans and logs would hold queries, and what is wrong with a body: none of its
            # requests is recorded, nor those of mounted apps. An older FastAPI records none.
            telemetry={"exclude": lambda scope: True},
        )

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI of what really happens: invalid requests are 400, and a key may be needed."""
        described = super().openapi()
        for path, operations in described["paths"].items():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                if self._has_key and path not in OPEN_PATHS:
                    operation["security"] = [{"key": []}]
        components = described.setdefault("components", {})
        for name in ("HTTPValidationError", "ValidationError"):
            components.get("schemas", {}).pop(name, None)
        if self._has_key:
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        return described
