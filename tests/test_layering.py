"""The core knows no framework, and each stage knows only the stages before it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "guardalign_middleware"
STAGES = ("intake", "detection", "sanitize", "generation", "guard", "cli")


def modules() -> list[str]:
    names = []
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = ("guardalign_middleware", *file.relative_to(PACKAGE).with_suffix("").parts)
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_importing_every_core_module_loads_no_agent_framework() -> None:
    loaded = loaded_after("\n".join(f"import {name}" for name in modules()))
    assert "guardalign_middleware.guard" in loaded
    assert not {name for name in loaded if name.split(".")[0] in {"langchain", "langchain_core"}}
    assert not {name for name in loaded if name.split(".")[0] == "llama_index"}


def test_importing_the_package_loads_no_torch() -> None:
    assert "torch" not in loaded_after("import guardalign_middleware")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_knows_no_later_stage(stage: str) -> None:
    later = STAGES[STAGES.index(stage) + 1 :]
    home = PACKAGE / stage
    files = sorted(home.rglob("*.py")) if home.is_dir() else [home.with_suffix(".py")]
    assert files
    for file in files:
        for name in later:
            target = f"guardalign_middleware.{name}"
            hits = {item for item in imports(file) if (item + ".").startswith(target + ".")}
            assert not hits, f"{file.name} imports {hits}"
