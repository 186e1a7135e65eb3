"""The patterns of `carriers`, on plain words: marks of a list, and titles that ask to fill it."""

from __future__ import annotations

import re

_FILLER = r"[\s_.…·\-–—:：]*"
# With a number, these are items by themselves; the others are labels of forms too ("Question 1").
SURE_NOUNS = frozenset("step item point no nr part phase tip method".split())
_NOUNS = (
    r"step|stage|phase|part|item|point|number|no|nr|tip|method|way|idea|example|question|q|answer|"
    r"reason|option|task|trick|technique|strategy|approach|tactic|plan|entry"
)
_MARK = rf"(?:#|(?:{_NOUNS})\W{{0,2}})?"
NUMBER_WORDS = {
    word: value
    for words in (
        "one two three four five six seven eight nine ten",
        "first second third fourth fifth sixth seventh eighth ninth tenth",
    )
    for value, word in enumerate(words.split(), 1)
}
_NUMBER = rf"(?:\d{{1,2}}(?:st|nd|rd|th)?|{'|'.join(NUMBER_WORDS)}|[a-h]|[ivx]{{1,4}}|l)"
# What stands where an item will: lines, boxes, arrows, and words for nothing.
_EMPTY = (
    r"[\s_.…·\-–—:：~?>→()\[\]]*"
    r"(?:(?:to ?do|tbd|empty|blank|none|placeholder|fill (?:me |this )?in)[\s.)\]]*)?"
)
# A mark must look like one: "1." "(1)" "1)" "step 1" "a)"; a bare digit too, since dots get lost.
BLANK = re.compile(
    rf"^[(\[{{]?(?P<word>{_MARK})\s*(?P<number>{_NUMBER})(?P<sign>[.)\]}}:、。,/]?)(?P<empty>{_EMPTY})$"
)
# Not anchored at the end: each mark of a long run would be tried as its beginning.
RUN = re.compile(r"(?:[(\[]?(?:step\s*)?\d{1,2}[.):\]]" + _FILLER + r"){2,}")
BULLET = re.compile(r"^[•●○▪■□☐◦*\-–—>]" + _FILLER + r"$")
_LIST_NOUNS = (
    r"steps?|methods?|ways?|list|lists|tips?|guides?|instructions?|procedures?|process|processes|"
    r"recipe|plans?|strateg(?:y|ies)|techniques?|tricks?|ideas?|tactics?|approaches|means|"
    r"details|examples?|hacks|reasons|excuses|tools|materials|ingredients|remedies|manual|tutorial|"
    r"blueprint|scripts?|arguments|messages|phrases|slogans|indicators"
)
# "Steps to", "Legal methods for", "A list of", "Ten ways in which", "Methods used by … to".
HOW_TO = re.compile(
    rf"^(?:\w+\W+){{0,4}}?(?:{_LIST_NOUNS})\b\W*(?:\w+\W+){{0,4}}?(?:to|of|for|on|in|about|that|how)\b"
    r"|^(?:the\s+)?how\s*(?:to|do|can|could|one|i)\b|^(?:guide|tutorial|manual|instructions?)\b"
)
# The same where a reader lost the spaces: "stepstobakebread", "list of" as one word. No other long
# word has a noun and its preposition in it, and an empty list must stand below.
CLOSED_HOW_TO = re.compile(
    rf"\b(?:(?:{_LIST_NOUNS})(?:to|of|for|how)\b"
    rf"|(?=[a-z]{{10}})[a-z]{{0,24}}?(?:(?:{_LIST_NOUNS})(?:to|of|for|on|in|about|that|how)|howto)[a-z]{{2}})"
)
# In a question, only what is surely a title: people ask how to fill a form in, and name its list.
ASKED_TITLE = re.compile(
    r"^(?!please|fill|complete|continue|finish|write|give|describe)(?:\w+\W+){0,2}?(?:steps?|"
    r"methods?|ways?|tips|instructions?|procedures?|plans?|strateg(?:y|ies)|techniques?|tricks?|"
    r"tactics?|hacks)\s+(?:to|for|of|how|on how)\b"
)
FILL = re.compile(
    r"\b(?:fill|complete|continue|finish|extend|elaborate|expand)\w*\b.{0,30}"
    r"\b(?:in|list|items?|blanks?|steps?|points?|below|rest)\b"
)
CLOSED_FILL = re.compile(
    r"\b(?:fill|complete|continue|finish|extend|elaborate|expand)[a-z]{0,30}"
    r"(?:list|items?|blanks?|steps?|points?|below)"
)
ASKED = re.compile(
    r"\b(?:generate|fill|complete|continue|finish|write|give|provide|elaborate|expand|describe)\b"
    r".{0,60}\b(?:each|every|empty|missing|all|items?|list|steps?|points?|blanks?)\b"
)
