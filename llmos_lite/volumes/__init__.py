"""Git-backed volumes and who may open them."""
