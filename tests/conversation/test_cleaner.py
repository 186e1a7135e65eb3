"""The options of the conversation guard, and how often it hashes a refused turn."""

from dataclasses import replace
from typing import Any

import pytest

from guardalign_middleware import sent_turns
from guardalign_middleware.config import WordsConfig
from guardalign_middleware.conversation import CHAT, ConversationGuard, Handling
from guardalign_middleware.errors import ConfigError
from guardalign_middleware.testing import all_red, png, red_guard
from guardalign_middleware.testing.guards import red_config
from tests.conversation.positions import LOOK, chat, link, said, url

HOPELESS = png(all_red())


@pytest.mark.parametrize(("older", "hashed"), [(False, 2), (True, 0)])
def test_a_turn_is_hashed_once_for_all_its_pictures_and_an_older_one_never(
    older: bool, hashed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed, pieces = sent_turns._feed, list[object]()

    def counted(update: Any, value: object) -> None:
        pieces.append(value)
        feed(update, value)

    monkeypatch.setattr(sent_turns, "_feed", counted)
    user = said("user", *[link(HOPELESS)] * 6)
    turns = (user, said("assistant", LOOK), said("user", LOOK)) if older else (user,)
    cleaned = ConversationGuard(red_guard()).clean(chat(*turns), CHAT)
    assert len(cleaned.outcomes) == 6
    assert len(cleaned.blocked) == (0 if older else 6)
    # Twice: the turn itself, and as the last one, by which the conversation is recognized.
    assert pieces.count(url(HOPELESS)) == 6 * hashed


@pytest.mark.parametrize("own", [False, True], ids=["of the dialect", "of another framework"])
def test_a_dialect_says_what_is_said_with_a_picture(own: bool) -> None:
    guard = red_guard(red_config(words=WordsConfig(mode="guard")))
    heard: list[Any] = []

    def sanitize_many(images: Any, *, turns: Any = ()) -> Any:
        heard.extend((turn.text, turn.images) for turn in turns)
        return red_guard().sanitize_many(images)

    guard.sanitize_many = sanitize_many  # type: ignore[method-assign]
    dialect = replace(CHAT, said=lambda turn: f"{turn['role']}!") if own else CHAT
    ConversationGuard(guard).clean(chat(said("user", LOOK, link(HOPELESS))), dialect)
    assert heard == [("user!" if own else LOOK["text"], 1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_unsafe": "flag"},
        {"on_unsafe": "masks"},
        {"on_refused": "Raise"},
        {"on_blocked": "raise"},
        {"on_blocked": True},
    ],
)
def test_values_that_the_guard_does_not_know_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} should be one of"):
        Handling(**wrong)


@pytest.mark.parametrize("on_unsafe", ["mask", "notice", "block"])
@pytest.mark.parametrize("on_refused", ["raise", "notice"])
@pytest.mark.parametrize("on_blocked", ["reply", "notice"])
def test_values_that_it_knows_are_taken(on_unsafe: Any, on_refused: Any, on_blocked: Any) -> None:
    handling = Handling(on_unsafe, on_refused, on_blocked)
    assert ConversationGuard(red_guard(), handling).handling is handling
