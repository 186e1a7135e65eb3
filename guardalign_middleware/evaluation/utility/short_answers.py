"""Short answers: the accuracy of TextVQA and VQAv2, and GQA's exact match.

What people answered and what the model answered are brought to one form first. The form has quirks,
which published figures hold; they are kept, and named where they are.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

import numpy as np

from guardalign_middleware.errors import ConfigError
from guardalign_middleware.evaluation.metrics import Estimate, rate
from guardalign_middleware.evaluation.paired import bootstrap_mean
from guardalign_middleware.evaluation.suites.manifest import Item
from guardalign_middleware.evaluation.utility.answers import answered

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_NUMBERS = dict(
    zip(
        "none zero one two three four five six seven eight nine ten".split(),
        ("0", *map(str, range(11))),
        strict=True,
    )
)
_ARTICLES = {"a", "an", "the"}
_COMMA_IN_NUMBER = re.compile(r"(?<=\d),+(?=\d)")
_PERIOD = re.compile(r"\.(?!\d)")
# The authors pass a flag, which is 32, as the count: only so many full stops are removed.
_MOST_PERIODS = int(re.UNICODE)
_SHORT_FORMS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
someone's something'd something'd've something'll that's there'd there'd've there're there's they'd
they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've
when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't
would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()


def _without_one_apostrophe(form: str) -> list[str]:
    return [form[:place] + form[place + 1 :] for place, char in enumerate(form) if char == "'"]


# A word with one apostrophe missing → the word; one entry of the authors is the wrong way round.
_CONTRACTIONS = {wrong: form for form in _SHORT_FORMS for wrong in _without_one_apostrophe(form)}
_CONTRACTIONS["somebody'd"] = "somebodyd"


def normalised(answer: str) -> str:
    """An answer in the form in which answers are compared."""
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = text.replace("\n", " ").replace("\t", " ").strip()
    return _words(_without_punctuation(text))


def _without_punctuation(text: str) -> str:
    """Remove marks beside a space, and turn others into spaces.

    All marks are removed if a number in the text has a comma.
    """
    number = _COMMA_IN_NUMBER.search(text) is not None
    result = text
    for mark in _PUNCTUATION:
        beside = f"{mark} " in text or f" {mark}" in text
        result = result.replace(mark, "" if beside or number else " ")
    return _PERIOD.sub("", result, count=_MOST_PERIODS)


def _words(text: str) -> str:
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(
    items: Sequence[Item], answers: Mapping[str, str], *, normalise_agreed: bool
) -> Estimate:
    """Mean over items, with its bootstrap interval.

    An item's accuracy is the mean over its ten answers of min(1, m/3), where m of the other nine
    are the model's.

    Args:
        items: with the ten answers in their metadata.
        answers: of the model, by id.
        normalise_agreed: whether people's answers are brought to the form also where all ten agree:
            TextVQA does it, VQAv2 does not, so that "two" ten times is not met by "two", which
            becomes "2".

    Raises:
        ConfigError: an answer is missing, or an item has no answers of people.
    """
    scores = []
    for item, answer in answered(items, answers):
        given = item.metadata.get("answers")
        if not isinstance(given, list) or not given:
            raise ConfigError(f"The item {item.id} has no answers of people.")
        people = [str(one) for one in given]
        scores.append(_accuracy(people, answer, normalise_agreed))
    return bootstrap_mean(np.array(scores), shares=True)


def _accuracy(people: list[str], answer: str, normalise_agreed: bool) -> float:
    read = normalised(answer)
    if normalise_agreed:
        people = [normalised(one) for one in people]
    else:
        people = [one.replace("\n", " ").replace("\t", " ").strip() for one in people]
        if len(set(people)) > 1:
            people = [_words(_without_punctuation(one)) for one in people]
            read = _words(_without_punctuation(read))
    same = sum(one == read for one in people)
    return float(np.mean([min(1.0, (same - (one == read)) / 3) for one in people]))


def exact_accuracy(items: Sequence[Item], answers: Mapping[str, str]) -> Estimate:
    """GQA: equal but for case and punctuation, with a Wilson interval.

    Raises:
        ConfigError: an answer is missing.
    """
    rows = answered(items, answers)
    return rate(
        sum(_plain(answer) == _plain(item.target or "") for item, answer in rows), len(rows)
    )


def _plain(text: str) -> str:
    return text.lower().translate(str.maketrans("", "", string.punctuation))
