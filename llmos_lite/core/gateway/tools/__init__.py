"""Tools of ours in other people's conversations: offered beside the client's, answered here, and never seen by it."""
