"""The gateway: a client's own request gets skills, passes on to its model, and leaves a trace."""
