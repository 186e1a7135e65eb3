"""How an input that was refused is recognized; the adapters' tests show what follows from it."""

from typing import Any

import pytest

from guardalign_middleware.sent_turns import digest_of

BLOCK = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}


def test_the_order_of_keys_does_not_count() -> None:
    source = {"url": "https://example.org/a.png", "type": "url"}
    assert digest_of([{"source": source, "type": "image"}]) == digest_of([BLOCK])
    assert digest_of({1: "a", "b": 2}) == digest_of({"b": 2, 1: "a"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b"], ["b", "a"]),
        (["ab"], ["a", "b"]),
        ([["a"], "b"], [["a", "b"]]),
        ({"a": "b"}, {"b": "a"}),
        ({"a": {"b": "c"}}, {"a": {}, "b": "c"}),
        (1, "1"),
        (b"a", "a"),
        (BLOCK, {**BLOCK, "id": "1"}),
    ],
)
def test_other_inputs_have_other_digests(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)
