"""Requests of lmms-eval become conversations and options, or errors."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from guardalign_middleware import ConfigError, MessageError
from guardalign_middleware.evaluation.lmms.manifest import CLASS_PATH, manifest
from guardalign_middleware.evaluation.lmms.requests import asked_of, options_of
from guardalign_middleware.testing import picture, red_chain


def test_keywords_of_a_task_are_the_runners() -> None:
    given = {"max_new_tokens": 16, "temperature": 0, "do_sample": False, "until": ["\n\n"]}
    assert options_of({**given, "num_beams": 1, "top_p": None}) == {
        "max_new_tokens": 16,
        "temperature": 0.0,
        "stop": ("\n\n",),
    }
    assert options_of({"do_sample": False, "temperature": 0.7, "top_p": 0.9})["temperature"] == 0.0
    assert options_of({"do_sample": True}) == {"temperature": 1.0}
    assert options_of({"until": "END"}) == {"stop": ("END",)}


@pytest.mark.parametrize(
    "wrong", [{"num_beams": 3}, {"temperature": 0.7, "top_p": 0.9}, {"penalty": 1.2}]
)
def test_what_the_runner_does_not_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(reversed(wrong))):
        options_of(wrong)


def test_a_conversation_keeps_roles_texts_and_pictures() -> None:
    shown = picture(red=True).to_pil()
    asked = asked_of(
        red_chain(),
        [
            {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
            {
                "role": "user",
                "content": [{"type": "image", "url": shown}, {"type": "text", "text": "what?"}],
            },
        ],
    )
    assert [message.role for message in asked] == ["system", "user"]
    assert asked[1].text == "what?"
    assert (asked[1].images[0].pixels == picture(red=True).pixels).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "tool", "content": []},
        {"role": "user", "content": [{"type": "video", "url": "film.mp4"}]},
        {"role": "user", "content": [{"type": "image", "url": "picture.png"}]},
    ],
)
def test_what_an_arm_does_not_read_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        asked_of(red_chain(), [wrong])


def test_the_manifest_names_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ModuleType("lmms_eval.models.registry_v2")
    registry.ModelManifest = SimpleNamespace  # type: ignore[attr-defined]
    for name in ("lmms_eval", "lmms_eval.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "lmms_eval.models.registry_v2", registry)
    assert vars(manifest()) == {"model_id": "guardalign", "chat_class_path": CLASS_PATH}
