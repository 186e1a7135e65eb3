"""No block of code on a page is without a test, or without a reason why there is none."""

from __future__ import annotations

import json
import re

import pytest

from tests.docs.pages import PAGES, ROOT, Block, all_blocks, blocks_of, text_of
from tests.promises.test_promises_page import names_in

# Where the Python of each page runs.
RUN_BY = {
    "README.md": "tests/test_readme.py::test_the_python",
    "docs/adding-a-model-family.md": "tests/docs/test_python.py::test_the_page_about_families",
    "docs/agents.md": "tests/docs/test_python.py::test_a_page_of_two_frameworks_runs_as_written",
    "docs/concepts.md": "tests/docs/test_concepts.py::test_the_page_runs_as_written",
    "docs/evaluate.md": "tests/evaluation/report/test_report.py::test_the_page_runs_as_written",
    "docs/failures.md": "tests/test_conversations_go_on.py::test_the_page_runs_as_written",
    "docs/forms.md": "tests/docs/test_python.py::test_a_page_runs_as_written",
    "docs/gateways.md": "tests/gateways/test_agents_page.py::test_a_program_of_the_page",
    "docs/get-started.md": "tests/docs/test_python.py::test_a_page_runs_as_written",
    "docs/histories.md": "tests/intake/test_histories.py::test_the_page_runs_as_written",
    "docs/langchain.md": (
        "integrations/langchain-guardalign/tests/unit_tests/test_docs.py::test_the_python"
    ),
    "docs/llama-index.md": (
        "integrations/llama-index-llms-guardalign/tests/test_pages.py"
        "::test_the_code_of_the_page_runs"
    ),
    "docs/mcp.md": "tests/mcp/test_page.py::test_the_code",
    "docs/observe.md": "tests/docs/test_python.py::test_a_page_runs_as_written",
    "docs/output.md": "tests/test_docs.py::test_the_python_of_the_page_about_output",
    # Compiled only: it mounts the page, which tests/playground does in a browser.
    "docs/playground.md": "tests/playground/test_page.py::test_links_commands_and_code_exist",
    "docs/rag.md": "tests/docs/test_python.py::test_a_page_of_two_frameworks_runs_as_written",
    "docs/remote-guard.md": "tests/remote/test_page.py::test_the_code",
    "docs/scale.md": "tests/scale/cluster/test_dataset.py::test_the_code_of_the_page_runs",
    "docs/serve.md": "tests/serving/test_page.py::test_the_code_of_clients",
    "docs/suites.md": (
        "tests/evaluation/suites/test_page.py"
        "::test_a_suite_is_loaded_and_its_stored_answers_are_judged"
    ),
    "docs/thresholds.md": "tests/docs/test_python.py::test_a_page_runs_as_written",
    "docs/troubleshooting.md": "tests/docs/test_python.py::test_a_page_runs_as_written",
    "docs/upstream.md": "tests/serving/upstream/test_page.py::test_the_code",
    "integrations/langchain-guardalign/README.md": (
        "integrations/langchain-guardalign/tests/unit_tests/test_docs.py::test_the_python"
    ),
    "integrations/llama-index-llms-guardalign/README.md": (
        "integrations/llama-index-llms-guardalign/tests/test_pages.py"
        "::test_the_code_of_the_readme_runs"
    ),
}
# What a block may be: Python is run by the tests above, commands are parsed in test_commands.py,
# settings are read in test_settings.py, and JSON below; "text" is a drawing or an output.
LANGUAGES = {"python", "sh", "bash", "yaml", "json", "text"}
# Pieces of JSON lines that are not JSON by themselves.
PARTS_OF_LINES = {"docs/output.md"}


@pytest.mark.parametrize("page", PAGES)
def test_a_block_is_of_a_language_that_is_tested(page: str) -> None:
    assert {block.language for block in blocks_of(page)} <= LANGUAGES


def test_the_python_of_each_page_has_a_test() -> None:
    assert {block.page for block in all_blocks("python")} == set(RUN_BY)


@pytest.mark.parametrize(("page", "test"), RUN_BY.items())
def test_the_test_exists_and_reads_the_page(page: str, test: str) -> None:
    file, name = test.split("::")
    assert name in names_in(ROOT / file)
    assert page.rsplit("/", 1)[-1].removesuffix(".md") in text_of(file) or page == "README.md"


@pytest.mark.parametrize("block", all_blocks("json"), ids=str)
def test_json_is_json(block: Block) -> None:
    code = block.code
    part = block.page in PARTS_OF_LINES
    assert json.loads(f"{{{code}}}" if part else code)


def test_every_fence_is_closed() -> None:
    for page in PAGES:
        assert len(re.findall(r"^ *```", text_of(page), flags=re.MULTILINE)) % 2 == 0, page
