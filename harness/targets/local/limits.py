"""Timeouts of the local target in seconds. An error at a timeout has the tail of the log."""

from __future__ import annotations

TRACKING_SERVER = 120.0
RUNTIME = 90.0
ATTEMPTS = 3
"""Attempts to start a server, when another process takes its free port in the meantime."""
