"""The fields that several components have, each with its description."""

from __future__ import annotations

from typing import Annotated

from llama_index.core.bridge.pydantic import Field, WithJsonSchema

from guardalign_middleware.handling import OnBlocked, OnRefused
from guardalign_middleware.intake.part import Fetch

GuardPreset = Annotated[
    str | None,
    Field(description="Name of a built-in preset, or path of a YAML file; None with a guard."),
]
OptionalFetch = Annotated[
    Fetch | None,
    # A function has no JSON schema of its own.
    WithJsonSchema({"type": "string"}),
    Field(
        exclude=True,
        description="Gets the bytes behind an http(s) URL; None: the intake policy decides.",
    ),
]
OnSentRefused = Annotated[
    OnRefused,
    Field(
        description="What happens to an input of the user's last turn that cannot be checked. "
        "raise: raise the error. notice: show a text that names the cause.",
    ),
]
OnSentBlocked = Annotated[
    OnBlocked,
    Field(
        description="What happens to a blocked image of the user's last turn. reply: answer with "
        "the preset's blocked_reply. notice: show a text in its place.",
    ),
]
