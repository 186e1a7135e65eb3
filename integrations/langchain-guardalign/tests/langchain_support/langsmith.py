"""LangSmith's own client with a session that records requests and sends nothing."""

from __future__ import annotations

import json
from typing import Any

import requests
from langsmith import Client


class _Session(requests.Session):
    def __init__(self, bodies: list[str]) -> None:
        super().__init__()
        self._bodies = bodies

    def request(self, method: Any, url: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        data = options.get("data") or b""
        self._bodies.append(data if isinstance(data, str) else bytes(data).decode())
        response = requests.Response()
        response.status_code = 202
        response._content = b"{}"
        return response


class Traces:
    """Records in `bodies` what the client would send to LangSmith, request by request."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def client(self, **options: Any) -> Client:
        """A client that sends each run at once, in the calling thread."""
        return Client(
            api_url="http://traces.invalid",
            api_key="none",
            session=_Session(self.bodies),
            auto_batch_tracing=False,
            **options,
        )

    def runs(self) -> list[dict[str, Any]]:
        """The runs as they were sent, each at its start and again at its end."""
        return [json.loads(body) for body in self.bodies if body]
