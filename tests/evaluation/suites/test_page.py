"""The code of docs/suites.md works as it is printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import Server, ok
from tests.support.suites import write_csv

PAGE = Path(__file__).parents[3] / "docs" / "suites.md"


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_suite_is_loaded_and_its_stored_answers_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(n, "prompt", "kind", "safe" if n <= 250 else "unsafe", "", "") for n in range(1, 451)]
    columns = ("id", "prompt", "type", "label", "focus", "note")
    write_csv(tmp_path / "exaggerated-safety" / "xstest_prompts.csv", columns, rows)
    monkeypatch.chdir(tmp_path)
    load, judge = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(load, PAGE.name, "exec"), names)
    assert capsys.readouterr().out == "250 1\n"
    names["items"] = names["items"][:2]
    names["answers"] = {item.id: "an answer" for item in names["items"]}
    body = json.dumps({"choices": [{"message": {"content": "[RESULT]: unsafe"}}]}).encode()
    with Server({"/v1/chat/completions": ok(body, "Connection: close")}) as server:
        here = judge.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        exec(compile(here, PAGE.name, "exec"), names)
    assert "unsafe" in capsys.readouterr().out
    assert len((tmp_path / "judged.jsonl").read_text().splitlines()) == 2
