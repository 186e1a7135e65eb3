"""Prefixes by name."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from guardalign_middleware.config import PrefixConfig
from guardalign_middleware.generation.prompt.conversation import check_prefix
from guardalign_middleware.safety_prefixes import OWN, PREFIXES


@pytest.mark.parametrize("name", PREFIXES)
def test_a_name_selects_its_text(name: str) -> None:
    config = PrefixConfig(name=name)
    assert config.text == PREFIXES[name] == check_prefix(config.text, ())
    assert PrefixConfig.model_validate(config.model_dump()) == config


def test_own_words_need_no_name() -> None:
    assert PrefixConfig().text == OWN == PrefixConfig(name="own").text
    assert PrefixConfig(text="Be kind.").text == "Be kind."


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"name": "unknown"}, "own, paper"),
        ({"name": "paper", "text": "Be kind."}, "Only one of name and text"),
    ],
)
def test_contradictory_fields_are_refused(data: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PrefixConfig.model_validate(data)
