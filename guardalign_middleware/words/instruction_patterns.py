"""How the rules of `instruction_rules` are written: names for groups of words, and misreadings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

_NAMES = {
    # Surely a model.
    "MODEL": (
        r"(?<![a-z])(?:(?:an? |the |any |all |every )?(?:ais?|a\.i\.|artificial intelligence|llms?|"
        r"(?:large )?language models?|chat ?bots?|chat ?gpt|gpt ?-?\d?|claude|gemini|copilot|"
        r"an al(?![a-z])|(?:ai|al|automated|virtual|digital) (?:agent|assistant|model|system|"
        r"reviewer|screener|crawler|reader|bot|tool|summari[sz]er)s?|"
        r"(?:ai|al|llm|automated|automatic)(?![a-z])(?:[- ]powered)? (?:\w+ )?(?:system|software|"
        r"scan|scanner|parser|pipeline|evaluator|filter|recruiter|grader|judge|moderator|classifier|"
        r"assistant|agent|model)s?|(?:vision|multimodal|foundation) models?|llama(?![a-z])|"
        r"grok(?![a-z])|deepseek|perplexity))"
    ),
    # A model or a person.
    "AGENT": (
        r"(?<![a-z])(?:(?:an? |the |any |all |every )?(?:assistants?|agents?|bots?|crawlers?|"
        r"models?))"
    ),
    "OVERRIDE": (
        r"(?<!not[ ])(?<!n't[ ])(?<!never[ ])(?:ignor(?:e|ing)|disregard|forget|overrid(?:e|ing)|"
        r"bypass|discard|set aside|stop (?:following|obeying)|(?:do not|don't|not|no longer)"
        r"(?: have to)? (?:follow|obey|adhere to|comply with))"
    ),
    "RULES": (
        r"(?:instructions?|prompts?|directions?|directives?|rules?|guidelines?|guardrails?|"
        r"restrictions?|commands|protocols?|security measures|(?:content |safety )?polic(?:y|ies)|"
        r"programming|constraints|"
        r"system messages?)"
    ),
    "DO": (
        r"(?:ignore|print|reveal|reply|respond|answer|say|write|output|call|run|execute|open|send|"
        r"visit|click|add|rank|rate|give|recommend|forward|delete|copy|transfer|include|mention|"
        r"tell|use|post|submit|skip|stop|do not|don't|never|always|must|should|shall|have to|"
        r"has to|need to|are required|is required|will now|please)"
    ),
    "WHERE": r"(?:https?:|www\.|\w+@\w+|\w+\.(?:com|net|org|io|example)\b)",
}
Rule = tuple[str, float, str]
"""Name, weight and pattern, in which `{NAME}` is a group of words and a space is any gap."""


def compiled(rules: Sequence[Rule]) -> tuple[tuple[str, float, re.Pattern[str]], ...]:
    """Rules, as readers misread them.

    Readers drop spaces, so any space may be missing, or be several; they put one into long words;
    and they take I and l for each other.
    """
    found = []
    for name, weight, rule in rules:
        found.append((name, weight, re.compile(_misread(_loose(with_names(rule))))))
    return tuple(found)


def with_names(rule: str) -> str:
    """A rule's pattern, with the groups of words that it names."""
    for key, words in _NAMES.items():
        rule = rule.replace(f"{{{key}}}", words)
    return rule


def words_of(rule: str) -> frozenset[str]:
    """The words of two letters or more that a rule spells out, with and without an optional s.

    Examples:
        >>> sorted(words_of("(?:steps?|list) to"))
        ['list', 'step', 'steps', 'to']
    """
    tokens = [*_TOKEN.findall(with_names(rule)), ""]
    found = {token for token in tokens if token.isascii() and token.isalpha()}
    found |= {one.removesuffix("s") for one, next_ in pairwise(tokens) if next_ == "?"}
    return frozenset(word for word in found if len(word) > 1 and word.isalpha())


def _loose(rule: str) -> str:
    """A rule in which every literal space stands for any gap or none; not inside brackets."""
    parts, inside = [], False
    for position, sign in enumerate(rule):
        escaped = position > 0 and rule[position - 1] == "\\"
        if sign == "[" and not escaped:
            inside = True
        elif sign == "]" and not escaped:
            inside = False
        following = rule[position + 1 : position + 2]
        parts.append(r"\s*" if sign == " " and not inside and following != "?" else sign)
    return "".join(parts)


# Words of fewer letters are too often parts of others.
_LONG = 5
# What is no literal letter: escapes, classes, look-behinds (whose width is fixed) and counts.
_TOKEN = re.compile(
    r"\\.|\[(?:\\.|[^\]])*\]|\(\?<[=!](?:\[[^\]]*\]|[^)])*\)|\{[^}]*\}|[a-z]+|.", re.DOTALL
)


def _misread(rule: str) -> str:
    """A rule in which long literal words may be torn apart, with l for i and i for l."""
    return "".join(
        " ?".join("[il]" if letter in "il" else letter for letter in token)
        if token.isascii() and token.isalpha() and len(token) >= _LONG
        else token
        for token in _TOKEN.findall(rule)
    )
