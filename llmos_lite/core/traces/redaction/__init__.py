"""The place between journal and Git where secrets and personal data are taken out of a trace."""

from llmos_lite.core.traces.redaction.base import Finder, Found, KeepAll, Redactor
from llmos_lite.core.traces.redaction.redactor import Redaction, redactor_of

__all__ = ["Finder", "Found", "KeepAll", "Redaction", "Redactor", "redactor_of"]
