"""A chat service with OpenAI's interface, asked by judges: OpenAI's own, or vLLM and others."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Sequence
from typing import Any, Self

import httpx
from PIL import Image, UnidentifiedImageError

from guardalign_middleware.connections import (
    IDLE_SECONDS,
    service_headers,
    service_url,
    setting_up,
)
from guardalign_middleware.errors import ConfigError, GuardError
from guardalign_middleware.strict import Malformed, json_value

STAGE = "judge"
_ANSWER_BYTES = 4 << 20
_AGAIN = {408, 409, 429, 500, 502, 503, 504}
_REFUSED = {401: "the key", 403: "the key", 404: "the model or the address"}
_SENT = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


class ChatEndpoint:
    """Posts to `{url}/chat/completions`, at temperature 0, and gives the text of the reply.

    Questions, answers and pictures leave the process, so choose the service as you would choose one
    for the pictures themselves. Threads may share it.

    Args:
        url: of the service's interface, as in "https://api.openai.com/v1".
        model: its name there.
        key_variable: environment variable with the key; None = the service needs none.
        timeout_s: bound on connecting and on each read.
        max_tokens: the length of a reply. A judge that reasons first needs room for its verdict.
        tries: how often a request is sent where the service is full, or cannot be reached.
        wait_s: before the second try; it doubles each time.

    Raises:
        ConfigError: the URL is wrong; the variable is not set, or its key cannot be sent or would
            travel unencrypted; or the environment names a proxy or certificates that cannot be
            used.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_variable: str | None = "OPENAI_API_KEY",
        timeout_s: float = 60.0,
        max_tokens: int = 1024,
        tries: int = 4,
        wait_s: float = 1.0,
    ) -> None:
        place = service_url(url, "chat service")
        for name, value in (("timeout_s", timeout_s), ("max_tokens", max_tokens), ("tries", tries)):
            if not value > 0:
                raise ConfigError(f"{name} should be > 0. Received {value}.")
        if not wait_s >= 0:
            raise ConfigError(f"wait_s should be >= 0. Received {wait_s}.")
        headers = service_headers(place, key_variable)
        self._url, self._model, self._max_tokens = url.rstrip("/"), model, max_tokens
        self._tries, self._wait_s = tries, wait_s
        with setting_up("chat service"):
            self._client = httpx.Client(
                headers=headers,
                timeout=timeout_s,
                limits=httpx.Limits(
                    max_connections=100,
                    max_keepalive_connections=20,
                    keepalive_expiry=IDLE_SECONDS,
                ),
                follow_redirects=False,
                # Certificates take tens of milliseconds to load, and http has none.
                verify=place.scheme == "https",
            )
        self.name = f"{model} at {place.hostname}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def complete(self, text: str, images: Sequence[bytes] = ()) -> str:
        """The reply to one message.

        Args:
            text: of the message.
            images: files of pictures, shown before the text.

        Raises:
            GuardError: the service did not answer, or not as its interface says.
        """
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": _data_url(image)}} for image in images
        ]
        content: Any = [*parts, {"type": "text", "text": text}] if parts else text
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": self._max_tokens,
        }
        return self._reply(self._post(body))

    def _post(self, body: dict[str, Any]) -> bytes:
        problem = _fault("was not asked")
        for attempt in range(self._tries):
            if attempt:
                time.sleep(self._wait_s * 2 ** (attempt - 1))
            try:
                status, data = self._once(body)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                # Neither words nor the key: only what failed.
                problem = _fault(f"did not answer: {type(error).__name__}")
                problem.__cause__ = error
                continue
            if status == httpx.codes.OK:
                return data
            problem = _fault(f"answered with status {status}", _REFUSED.get(status, ""))
            if status not in _AGAIN:
                break
        raise problem

    def _once(self, body: dict[str, Any]) -> tuple[int, bytes]:
        with self._client.stream("POST", f"{self._url}/chat/completions", json=body) as response:
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > _ANSWER_BYTES:
                    raise _fault("gave an answer of more than 4 MiB")
            return response.status_code, bytes(content)

    def _reply(self, data: bytes) -> str:
        try:
            text = json_value(data, foreign=True)["choices"][0]["message"]["content"]
        except (Malformed, KeyError, IndexError, TypeError) as error:
            raise _fault("gave an answer that is no chat completion") from error
        if text is not None and not isinstance(text, str):
            raise _fault("gave an answer that is no text")
        return text or ""  # null where the service itself refused to answer


def _data_url(image: bytes) -> str:
    try:
        with Image.open(io.BytesIO(image)) as picture:
            kind = _SENT.get(picture.format or "")
            if kind is None:  # such as BMP, which services do not take
                file = io.BytesIO()
                picture.convert("RGB").save(file, "PNG")
                image, kind = file.getvalue(), "image/png"
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise GuardError(
            f"A picture cannot be shown to the judge: {type(error).__name__}.",
            stage=STAGE,
            remedy="Check the files of the suite.",
        ) from error
    return f"data:{kind};base64,{base64.b64encode(image).decode()}"


def _fault(what: str, check: str = "") -> GuardError:
    return GuardError(
        f"The judge {what}.",
        stage=STAGE,
        remedy=f"Check {check or 'the URL, the key, the model and the network'}.",
    )
