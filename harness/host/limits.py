"""Deadlines for processes of this machine, in seconds, and other limits. A deadline that passes is an error with the log's tail."""

from __future__ import annotations

CONTAINER = 60.0
WORKER_CALL = 180.0
POLL = 0.05
"""Between two looks at a condition that nothing announces, such as a health endpoint."""
GRACE = 3.0
"""Between asking a process to end and killing it."""
CLEANUP = 60.0
"""For a command that removes what a killed run left outside its directory."""
ROOM = 64 * 2**20
"""Bytes that must be free before a session starts. It writes less than that; a disk that fills up on the way would make processes
fail in ways that look like faults of the stack."""
