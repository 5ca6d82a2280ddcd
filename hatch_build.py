"""Compiles `_kernel.c` where there are a C compiler and Python's headers; without it the search is slower.

pip runs this when it installs the project or makes a wheel, `make install` once more, to say how it went.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from zlib import crc32

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("llmos_lite", "core", "skills", "_kernel.c")
SUFFIX = ".abi3.so"  # it works in every later Python, too
FLAGS = ("-O3", "-fPIC", "-ffp-contract=off")  # every machine shall rank alike
LINKING = ("-bundle", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)
SECONDS = 60


def compiled(root: Path) -> Path | None:
    """Return the product, made anew where it is older than its source; None where it cannot be made."""
    source = root / SOURCE
    product, made = source.with_suffix(SUFFIX), source.with_suffix(f".{os.getpid()}.tmp")
    if SUFFIX not in EXTENSION_SUFFIXES:
        return None
    if product.exists() and product.stat().st_mtime > source.stat().st_mtime:
        return product
    try:
        told = f"-DSOURCE={crc32(source.read_bytes()) >> 1}"
        command = [*_compiler(), told, str(source), "-o", str(made), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)  # noqa: S603 - the compiler
    except (OSError, subprocess.SubprocessError):
        made.unlink(missing_ok=True)
        return None
    return made.replace(product)  # never into a file that a server has loaded


def _compiler() -> list[str]:
    named = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    found = named if shutil.which(named[0]) else ["cc"]
    return [*found, *FLAGS, *LINKING, f"-I{sysconfig.get_path('include')}"]


class CustomBuildHook(BuildHookInterface):
    """Puts the product into a wheel, which then belongs to one kind of machine."""

    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        """Compile before the wheel is made; an editable one points to this folder, where the product lies already."""
        product = compiled(Path(self.root))
        if product is not None and version == "standard":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data |= {"pure_python": False, "tag": f"cp311-abi3-{platform}"}
            build_data["artifacts"] = [str(SOURCE.with_suffix(SUFFIX))]


if __name__ == "__main__" and compiled(Path(__file__).parent) is None:
    print("Without a C compiler and Python's headers, choosing skills takes about five times as long.")  # noqa: T201
