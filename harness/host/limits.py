"""Timeouts for processes on this machine in seconds, and other limits. An error at a timeout has the tail of the process's log."""

from __future__ import annotations

CONTAINER = 60.0
WORKER_CALL = 180.0
POLL = 0.05
"""Interval of polling, for example of a health endpoint."""
GRACE = 3.0
"""Between SIGTERM and SIGKILL."""
CLEANUP = 60.0
"""For a command that removes what a killed run left outside its directory."""
ROOM = 64 * 2**20
"""Bytes that must be free before a session starts. A session writes less than that. On a full disk, processes fail in ways that look like
faults of the stack."""
