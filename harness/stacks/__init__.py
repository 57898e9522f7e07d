"""Stacks: reading them from their folders, locking their roles, and realising roles as environments."""
