"""Rows: accounts, and a catalog that can be rebuilt."""
