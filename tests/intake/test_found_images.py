"""Images go back where they were found, or not at all."""

from collections.abc import Iterator
from typing import Any

import pytest

from guardalign_middleware.conversation import CHAT, ConversationGuard
from guardalign_middleware.errors import GuardError
from guardalign_middleware.handles import LazyGuard
from guardalign_middleware.intake.found_images import in_order
from guardalign_middleware.mcp.cleaner import Handling, McpCleaner
from guardalign_middleware.testing import base64_png, data_url, picture, red_guard

GUARD = red_guard()
RED = picture(red=True)


def test_each_item_is_given_once_in_order() -> None:
    with in_order("abc") as following:
        assert [following() for _ in range(3)] == ["a", "b", "c"]
    with in_order([]):
        pass


def test_more_places_than_items_are_a_fault() -> None:
    with in_order("a") as following:
        following()
        with pytest.raises(GuardError, match="more images than the 1") as caught:
            following()
    assert caught.value.stage == "intake"


def test_fewer_places_than_items_are_a_fault() -> None:
    with pytest.raises(GuardError, match="fewer images than the 2"), in_order("ab") as following:
        following()


def test_another_error_is_raised_itself() -> None:
    with pytest.raises(KeyError), in_order("ab"):
        raise KeyError


class Fickle(list[Any]):
    """Content that another thread changes after it was walked once."""

    walked = False

    def __init__(self, first: list[Any], later: list[Any]) -> None:
        super().__init__(first)
        self.later = later

    def __iter__(self) -> Iterator[Any]:
        items = self.later if self.walked else list(super().__iter__())
        self.walked = True
        return iter(items)


@pytest.mark.parametrize("later", [1, 3])
def test_a_conversation_that_changes_meanwhile_is_a_fault(later: int) -> None:
    block = {"type": "image_url", "image_url": {"url": data_url(RED)}}
    content = Fickle([block] * 2, [block] * later)
    body = {"messages": [{"role": "user", "content": content}]}
    with pytest.raises(GuardError, match="images than the 2 replacements"):
        ConversationGuard(GUARD).clean(body, CHAT)


@pytest.mark.parametrize("later", [1, 3])
def test_a_tool_s_result_that_changes_meanwhile_is_a_fault(later: int) -> None:
    block = {"type": "image", "data": base64_png(RED), "mimeType": "image/png"}
    content = Fickle([block] * 2, [block] * later)
    message = {"jsonrpc": "2.0", "id": 1, "result": {"content": content}}
    with pytest.raises(GuardError, match="images than the 2 replacements"):
        McpCleaner(LazyGuard(guard=GUARD), Handling()).clean(message, "message")
