"""A package that extends llmos-lite: one of each kind."""
