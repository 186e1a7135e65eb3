"""Messages that ended a call, and are known again."""

from __future__ import annotations

import tracemalloc

from langchain_core.messages import HumanMessage

from langchain_guardalign.turns import EndedTurns

NEXT = HumanMessage("go on")


def test_a_message_is_known_again_whatever_the_order_of_its_keys() -> None:
    ended = EndedTurns()
    url = {"url": "https://example.org/a.png", "detail": "low"}
    ended.remember([HumanMessage([{"type": "image_url", "image_url": url}])])
    stored = {"image_url": dict(sorted(url.items())), "type": "image_url"}
    assert ended.ended([HumanMessage([stored]), NEXT]) == 1
    another = {**stored, "image_url": {**url, "detail": "high"}}
    assert ended.ended([HumanMessage([another]), NEXT]) == 0


def test_only_the_same_messages_in_the_same_order_are_known() -> None:
    ended = EndedTurns()
    one, two = HumanMessage("one"), HumanMessage("two")
    ended.remember([one, two])
    assert ended.ended([one, two, NEXT]) == 2
    for messages in ([one, NEXT], [two, one, NEXT], [HumanMessage("onetwo"), NEXT], [one, two]):
        assert ended.ended(messages) == 0


def test_a_large_message_is_not_copied_twice() -> None:
    data = "A" * 20_000_000
    message = HumanMessage([{"type": "image", "base64": data, "mime_type": "image/png"}])
    tracemalloc.start()
    try:
        EndedTurns().remember([message])
        assert tracemalloc.get_traced_memory()[1] < 1.5 * len(data)
    finally:
        tracemalloc.stop()
