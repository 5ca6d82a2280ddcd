"""A package that extends llmos-lite: one importer, one model, one middleware."""
