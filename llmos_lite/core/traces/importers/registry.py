"""Which importers there are: the two that come with llmos-lite, and entry points in `llmos_lite.importers`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from llmos_lite.core.traces.importers.base import Importer, Source
from llmos_lite.core.traces.importers.claude_code import ClaudeCode
from llmos_lite.core.traces.importers.openai_chat import OpenAIChat
from llmos_lite.errors import Invalid

GROUP = "llmos_lite.importers"


def importers() -> dict[str, Importer]:
    """Return every importer by name; a plug-in may replace a built-in one of its name.

    Raises:
        Invalid: `importer.broken`, when an installed plug-in cannot be loaded or is no importer.
    """
    found: dict[str, Importer] = {item.name: item for item in (ClaudeCode(), OpenAIChat())}
    for point in entry_points(group=GROUP):
        try:
            loaded = point.load()
            plugin = loaded() if isinstance(loaded, type) else loaded
        except Exception as error:
            raise _broken(point.value, f"{type(error).__name__}: {error}") from error
        if not isinstance(plugin, Importer):
            raise _broken(point.value, "it has no name, sniff and read")
        found[plugin.name] = plugin
    return found


def choose(source: Source, known: Mapping[str, Importer], name: str = "") -> Importer | None:
    """Return the importer called `name`, or the one that recognises the file; None when none does.

    Raises:
        Invalid: `import.unknown_format`.
    """
    if name:
        if name not in known:
            raise Invalid(
                "import.unknown_format", f"There is no format {name[:60]!r}.", hint=f"Formats: {', '.join(known)}."
            )
        return known[name]
    head = source.head()
    if b"\0" in head:
        return None
    return next((item for item in reversed(list(known.values())) if item.sniff(head)), None)


def _broken(value: str, why: str) -> Invalid:
    return Invalid("importer.broken", f"The importer {value} cannot be used: {why}.", hint="Update or uninstall it.")
