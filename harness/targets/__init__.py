"""Targets: where a stack runs. Each offers the same clients, or says that it cannot."""
