"""Whether the compiled part of the search is there: `_kernel.c`, which `hatch_build.py` compiles where it can."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from zlib import crc32


def is_there(source: Path) -> bool:
    """Tell whether the product is there and was made of this source: a server may start between a pull and a build."""
    try:
        product = import_module("llmos_lite.core.skills._kernel")
        return bool(crc32(source.read_bytes()) >> 1 == product.SOURCE)
    except Exception:  # noqa: BLE001 - whatever lies there, a server starts without it
        return False


IS_COMPILED = is_there(Path(__file__).with_name("_kernel.c"))
