"""What holds for every test: a busy machine is not a failure, and which folders are slow."""

import gc

import pytest
from hypothesis import HealthCheck, settings

from guardalign_middleware.intake.shared_frames import SHARED

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


_SLOW_FOLDERS = ("tests/evaluation/",)
_EVIDENCE_FOLDERS = ("tests/benchmarks/", "tests/training/")
# Quick, and what they watch is changed with the product.
_QUICK_FILES = ("tests/benchmarks/pages/test_figures.py", "tests/training/test_orders.py")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Refuse cases in a set, which each process goes through in an order of its own."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        cases = mark.args[1] if len(mark.args) > 1 else mark.kwargs.get("argvalues")
        if isinstance(cases, set | frozenset):
            raise pytest.UsageError(f"{metafunc.definition.nodeid}: sort the cases of a set")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes whole scenes, and what runs no part of the product, folder by folder."""
    for item in items:
        if item.nodeid.startswith(_SLOW_FOLDERS):
            item.add_marker(pytest.mark.slow)
        evidence = item.nodeid.startswith(_EVIDENCE_FOLDERS)
        if evidence and not item.nodeid.startswith(_QUICK_FILES):
            item.add_marker(pytest.mark.evidence)


def pytest_collection_finish() -> None:
    """Keep what the imports made out of every later collection of garbage.

    Torch, transformers and the frameworks leave millions of objects that live until the end; going
    through them takes a second each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_pictures_of_other_tests() -> None:
    """Each test decodes its own files, although pictures of another may still be in memory."""
    SHARED.forget()
