from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from pydantic import BaseModel

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.fixed_options import FixedOptions


class Adapter(FixedOptions, BaseModel):
    ACCEPTED: ClassVar[dict[str, Sequence[str]]] = {"on_blocked": ("reply", "notice")}

    preset: str = "mini"
    on_blocked: str = "reply"
    temperature: float = 0.0


def test_what_was_read_when_it_was_made_cannot_be_assigned() -> None:
    adapter = Adapter()
    with pytest.raises(ConfigError, match="preset of Adapter is read only when it is made"):
        adapter.preset = "other"
    with pytest.raises(ConfigError, match="preset"):
        adapter.model_copy(update={"preset": "other"})
    with pytest.raises(ConfigError, match="preset"):
        adapter.copy(update={"preset": "other"})
    assert adapter.preset == "mini"


def test_other_options_can_be_assigned_if_they_have_the_value() -> None:
    adapter = Adapter()
    adapter.on_blocked = "notice"
    adapter.temperature = 0.5
    assert adapter.model_copy(update={"temperature": 1.0}).on_blocked == "notice"
    with pytest.raises(ConfigError, match="one of reply, notice"):
        adapter.on_blocked = "nonsense"
    with pytest.raises(ConfigError, match="one of reply, notice"):
        adapter.model_copy(update={"on_blocked": "nonsense"})
    assert (adapter.on_blocked, adapter.temperature) == ("notice", 0.5)
