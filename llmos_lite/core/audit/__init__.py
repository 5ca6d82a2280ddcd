"""The audit log: who did what to what, from where, when, with which credential, and what came of it."""

from llmos_lite.core.audit.log import Audit, Caller

__all__ = ["Audit", "Caller"]
