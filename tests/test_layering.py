"""The core knows no framework, and each stage and folder knows only those before it.

Stages are the modules and packages of the core, in the order of the data. A new one fails a test
until it has a place in the order.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = "guardalign_middleware"
STAGES = (
    # The vocabulary.
    "errors",
    "local_extra",
    "strict",
    "pixel_memory",
    "canonical",
    "types",
    "replies",
    "verdict_records",
    "record_seal",
    "boxes",
    "notices",
    "handling",
    "fixed_options",
    "sent_turns",
    "safety_prefixes",
    "preset_files",
    "config",
    # Tools for every stage.
    "writing",
    "faults",
    "processes",
    "bare_python",
    "scan_threads",
    "cache",
    "own_loop",
    "listening",
    "error_kinds",
    "connections",
    "provenance",
    "model_folder",
    "png",
    "likeness",
    "lossy",
    "encode",
    "heat",
    "heat_picture",
    "thumbnails",
    # The stages, in the order of the data.
    "intake",
    "detection",
    "words",
    "overlay",
    "sanitize",
    "generation",
    "guarded_prompt",
    "guarded_stream",
    "audit",
    "start_checks",
    "output",
    "detector_loading",
    "words_loading",
    "audit_loading",
    "turns",
    "unscanned",
    "turn_words",
    "async_forms",
    "observing",
    "wire",
    "remote",
    "image_guard",
    "guard",
    "miniature",
    "sources",
    "shared_models",
    "identity",
    "handles",
    "cleaning",
    "conversation",
    # Everything that uses a whole guard.
    "bulk",
    "bench",
    "mini",
    "evaluation",
    "first_day",
    "serving",
    "scale",
    "mcp",
    "playground",
    "cli",
    "testing",
)
LANGCHAIN, LLAMA_INDEX = "langchain-guardalign", "llama-index-llms-guardalign"
LITELLM = "litellm-guardalign"
PACKAGES = {
    LANGCHAIN: "langchain_guardalign",
    LLAMA_INDEX: "llama_index.llms.guardalign",
    LITELLM: "litellm_guardalign",
    "guardalign-agents": "guardalign_agents",
}
# It is installed into a gateway, and talks to the server only.
WITHOUT_THE_CORE = {LITELLM}
# Tests of the others need an environment of their own: tests/gateways.
SUPPORT = {LANGCHAIN: "langchain_support", LLAMA_INDEX: "llama_index_support"}
FOLDERS = (
    CORE,
    "release",
    "integrations",
    "training",
    "benchmarks",
    "website",
    "examples",
    "tests",
)
# Their libraries do not fit beside the pinned ones: tests/inspect imports the first.
ELSEWHERE = ("evaluation.inspect", "evaluation.lmms")
# Written by builds and trainings, or not part of the repository.
OTHER_FOLDERS = {"build", "dist", "fuzz-findings", "runs", "shared"}
FRAMEWORKS = {"langchain", "langchain_core", "langgraph", "llama_index"}
OURS = (CORE, *PACKAGES.values(), *SUPPORT.values(), *(set(FOLDERS) - {CORE, "integrations"}))


def core_files() -> dict[str, Path]:
    """Every module of the core by its full name."""
    files = {}
    for file in sorted((ROOT / CORE).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return files


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from runtime_nodes(node)


@cache
def imports(file: Path, *, types: bool = True) -> frozenset[str]:
    """What a file imports, also inside functions: modules, and `module.name` for each name."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree) if types else runtime_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def below(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def loaded_after(code: str) -> set[str]:
    script = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_no_module_of_the_core_imports_an_agent_framework() -> None:
    for name, file in core_files().items():
        hits = {item for item in imports(file) if item.split(".")[0] in FRAMEWORKS}
        assert not hits, f"{name} imports {hits}"


@pytest.mark.evidence
def test_importing_every_core_module_loads_no_agent_framework() -> None:
    here = [
        name
        for name in core_files()
        if not any(below(name, f"{CORE}.{other}") for other in ELSEWHERE)
    ]
    loaded = loaded_after("\n".join(f"import {name}" for name in here))
    assert "guardalign_middleware.guard" in loaded
    assert not {name for name in loaded if name.split(".")[0] in FRAMEWORKS}
    # POT costs 130 MB with what it finds, and only one solver needs it.
    assert "ot" not in loaded


def test_importing_the_package_loads_no_torch() -> None:
    assert "torch" not in loaded_after("import guardalign_middleware")


def test_only_the_process_that_draws_pages_loads_pdfium() -> None:
    users = {name for name, file in core_files().items() if "pypdfium2" in imports(file)}
    assert users == {f"{CORE}.intake.pdf_worker"}
    # It starts for each file, so it must not load the package.
    assert not {item for item in imports(core_files()[users.pop()]) if below(item, CORE)}
    assert "pypdfium2" not in loaded_after(f"import {CORE}.intake.pdf, {CORE}.intake.pdf_worker")


def test_every_module_of_the_core_has_its_place_in_the_order() -> None:
    found = {name.split(".")[1] for name in core_files() if name != CORE}
    assert found == set(STAGES)
    assert len(STAGES) == len(found)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_knows_no_later_stage(stage: str) -> None:
    later = STAGES[STAGES.index(stage) + 1 :]
    for name, file in core_files().items():
        if below(name, f"{CORE}.{stage}"):
            hits = {
                item
                for item in imports(file)
                for other in later
                if below(item, f"{CORE}.{other}") and item != CORE
            }
            assert not hits, f"{name} imports {hits}"


def test_no_module_of_the_core_imports_itself_by_a_detour() -> None:
    files = core_files()
    graph = {name: imports(file, types=False) & set(files) - {CORE} for name, file in files.items()}
    for name in graph:
        # `from package import name` runs the package first, and its parts import one another.
        graph[name] = {item for item in graph[name] if not below(name, item)}
    list(TopologicalSorter(graph).static_order())


def test_every_folder_of_the_repository_has_its_place_in_the_order() -> None:
    found = {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith(".") and any(path.rglob("*.py"))
    }
    assert found - OTHER_FOLDERS == set(FOLDERS)
    assert {path.name for path in (ROOT / "integrations").iterdir()} == set(PACKAGES)


def may_import(file: Path) -> set[str]:
    """The packages of this repository that a file may know."""
    folder, *rest = file.relative_to(ROOT).parts
    if folder == "integrations":
        name, inner = rest[0], rest[1]
        own = {PACKAGES[name]} if name in WITHOUT_THE_CORE else {CORE, PACKAGES[name]}
        return own | {SUPPORT[name]} if inner == "tests" else own
    allowed = set(FOLDERS[: FOLDERS.index(folder) + 1])
    if "integrations" in allowed:
        allowed.update(PACKAGES.values())
    if folder == "tests":
        allowed.update(SUPPORT.values())
    return allowed


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_knows_no_later_folder(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        foreign = set(OURS) - may_import(file)
        hits = {item for item in imports(file) for package in foreign if below(item, package)}
        assert not hits, f"{file.relative_to(ROOT)} imports {hits}"


@pytest.mark.parametrize("name", SUPPORT)
def test_the_tests_of_an_integration_find_their_support_in_their_own_folder(name: str) -> None:
    assert (ROOT / "integrations" / name / "tests" / SUPPORT[name]).is_dir()
