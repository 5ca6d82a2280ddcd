"""llmos-lite: a team's know-how for language models, kept in Git."""

__version__ = "0.1.0"
