"""The place between journal and Git where secrets and personal data are taken out of a trace."""

from llmos_lite.core.traces.redaction.base import Finder, Found, KeepAll, Redactor

__all__ = ["Finder", "Found", "KeepAll", "Redactor"]
