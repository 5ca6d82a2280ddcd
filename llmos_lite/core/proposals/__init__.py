"""Promotion and review."""
