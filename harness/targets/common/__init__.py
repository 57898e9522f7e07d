"""What the targets share: the session that runs one hand-off, and the clients that use workers and HTTP."""
