"""How many raw images reach an agent's model: `python -m benchmarks.langchain.leaks`.

One unsafe picture is put into every position of an agent's conversation, in every dialect, and a
recording model stores what reaches it. Offline; needs langchain and langchain-openai. NeMo
Guardrails takes part if it can be imported; if not, the table says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from rich.console import Console
from rich.progress import track

from benchmarks.langchain.other_guards import NEMO, Arm, other_guards
from benchmarks.langchain.positions import POSITIONS, Block, Guard, Scenario
from benchmarks.pictures import guard_and_picture
from benchmarks.results import RESULTS, read_json, write_json
from benchmarks.tables import Table, table
from guardalign_middleware import ImageGuard
from guardalign_middleware.errors import GuardAlignError
from guardalign_middleware.testing import holds_raw
from guardalign_middleware.testing.dialects import blocks_of
from langchain_guardalign import GuardAlignMiddleware
from langchain_guardalign.message_walk import find_images
from langchain_guardalign.testing import RecordingModel

RESULT = RESULTS / "langchain_leaks.json"
OURS = "GuardAlignMiddleware"
PACKAGES = (
    "langchain",
    "langchain-core",
    "langgraph",
    "langchain-openai",
    "nemoguardrails",
    "langchain-guardalign",
)
Outcome = Literal["raw", "cleaned", "removed", "ended"]
"""What the model saw: the raw picture in any call; another picture in its place; no picture; or
the model was not called."""


@dataclass(frozen=True)
class Run:
    """What became of the picture in one run.

    Attributes:
        model: what the models saw.
        state: whether the agent's final state holds the raw picture.
    """

    model: Outcome
    state: bool


def run(build: Callable[[Block, Guard], Scenario], block: Block, arm: Arm, png: bytes) -> Run:
    """Run an agent once."""
    scenario = build(block, lambda: arm(png))
    tools = [] if scenario.tool is None else [scenario.tool]
    calls = [
        AIMessage("", tool_calls=[{"name": each.name, "args": {}, "id": "c"}]) for each in tools
    ]
    model = scenario.model or RecordingModel(answers=[*calls, AIMessage("A picture.")])
    agent: Any = create_agent(
        model,
        tools=tools,
        system_prompt=scenario.system_prompt,
        middleware=[*scenario.before, *arm(png)],
        checkpointer=InMemorySaver(),
    )
    config = {"configurable": {"thread_id": "1"}}
    messages = [message.model_copy(deep=True) for message in scenario.messages]
    try:
        for given in ({"messages": messages}, *scenario.resume):
            agent.invoke(given, config)
    except GuardAlignError:
        pass  # The run has ended.
    state = holds_raw(agent.get_state(config).values, png)
    seen = [messages for each in (model, *scenario.others) for messages in each.seen]
    if any(holds_raw(messages, png) for messages in seen):
        return Run("raw", state)
    if len(seen) <= len(tools):
        return Run("ended", state)
    return Run("cleaned" if find_images(seen[-1]) else "removed", state)


Outcomes = dict[str, dict[str, dict[str, Run]]]
"""By arm, position and dialect."""


def measure(
    guard: ImageGuard,
    png: bytes,
    positions: Sequence[str] = tuple(POSITIONS),
    names: Sequence[str] | None = None,
) -> Outcomes:
    """The outcome of every run.

    Args:
        guard: for our middleware.
        png: a picture that the guard masks.
        positions: keys of `POSITIONS`.
        names: dialects; None = all.
    """
    ours = GuardAlignMiddleware(guard=guard)
    arms: dict[str, Arm] = {**other_guards(), OURS: lambda _: [ours]}
    blocks = blocks_of(png, "image/png")
    chosen = list(blocks) if names is None else names
    return {
        arm: {
            position: {name: run(POSITIONS[position], blocks[name], make, png) for name in chosen}
            for position in track(positions, description=arm)
        }
        for arm, make in arms.items()
    }


def with_earlier_nemo(outcomes: Outcomes, packages: dict[str, str], stored: Path) -> None:
    """Add NeMo's outcomes of an earlier run, of whose dependencies some are too old for this one.

    Args:
        outcomes: of this run, which get NeMo's arm if they have none.
        packages: the versions of this run, which get NeMo's.
        stored: the file of the earlier run.
    """
    if NEMO in outcomes or not stored.is_file():
        return
    earlier = read_json(stored)
    if NEMO not in earlier["outcomes"]:
        return
    found = restored(earlier)[NEMO]
    ours = outcomes.pop(OURS)
    outcomes |= {NEMO: {at: row for at, row in found.items() if at in ours}, OURS: ours}
    packages["nemoguardrails"] = earlier["versions"]["nemoguardrails"]


def restored(data: Mapping[str, Any]) -> Outcomes:
    """The outcomes in a stored measurement."""
    states = data.get("states", {})
    return {
        arm: {
            at: {
                name: Run(how, states.get(arm, {}).get(at, {}).get(name, False))
                for name, how in row.items()
            }
            for at, row in rows.items()
        }
        for arm, rows in data["outcomes"].items()
    }


def tables(outcomes: Outcomes, packages: Mapping[str, str]) -> dict[str, Table]:
    """The tables of the documentation: raw images by position and by dialect."""
    arms = list(outcomes)
    positions = list(outcomes[OURS])
    names = list(outcomes[OURS][positions[0]])
    every = [(at, name) for at in positions for name in names]
    part = [arm for arm in arms if set(outcomes[arm]) != set(positions)]

    def count(arm: str, pairs: Sequence[tuple[str, str]], where: str) -> str:
        runs = [outcomes[arm][at][name] for at, name in pairs if at in outcomes[arm]]
        if not runs:
            return "–"
        raw = sum(each.model == "raw" if where == "model" else each.state for each in runs)
        if arm == OURS:
            return f"**{raw}**"
        return str(raw) if len(runs) == len(pairs) else f"{raw} of {len(runs)}"

    def rows(
        groups: Mapping[str, Sequence[tuple[str, str]]],
        columns: Sequence[str],
        where: str = "model",
    ) -> list[list[str]]:
        return [
            [title, *(count(arm, pairs, where) for arm in columns)]
            for title, pairs in groups.items()
        ]

    by_position = {at: [(at, name) for name in names] for at in positions}
    by_dialect = {name: [(at, name) for at in positions] for name in names}
    kept = sum(outcomes[OURS][at][name].model == "cleaned" for at, name in every)
    found = ", ".join(f"{name} {number}" for name, number in packages.items())
    note = (
        f"Raw images at a model, of {len(names)} dialects a position ({len(every)} runs an arm). "
        f"In {kept} of its {len(every)} runs ours showed the model the masked picture instead. "
        f"Measured with {found}."
    )
    if NEMO not in arms:
        note += " NeMo Guardrails was not run: it could not be imported."
    elif NEMO in part:
        note += " NeMo Guardrails' column is from an earlier run, which had fewer positions."
    whole = [arm for arm in arms if arm not in part]
    return {
        "langchain_leaks": table(
            ["the picture stands in", *arms],
            rows({**by_position, "all": every}, arms),
            note,
        ),
        "langchain_leaks_state": table(
            ["the picture stands in", *whole],
            rows({**by_position, "all": every}, whole, "state"),
            f"Runs whose final state holds the raw image, of {len(names)} dialects a position.",
        ),
        "langchain_leaks_by_dialect": table(
            ["dialect", *whole],
            rows(by_dialect, whole),
            f"Raw images at a model, of {len(positions)} positions a dialect.",
        ),
    }


def versions() -> dict[str, str]:
    """Versions of the packages that took part."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    guard, png = guard_and_picture(parser)
    outcomes = measure(guard, png)
    packages = versions()
    with_earlier_nemo(outcomes, packages, RESULT)
    made = tables(outcomes, packages)
    stored = {
        "versions": packages,
        "tables": made,
        "outcomes": _each(outcomes, lambda each: each.model),
        "states": _each(outcomes, lambda each: each.state),
    }
    write_json(RESULT, stored)
    Console().print(f"{made['langchain_leaks']['told']}\nwritten: {RESULT}")


def _each(outcomes: Outcomes, value: Callable[[Run], Any]) -> dict[str, Any]:
    return {
        arm: {at: {name: value(each) for name, each in row.items()} for at, row in rows.items()}
        for arm, rows in outcomes.items()
    }


if __name__ == "__main__":
    main()
