"""An unsafe picture reaches no service, in whatever position of a request it stands."""

import copy
import json
from typing import Any

import pytest

from guardalign_middleware.conversation import ConversationGuard, Dialect, Handling
from guardalign_middleware.testing import all_red, has_red, picture, png, red_guard
from tests.conversation.positions import IDS, POSITIONS, Place, b64, shown, without_pictures

SAFE, UNSAFE, HOPELESS = png(picture()), png(picture(red=True)), png(all_red())
EVERYWHERE = pytest.mark.parametrize(("dialect", "name", "place"), POSITIONS, ids=IDS)


@pytest.fixture(scope="module")
def guard() -> ConversationGuard:
    return ConversationGuard(red_guard())


def cleaned(guard: ConversationGuard, body: dict[str, Any], dialect: Dialect) -> Any:
    before = copy.deepcopy(body)
    result = guard.clean(body, dialect)
    assert body == before
    json.dumps(result.body, allow_nan=False)
    json.dumps(result.to_json(), allow_nan=False)
    return result


@EVERYWHERE
def test_an_unsafe_picture_is_masked(
    guard: ConversationGuard, dialect: Dialect, name: str, place: Place
) -> None:
    result = cleaned(guard, place(UNSAFE), dialect)
    assert b64(UNSAFE) not in json.dumps(result.body)
    pictures = list(shown(result.body))
    assert len(pictures) == 1
    assert not has_red(pictures[0])
    assert [each.verdict.decision for each in result.outcomes] == ["mask"]
    assert result.outcomes[0].place


@EVERYWHERE
def test_nothing_of_a_blocked_picture_goes_on(
    guard: ConversationGuard, dialect: Dialect, name: str, place: Place
) -> None:
    result = cleaned(guard, place(HOPELESS), dialect)
    assert b64(HOPELESS) not in json.dumps(result.body)
    assert not any(map(has_red, shown(result.body)))
    assert result.decision == "block"


@EVERYWHERE
def test_around_a_safe_picture_nothing_changes(
    guard: ConversationGuard, dialect: Dialect, name: str, place: Place
) -> None:
    result = cleaned(guard, place(SAFE), dialect)
    (seen,) = shown(result.body)
    assert (seen.pixels == picture().pixels).all()
    assert result.decision == "allow"
    if name != "data url as address":  # It becomes base64.
        assert without_pictures(result.body) == without_pictures(place(SAFE))


@EVERYWHERE
def test_a_notice_can_stand_everywhere(
    guard: ConversationGuard, dialect: Dialect, name: str, place: Place
) -> None:
    noticing = ConversationGuard(red_guard(), Handling(on_unsafe="notice", on_blocked="notice"))
    result = cleaned(noticing, place(UNSAFE), dialect)
    assert not any(map(has_red, shown(result.body)))
    assert result.blocked == ()
