"""How the guard is served over HTTP: where, to whom, and within which limits."""

from __future__ import annotations

from pydantic import Field

from guardalign_middleware.config.base import Count, FrozenModel
from guardalign_middleware.handling import OnBlocked, OnRefused, OnUnsafeSent

MIB = 2**20


class ServeConfig(FrozenModel):
    """The server of `guardalign serve`; each field is an option of the command, too.

    Keys are read from environment variables. They are never part of a preset, because presets are
    copied and committed.
    """

    host: str = Field(
        "127.0.0.1", min_length=1, description="address to listen on; others need a key"
    )
    port: int = Field(8000, ge=0, le=65_535, description="0 = any free port")
    api_key_env: str | None = Field(
        None, min_length=1, description="environment variable with the key that clients send"
    )
    model_name: str | None = Field(
        None, min_length=1, description="name of the model for clients; None = name of the preset"
    )
    upstream: str | None = Field(
        None, min_length=1, description="base URL of a service that answers behind the guard"
    )
    upstream_key_env: str | None = Field(
        None, min_length=1, description="environment variable with the key for the upstream"
    )
    upstream_seconds: float = Field(
        600.0, gt=0.0, le=86_400.0, description="how long the upstream may be silent"
    )
    on_unsafe: OnUnsafeSent = Field(
        "mask", description="what the upstream gets to see of an unsafe picture"
    )
    on_refused: OnRefused = Field(
        "raise", description="for what cannot be looked at, in the newest turns for the upstream"
    )
    on_blocked: OnBlocked = Field(
        "reply", description="for a blocked picture in the newest turns for the upstream"
    )
    allow_unscanned: bool = Field(
        False, description="whether files and stored turns for the upstream pass unseen"
    )
    max_requests: Count = Field(
        64, description="requests at work or waiting; more are answered with 429"
    )
    max_body_bytes: Count = Field(32 * MIB, description="size of a request's body")
    max_images: Count = Field(16, description="pictures in one request")
    max_pixels: Count = Field(120_000_000, description="pixels of all pictures of one request")
    max_text_characters: Count = Field(
        400_000, description="characters of all texts of one request"
    )
    max_output_tokens: Count = Field(4096, description="longest answer that may be asked for")
    body_seconds: float = Field(
        30.0, gt=0.0, le=3600.0, description="how long a client may take to send a request"
    )
    stalled_seconds: float = Field(
        60.0, gt=0.0, le=3600.0, description="how long a client may not read its answer"
    )
    drain_seconds: float = Field(
        30.0, ge=0.0, le=3600.0, description="how long requests may go on after SIGTERM"
    )
    retry_after_seconds: int = Field(
        1, ge=1, le=3600, description="when a refused client should ask again"
    )
