"""The logic: no web framework, no driver, no environment."""
