from __future__ import annotations

import langchain_guardalign


def test_exported_names() -> None:
    assert langchain_guardalign.__all__ == ["ChatGuardAlign"]
    assert all(hasattr(langchain_guardalign, name) for name in langchain_guardalign.__all__)
