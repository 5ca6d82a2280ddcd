"""Repeated goals become skills."""
