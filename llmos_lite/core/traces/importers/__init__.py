"""Other tools' logs, read as traces."""
