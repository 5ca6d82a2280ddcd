"""Providers: the model servers that the gateway asks, from settings, a file, and what admins set."""
