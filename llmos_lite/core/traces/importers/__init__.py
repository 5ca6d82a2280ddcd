"""Other tools' logs, read as traces."""

from llmos_lite.core.traces.importers.base import Importer, Skipped, Source, Target
from llmos_lite.core.traces.importers.registry import choose, importers
from llmos_lite.core.traces.importers.work import Import, ImportReport

__all__ = ["Import", "ImportReport", "Importer", "Skipped", "Source", "Target", "choose", "importers"]
