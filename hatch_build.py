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
ASK = """
import sys
sys.path.insert(0, sys.argv[1])
import _kernel
print(f"-DSOURCE={_kernel.SOURCE} -DFLAGS={_kernel.FLAGS}")
"""
SECONDS = 60


def compiled(root: Path) -> Path | None:
    """Return the product, made anew unless it was made of this and works here; None where it cannot be made."""
    source = root / SOURCE
    product, made = source.with_suffix(SUFFIX), source.with_suffix(f".{os.getpid()}.tmp")
    if SUFFIX not in EXTENSION_SUFFIXES:
        return None
    try:
        told = [f"-DSOURCE={_sum(source.read_bytes())}", f"-DFLAGS={_sum(' '.join(FLAGS).encode())}"]
        if _said(product) == told:  # whichever is older: copies keep the time of what was copied
            return product
        command = [*_compiler(), *told, str(source), "-o", str(made), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)  # noqa: S603 - the compiler
    except (OSError, subprocess.SubprocessError):
        made.unlink(missing_ok=True)
        return None
    return made.replace(product)  # never into a file that a server has loaded


def _sum(data: bytes) -> int:
    return crc32(data) >> 1


def _said(product: Path) -> list[str]:
    """Return what a product was told when it was made; nothing for one that does not work on this machine."""
    ask = [sys.executable, "-IS", "-c", ASK, str(product.parent)]
    return subprocess.run(ask, check=False, capture_output=True, text=True, timeout=SECONDS).stdout.split()  # noqa: S603


def _compiler() -> list[str]:
    """Return the one that somebody asks for, or the one that made this Python where it is here, or the usual one."""
    built_by = shlex.split(sysconfig.get_config_var("CC") or "cc")
    found = shlex.split(os.environ.get("CC", "")) or (built_by if shutil.which(built_by[0]) else ["cc"])
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
    print(  # noqa: T201
        "Without a C compiler and Python's headers, choosing skills takes about five times as long.\n"
        "Where they are (on Debian: apt install gcc python3-dev), `make install` compiles."
    )
