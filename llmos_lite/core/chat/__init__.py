"""One chat: choose skills, call the model, keep the trace."""
