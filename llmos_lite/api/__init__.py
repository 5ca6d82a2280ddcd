"""The HTTP interface: speaks a protocol, calls core once."""
