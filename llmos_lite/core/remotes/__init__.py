"""Remotes: other repositories that a volume is mirrored to and pulled from."""
