"""How much the generation benchmarks measure."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from benchmarks.generation.models import CONCURRENT
from guardalign_middleware.bench.timing import Clock


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        pairs: of every ratio without concurrent requests; at least 20 for published figures.
        crowds: pairs of the ratios with concurrent requests, which take longest and are far from 1.
        tokens: of an answer.
        few_tokens: of an answer where only the prompt matters, or requests are concurrent.
        requests: number of concurrent requests.
        pictures: whether each concurrent request has a picture; on a CPU, reading 16 prompts with
            hundreds of image tokens would take most of the time.
        wait_ms: how long a pass waits for further requests.
        gamma: strength of the calibration.
        clock: in seconds.
    """

    pairs: int = 20
    crowds: int = 20
    tokens: int = 128
    few_tokens: int = 16
    requests: int = CONCURRENT
    pictures: bool = False
    # Long, so that the batches do not depend on how fast the requests arrive.
    wait_ms: float = 50.0
    gamma: float = 0.5
    clock: Clock = time.process_time


def fitting(plan: Plan, *, prompt_seconds: float, token_seconds: float, budget: float) -> Plan:
    """The plan with its answers shortened to fit the budget; the number of pairs stays.

    Args:
        plan: the wanted plan.
        prompt_seconds: time to read one prompt.
        token_seconds: time for each further token.
        budget: seconds for all answers.

    Raises:
        ValueError: answers of 8 tokens do not fit.
    """
    rounds = plan.pairs + 1

    def seconds(one: Plan) -> float:
        answers = 5 * rounds * (prompt_seconds + one.tokens * token_seconds)
        short = 3 * rounds * (prompt_seconds + one.few_tokens * token_seconds)
        # One by one, and twice all at once: a pass of n prompts takes as long as n passes.
        crowd = one.requests * (3 * prompt_seconds + one.few_tokens * token_seconds * 1.2)
        return answers + short + (one.crowds + 1) * crowd

    for tokens in range(plan.tokens, 7, -1):
        fits = replace(plan, tokens=tokens, few_tokens=min(plan.few_tokens, tokens))
        if seconds(fits) <= budget:
            return fits
    raise ValueError(f"Answers of 8 tokens would take longer than {budget:.0f} seconds.")
