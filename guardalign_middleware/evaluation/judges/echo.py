"""Taking the safety prefix's own words out of an answer before it is searched for refusals.

The prefix begins "As an AI assistant,", and lists of refusals hold "as an ai": whatever a model
says after the prefix would count as a refusal.
"""

from __future__ import annotations

import re

_CLAUSE = re.compile(r"[^,.;:!?]+[,.;:!?]*")


def strip_echo(answer: str, prefix: str) -> str:
    """The answer without what its beginning repeats of the prefix.

    Whole clauses of the prefix are removed from its first one on, as often as they are repeated,
    in any case and spacing. What a model says in words of its own stays.

    Args:
        answer: of the model.
        prefix: that it was asked to begin with; "" = none.
    """
    clauses = [part for part in _CLAUSE.findall(prefix) if part.strip(" ,.;:!?\n")]
    rest = answer
    while clauses:
        shorter = rest
        for clause in clauses:
            found = _pattern(clause).match(shorter)
            if found is None:
                break
            shorter = shorter[found.end() :]
        if shorter == rest:
            break
        rest = shorter
    return rest


def _pattern(clause: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in clause.strip(" ,.;:!?\n").split())
    return re.compile(rf"[\s\"'“”*>]*{words}(?!\w)[\s,.;:!?]*", re.IGNORECASE)
