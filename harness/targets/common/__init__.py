"""What the targets share: the session that runs one handover, and the clients that use workers and HTTP."""
