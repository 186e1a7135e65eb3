from __future__ import annotations

import json

import pytest
from rich.text import Text

from guardalign_middleware.cli.console import out, plain, print_error, print_json

# What a file on Linux may be called: brackets, an emoji's name, a line end, an escape sequence that
# clears the screen, a byte that is not UTF-8.
NAME = "[bold]a[/] :bomb: é\n\x1b[2J\udcff.png"


def test_every_character_of_a_name_is_shown_and_none_is_interpreted() -> None:
    shown = Text.from_markup(plain(NAME), emoji=False)
    assert shown.plain == r"[bold]a[/] :bomb: é\n\x1b[2J\udcff.png"
    assert not shown.spans


def test_it_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    out().print(plain(NAME))
    print_error(f"There is no file {NAME}.")
    captured = capsys.readouterr()
    assert captured.out == "[bold]a[/] :bomb: é\\n\\x1b[2J\\udcff.png\n"
    assert captured.err == "error: There is no file [bold]a[/] :bomb: é \\x1b[2J\\udcff.png.\n"


def test_json_is_one_line_that_gives_the_name_back(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"source": NAME, "word": "é"})
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "é" in line
    line.encode()
    assert json.loads(line)["source"] == NAME
