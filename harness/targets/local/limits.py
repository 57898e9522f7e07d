"""Deadlines of the local target, in seconds. Running into one is an error with the log's tail."""

from __future__ import annotations

TRACKING_SERVER = 120.0
RUNTIME = 90.0
ATTEMPTS = 3
"""Starts of a server whose free port somebody else took in the meantime."""
