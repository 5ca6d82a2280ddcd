"""Skills: the format, the manager, the search."""
