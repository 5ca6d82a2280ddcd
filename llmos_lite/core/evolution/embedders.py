"""The embedder that a setting names: an entry point in the group `llmos_lite.embedders`."""

from __future__ import annotations

from typing import cast

from llmos_lite.core.evolution.features import Embedder
from llmos_lite.engines import plugins
from llmos_lite.errors import Invalid


def find_embedder(name: str) -> Embedder:
    """Return the embedder of an installed package: an object with `embed`, or something to call that makes one.

    Raises:
        NotFound: `plugin.unknown`.
        Invalid: `plugin.broken`, or `plugin.embedder` when it is none.
    """
    found = plugins.find(plugins.EMBEDDERS, name)
    if isinstance(found, type) or not hasattr(found, "embed"):
        found = found() if callable(found) else found
    if not hasattr(found, "embed"):
        raise Invalid("plugin.embedder", f"The plug-in {name!r} is no embedder: it has no embed.", hint="Mend it.")
    return cast("Embedder", found)
