"""Stacks: reading them from their folders, locking their roles, and building the environments of roles."""
