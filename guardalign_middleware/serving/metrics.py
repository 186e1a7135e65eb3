"""Counts and times for Prometheus; names, numbers and routes only, no content of any request."""

from __future__ import annotations

import time
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guardalign_middleware.replies import Usage
from guardalign_middleware.serving.admission import Admission
from guardalign_middleware.types import Verdict

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """The metrics of one server, in a registry of its own.

    Args:
        admission: how many requests are at work.
    """

    def __init__(self, admission: Admission) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "guardalign_requests",
            "Requests that were answered or refused.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "guardalign_request_seconds",
            "From a request's head to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._images = Counter(
            "guardalign_images", "Pictures by decision.", ("decision",), registry=registry
        )
        self._observed = Counter(
            "guardalign_observed",
            "Pictures that passed because the guard only observes, by what it would have decided.",
            ("would_be",),
            registry=registry,
        )
        self._failed_open = Counter(
            "guardalign_failed_open", "Pictures that were allowed unscanned.", registry=registry
        )
        self._first_text = Histogram(
            "guardalign_first_text_seconds",
            "From a request to the first piece of its streamed answer.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "guardalign_tokens", "Tokens of prompts and answers.", ("kind",), registry=registry
        )
        self._faults = Counter(
            "guardalign_faults", "Answers that failed, by error.", ("error",), registry=registry
        )
        at_work = Gauge(
            "guardalign_requests_at_work", "Requests at work or waiting.", registry=registry
        )
        at_work.set_function(lambda: admission.at_work)
        draining = Gauge("guardalign_draining", "1 while no requests are taken.", registry=registry)
        draining.set_function(lambda: bool(admission.closed_because))

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that has ended; the status is 0 if its client left before one."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def image(self, verdict: Verdict) -> None:
        """Count a picture."""
        self._images.labels(verdict.decision).inc()
        if verdict.would_be is not None:
            self._observed.labels(verdict.would_be).inc()
        if verdict.fault is not None:
            self._failed_open.inc()

    def first_text(self, seconds: float) -> None:
        """Note how long the first piece of a stream took."""
        self._first_text.observe(seconds)

    def tokens(self, usage: Usage) -> None:
        """Count the tokens of an answer."""
        self._tokens.labels("input").inc(usage.input_tokens)
        self._tokens.labels("output").inc(usage.output_tokens)

    def fault(self, error: str) -> None:
        """Count an answer that failed."""
        self._faults.labels(error).inc()


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured:
    """Counts every request, and gives its response an id.

    Args:
        app: answers.
        metrics: of this server.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun, status = time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name)]
            await send(message)

        name = f"req_{uuid4().hex}".encode()
        try:
            await self._app(scope, receive, noted)
        finally:
            # The path of the route, not of the request: that could hold anything.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.request(route, method, status, time.monotonic() - begun)
