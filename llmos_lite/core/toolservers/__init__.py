"""MCP servers whose tools a model may call in a chat, as far as an admin allows."""
