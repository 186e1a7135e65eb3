"""The reference of the command `guardalign`, written from the options that it has."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup, TyperOption

from guardalign_middleware.cli import app

MARKER = "<!-- the commands -->"


def command_reference() -> str:
    """Markdown with a section for each command: what it does, its arguments and its options."""
    group = typer.main.get_command(app)
    return "\n\n".join(_sections(group, "guardalign"))


def _sections(command: Any, name: str) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for each, sub in command.commands.items():
            yield from _sections(sub, f"{name} {each}")
        return
    context = typer.Context(command, info_name=name)
    usage = " ".join(command.collect_usage_pieces(context)).replace("...]...", "]...")
    yield f"## `{name}`"
    yield inspect.cleandoc(command.help or "").replace("\f", "")
    yield f"```text\n{name} {usage}\n```"
    rows = [_row(each, context) for each in command.params if not getattr(each, "hidden", False)]
    if rows:
        yield "| argument or option | default | meaning |\n| --- | --- | --- |\n" + "\n".join(rows)


def _row(parameter: Any, context: typer.Context) -> str:
    if isinstance(parameter, TyperOption):
        value = (
            "" if parameter.is_flag else f" {parameter.metavar or parameter.display_type(context)}"
        )
        names = ", ".join(
            f"`{each}{value}`" for each in (*parameter.opts, *parameter.secondary_opts)
        )
    else:
        names = f"`{parameter.metavar or parameter.name}`"
    default = parameter.get_default(context)
    shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
    about = str(getattr(parameter, "help", "") or "").replace("|", "\\|").replace("\n", " ")
    return f"| {names} | {'required' if parameter.required else shown} | {about} |"
