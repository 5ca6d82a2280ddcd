"""The terminal: one file per noun."""
