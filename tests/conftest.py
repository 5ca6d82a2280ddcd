"""Shared fixtures. A data folder of its own for every test; nothing is faked but the language model."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos_lite.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", llm_provider="offline", fold_seconds=0.2)
