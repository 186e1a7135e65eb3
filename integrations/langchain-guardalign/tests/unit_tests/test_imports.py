from __future__ import annotations

import subprocess
import sys

import pytest

import langchain_guardalign

NAMES = [
    "ChatGuardAlign",
    "GuardAlignMiddleware",
    "GuardedChatModel",
    "ImageBlocked",
    "ImageGuardDocumentTransformer",
    "ImageGuardRunnable",
    "without_images",
]
# As if the extra were not installed; in a new process, because imports are cached.
WITHOUT_LANGCHAIN = """
import sys
sys.modules["langchain"] = None
import langchain_guardalign
assert langchain_guardalign.ImageGuardRunnable
try:
    langchain_guardalign.GuardAlignMiddleware
except ImportError as error:
    print(error)
"""


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def test_exported_names() -> None:
    assert langchain_guardalign.__all__ == NAMES
    assert all(hasattr(langchain_guardalign, name) for name in NAMES)
    assert set(NAMES) <= set(dir(langchain_guardalign))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = langchain_guardalign.Nothing


@pytest.mark.slow
def test_without_langchain_only_the_middleware_is_missing() -> None:
    assert 'pip install "langchain-guardalign[agents]"' in run(WITHOUT_LANGCHAIN)


@pytest.mark.slow
def test_the_import_loads_neither_langchain_nor_torch() -> None:
    code = (
        "import sys, langchain_guardalign as g; g.ImageGuardRunnable('mini'); "
        "g.ImageGuardDocumentTransformer('mini'); print({'langchain', 'torch'} & set(sys.modules))"
    )
    assert run(code) == "set()"


@pytest.mark.slow
def test_the_middleware_loads_no_torch() -> None:
    code = (
        "import sys, langchain_guardalign as g; g.GuardAlignMiddleware('mini'); "
        "print('torch' in sys.modules)"
    )
    assert run(code) == "False"


@pytest.mark.slow
def test_the_package_does_not_load_its_test_doubles() -> None:
    code = (
        "import sys, langchain_guardalign as g; [getattr(g, name) for name in g.__all__]; "
        "print([name for name in sys.modules if name.endswith('_guardalign.testing')])"
    )
    assert run(code) == "[]"
