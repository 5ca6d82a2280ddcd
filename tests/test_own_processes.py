"""Processes of ours load our code, wherever they are started."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from llmos_lite.core.skills import scan_pool
from llmos_lite.engines import jobs_beside, worker_pool


@pytest.mark.parametrize("command", [scan_pool.COMMAND, jobs_beside.HOST, worker_pool.COMMAND])
def test_a_module_that_lies_where_a_command_is_called_is_not_loaded(tmp_path: Path, command: Sequence[str]) -> None:
    here = tmp_path / "cloned"  # from anybody, and `llmos skills import .` is called in it
    here.mkdir()
    for name in ("msgspec", "llmos_lite", "asyncio"):
        (here / f"{name}.py").write_text(f"open({str(tmp_path / 'owned')!r}, 'w')\nraise SystemExit(1)\n")
    subprocess.run(command, cwd=here, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    assert not (tmp_path / "owned").exists()
