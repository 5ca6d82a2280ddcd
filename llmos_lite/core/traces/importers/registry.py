"""Which importers there are: the three that come with llmos-lite, and entry points in `llmos_lite.importers`."""

from __future__ import annotations

from collections.abc import Mapping

from llmos_lite.core.traces.importers.base import Importer, Source
from llmos_lite.core.traces.importers.claude_code import ClaudeCode
from llmos_lite.core.traces.importers.codex import Codex
from llmos_lite.core.traces.importers.openai_chat import OpenAIChat
from llmos_lite.engines import plugins
from llmos_lite.errors import Invalid


def importers() -> dict[str, Importer]:
    """Return every importer by name; a plug-in may replace a built-in one of its name.

    Raises:
        Invalid: `plugin.broken`, when an installed plug-in cannot be loaded, or `plugin.importer` when it is none.
    """
    found: dict[str, Importer] = {item.name: item for item in (ClaudeCode(), Codex(), OpenAIChat())}
    for name, loaded in plugins.load(plugins.IMPORTERS).items():
        plugin = loaded() if isinstance(loaded, type) else loaded
        if not isinstance(plugin, Importer):
            raise Invalid(
                "plugin.importer",
                f"The plug-in {name!r} is no importer: it has no name, sniff and read.",
                hint="Mend or uninstall it.",
            )
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
    if b"\0" in head.partition(b"\n")[0]:  # later ones are what a power cut left
        return None
    return next((item for item in reversed(list(known.values())) if item.sniff(head)), None)
