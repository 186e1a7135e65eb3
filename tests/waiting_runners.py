"""A runner that answers only when enough callers wait for it at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from guardalign_middleware.generation import TokenStream
from guardalign_middleware.testing import EchoRunner
from guardalign_middleware.types import Generated, Message


class Together(EchoRunner):
    """Answers when as many wait as it was told, and not before; an error where they never come.

    Args:
        callers: how many.
    """

    def __init__(self, callers: int) -> None:
        super().__init__()
        self._barrier = threading.Barrier(callers)

    def stream(self, messages: Sequence[Message], **options: Any) -> TokenStream:
        answer = self.generate(messages)

        def produce(emit: Any, cancel: threading.Event) -> Generated:
            self._barrier.wait(20)
            emit(answer.text)
            return answer

        return TokenStream(produce)
