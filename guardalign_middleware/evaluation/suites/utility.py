"""Utility: MME, MMBench, ScienceQA-IMG, TextVQA and VQAv2, in the tables that lmms-eval reads.

Prompts are those of lmms-eval's default; `evaluation.utility` has the rules.
"""

from __future__ import annotations

from types import MappingProxyType

from pydantic import JsonValue

from guardalign_middleware.evaluation.suites.manifest import Manifest
from guardalign_middleware.evaluation.suites.tables import Asked, Row, TableSuite

SHORT = "\nAnswer the question using a single word or phrase."
"""How a short answer is asked for."""
LETTER = "\nAnswer with the option's letter from the given choices directly."
"""How a letter is asked for."""
_HUB = "huggingface.co/datasets/"


def hub_ids(name: str, *older: str) -> tuple[str, ...]:
    """The present id of a data set of lmms-lab, and the older ones that it has in old caches."""
    return (f"lmms-lab-encoder/{name}", *(older or (f"lmms-lab/{name}",)))


def _mme(row: Row, number: int) -> Asked:
    question = row["question"].strip().replace(" Please answer yes or no.", "")
    about = {"category": row["category"], "question_id": row["question_id"]}
    return Asked(str(number), question + SHORT, row["answer"], about)


MME = TableSuite(
    Manifest(
        name="mme",
        title="MME",
        kind="utility",
        source=f"{_HUB}lmms-lab-encoder/MME",
        hub=hub_ids("MME"),
        licence="none is given on the hub",
        counts=MappingProxyType({"test": 2374}),
        columns=("question_id", "image", "question", "answer", "category"),
        prompt="{question}" + SHORT,
        metric="mme",
        judge='"yes" or "no" in the first four characters',
        comparable="Sums of points, not a percentage: perception to 2,000, cognition to 800. A "
        "score of one run is a sum of whole counts, so the paper's 363.65 for cognition cannot be "
        "one.",
        paper="MME-P / MME-C",
    ),
    {"test": ("data/test-*.parquet", "test-*.parquet")},
    _mme,
)


def _options(row: Row) -> dict[str, str]:
    named = {letter: row[letter] for letter in "ABCD"}
    return {letter: text for letter, text in named.items() if text and text != "nan"}


def _mmbench(row: Row, number: int) -> Asked:
    options = _options(row)
    shown = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    hint = row["hint"]
    question = row["question"] if not hint or hint == "nan" else f"{hint} {row['question']}"
    about = {"category": row["category"], "index": int(row["index"]), "options": options}
    prompt = f"{question} There are several options:\n{shown}\n{LETTER}"
    return Asked(str(row["index"]), prompt, row["answer"], about)


MMBENCH = TableSuite(
    Manifest(
        name="mmbench",
        title="MMBench (English, dev)",
        kind="utility",
        source=f"{_HUB}lmms-lab-encoder/MMBench",
        hub=hub_ids("MMBench", "lmms-lab/MMBench", "lmms-lab/MMBench_EN"),
        licence="not read",
        counts=MappingProxyType({"dev": 4329}),
        columns=("index", "image", "question", "hint", "answer", "category", *"ABCD"),
        prompt="{hint} {question} There are several options:\n{A. … B. …}\n" + LETTER,
        metric="mmbench",
        judge="a letter, or the text of one option; then GPT, then a random letter",
        comparable="No answer is drawn at random here and none is asked of GPT: what cannot be "
        "read is wrong, and counted. LLaVA's figures, which the paper's follow, are of the file of "
        "2023-07-12 with another prompt.",
        paper="MMB",
    ),
    {"dev": ("en/dev-*.parquet", "data/dev-*.parquet", "dev-*.parquet")},
    _mmbench,
)


def _scienceqa(row: Row, number: int) -> Asked:
    choices = row["choices"]
    shown = "\n".join(f"{chr(65 + place)}. {choice}" for place, choice in enumerate(choices))
    context = f"Context: {row['hint']}\n" if row["hint"] else ""
    prompt = f"{context}{row['question']}\n{shown}{LETTER}"
    return Asked(str(number), prompt, chr(65 + row["answer"]), {"category": row["subject"]})


SCIENCEQA = TableSuite(
    Manifest(
        name="scienceqa-img",
        title="ScienceQA-IMG",
        kind="utility",
        source=f"{_HUB}lmms-lab-encoder/ScienceQA",
        hub=hub_ids("ScienceQA"),
        licence="not read",
        counts=MappingProxyType({"test": 2017}),
        columns=("image", "question", "choices", "answer", "hint", "subject"),
        prompt="Context: {hint}\n{question}\n{A. … B. …}" + LETTER,
        metric="accuracy",
        judge='the letter alone, or the letter and "." at the start',
        comparable='An answer such as "The answer is B" is wrong by this rule.',
        paper="SQA-I",
    ),
    {"test": ("ScienceQA-IMG/test-*.parquet", "data/test-*.parquet", "test-*.parquet")},
    _scienceqa,
)


def _textvqa(row: Row, number: int) -> Asked:
    about: dict[str, JsonValue] = {"category": "all", "answers": list(row["answers"])}
    return Asked(str(row["question_id"]), row["question"].capitalize() + SHORT, None, about)


TEXTVQA = TableSuite(
    Manifest(
        name="textvqa",
        title="TextVQA",
        kind="utility",
        source=f"{_HUB}lmms-lab-encoder/textvqa",
        hub=hub_ids("textvqa", "lmms-lab/textvqa", "lmms-lab/TextVQA"),
        licence="not read",
        counts=MappingProxyType({"validation": 5000}),
        columns=("question_id", "image", "question", "answers"),
        prompt="{question, its first letter large and all others small}" + SHORT,
        metric="vqa_accuracy",
        judge="the mean over ten answers of min(1, matches among the others / 3)",
        comparable="LLaVA's figures, which the paper's follow, are with OCR tokens in the prompt; "
        "these are without.",
        paper="TextVQA",
    ),
    {"validation": ("data/validation-*.parquet", "validation-*.parquet")},
    _textvqa,
)


def _vqav2(row: Row, number: int) -> Asked:
    answers = [answer["answer"] for answer in row["answers"]]
    about = {"category": row["question_type"], "answers": answers}
    return Asked(str(row["question_id"]), row["question"] + SHORT, None, about)


VQAV2 = TableSuite(
    Manifest(
        name="vqav2",
        title="VQAv2",
        kind="utility",
        source=f"{_HUB}lmms-lab-encoder/VQAv2",
        hub=hub_ids("VQAv2"),
        licence="CC-BY-4.0 (the hub's card)",
        counts=MappingProxyType({"validation": 214_354}),
        columns=("question_id", "image", "question", "question_type", "answers"),
        prompt="{question}" + SHORT,
        metric="vqa_accuracy",
        judge="the mean over ten answers of min(1, matches among the others / 3)",
        comparable="The paper's figure is of the split test2015, which a server of the authors "
        "judges; its answers are not published. A run on validation is another number.",
        paper="VQAv2",
    ),
    {"validation": ("data/validation-*.parquet", "validation-*.parquet")},
    _vqav2,
)
