"""Whether the compiled part of the search, `_kernel.c`, is there; `hatch_build.py` builds it where it can."""

from __future__ import annotations

from importlib import import_module


def _is_there() -> bool:
    try:
        import_module("llmos_lite.core.skills._kernel")
    except ImportError:
        return False
    return True


IS_COMPILED = _is_there()
