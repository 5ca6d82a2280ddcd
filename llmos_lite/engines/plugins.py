"""What other packages add to llmos: entry points, found by group and name.

A package says in its `pyproject.toml` what it adds, and is then used by name; nothing here is patched.
`docs/extending.md` shows one of each kind.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from llmos_lite.errors import Conflict, Invalid, NotFound

IMPORTERS = "llmos_lite.importers"
EMBEDDERS = "llmos_lite.embedders"
SCANNERS = "llmos_lite.scanners"
MODELS = "llmos_lite.models"
REDACTORS = "llmos_lite.redactors"
GROUPS = (IMPORTERS, EMBEDDERS, SCANNERS, MODELS, REDACTORS)


def names(group: str) -> list[str]:
    """Return the names that installed packages add to `group`, without loading anything."""
    return sorted(_points(group))


def load(group: str) -> dict[str, object]:
    """Load everything that installed packages add to `group`, by name.

    Raises:
        Invalid: `plugin.broken`, naming the distribution, when one of them cannot be loaded.
        Conflict: `plugin.twice`, when two distributions add the same name.
    """
    return {name: _loaded(point) for name, point in sorted(_points(group).items())}


def find(group: str, name: str) -> object:
    """Load the one plug-in of `group` that is called `name`, and nothing else.

    Raises:
        NotFound: `plugin.unknown`, listing the names that there are.
        Invalid: `plugin.broken`, as in `load`.
        Conflict: `plugin.twice`, as in `load`.
    """
    points = _points(group)
    if name not in points:
        there = ", ".join(sorted(points)) or "none"
        raise NotFound(
            "plugin.unknown",
            f"No installed package adds {name!r} to {group} (there are: {there}).",
            hint="Install the package into the same environment as llmos, or correct the name.",
        )
    return _loaded(points[name])


def _points(group: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise Conflict(
                "plugin.twice",
                f"Both {_owner(other)} and {_owner(point)} add {point.name!r} to {group}.",
                hint="Uninstall one of them.",
            )
    return found


def _loaded(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:
        raise Invalid(
            "plugin.broken",
            f"The plug-in {point.name!r} of {_owner(point)} cannot be loaded: {type(error).__name__}: {error}.",
            hint=f"Mend or uninstall it; its entry in {point.group} is {point.value!r}.",
        ) from error


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"
