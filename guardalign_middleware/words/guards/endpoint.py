"""A guard of texts that asks a moderation service with OpenAI's interface."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from guardalign_middleware.connections import service_headers, service_url, setting_up
from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.own_loop import run_in_own_loop
from guardalign_middleware.words.guards.guard import Assessment
from guardalign_middleware.words.judge import STAGE

_TEXTS = 32
_ANSWER_BYTES = 4 * 2**20


class ModerationGuard:
    """Posts texts to `{url}/moderations` and reads `category_scores`.

    The distance is 1 − the largest score, and at most 0.5 where the service itself flags a text.
    Every fault of network, service or answer is an error: nothing is allowed then. Texts leave the
    process, so choose the service as you would choose one for the pictures themselves.

    Args:
        url: of the service's interface, as in "https://api.openai.com/v1".
        model: its name, or None for the service's own choice.
        key_variable: environment variable with the key; None = the service needs none.
        timeout_s: bound on connecting, on each read, and on the whole answer once it begins.

    Raises:
        ConfigError: the URL is wrong; the variable is not set, or its key cannot be sent or would
            travel unencrypted; or the environment names a proxy or certificates that cannot be
            used.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key_variable: str | None = "OPENAI_API_KEY",
        timeout_s: float = 10.0,
    ) -> None:
        place = service_url(url, "moderation service")
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s should be > 0. Received {timeout_s}.")
        self._headers = service_headers(place, key_variable)
        self._url, self._model, self._timeout_s = f"{url.rstrip('/')}/moderations", model, timeout_s
        with setting_up("moderation service"):
            self._tls = httpx.create_ssl_context()  # takes tens of milliseconds, so it is made once
            self._connections()  # so that a wrong proxy is found now, and not at every request

    @property
    def fingerprint(self) -> str:
        """Made of URL and model; a service that changes its model changes its answers unseen."""
        return f"moderation:{self._url}:{self._model}"

    def assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        """Ask the service, 32 texts at a time.

        Raises:
            GuardError: the service did not answer in time, or not as its interface says.
        """
        return run_in_own_loop(lambda: self._assess(texts))

    async def _assess(self, texts: Sequence[str]) -> tuple[Assessment, ...]:
        parts = [texts[first : first + _TEXTS] for first in range(0, len(texts), _TEXTS)]
        # A client of its own for each call: threads share nothing, and no connection stays open.
        async with self._connections() as client:
            return tuple([found for part in parts for found in await self._ask(client, list(part))])

    def _connections(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers=self._headers,
            timeout=self._timeout_s,
            verify=self._tls,
            follow_redirects=False,
        )

    async def _ask(self, client: httpx.AsyncClient, texts: list[str]) -> list[Assessment]:
        body: dict[str, Any] = {"input": texts}
        if self._model is not None:
            body["model"] = self._model
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._post(client, body)
            results = answer["results"]
            if len(results) != len(texts):
                raise ValueError(f"{len(results)} results for {len(texts)} texts")
            return [_assessment(result) for result in results]
        except TimeoutError as error:
            raise _fault(f"did not finish its answer within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Neither words nor the key: only what failed.
            raise _fault(f"did not answer: {type(error).__name__}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _fault(f"gave an answer that is not a moderation: {error}") from error

    async def _post(self, client: httpx.AsyncClient, body: dict[str, Any]) -> Any:
        async with client.stream("POST", self._url, json=body) as response:
            if response.status_code != httpx.codes.OK:
                raise _fault(f"answered with status {response.status_code}")
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _ANSWER_BYTES:
                    raise _fault("gave an answer of more than 4 MiB")
        return httpx.Response(200, content=bytes(content)).json()


def _assessment(result: Any) -> Assessment:
    scores: dict[str, float] = {
        str(name): float(score)
        for name, score in result["category_scores"].items()
        if score is not None
    }
    if not scores or not all(0.0 <= score <= 1.0 for score in scores.values()):
        raise ValueError("category_scores should hold numbers from 0 to 1")
    if not isinstance(result["flagged"], bool):
        raise TypeError("flagged should be true or false")
    category = max(scores, key=lambda name: scores[name])
    distance = 1.0 - scores[category]
    return Assessment(category, min(distance, 0.5) if result["flagged"] else distance)


def _fault(what: str) -> GuardError:
    return GuardError(
        f"The moderation service {what}.",
        stage=STAGE,
        remedy="Check the URL, the key, the model and the network; nothing was allowed.",
    )
