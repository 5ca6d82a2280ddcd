"""Traces: what happened, kept and found again."""
