"""What the targets share: the session that drives one hand-off, and the clients over workers and HTTP."""
