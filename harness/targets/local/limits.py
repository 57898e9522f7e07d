"""How long the local target waits for what, in seconds (each is a deadline: running into one is an error with the log's tail), and
what else it limits."""

from __future__ import annotations

TRACKING_SERVER = 120.0
CONTAINER = 60.0
WORKER_CALL = 180.0
PIPELINE = 300.0
DOWNLOAD = 120.0
RUNTIME = 90.0
INFER = 30.0
POLL = 0.05
"""Between two looks at a condition that nothing announces, such as a health endpoint."""
GRACE = 3.0
"""Between asking a process to end and killing it."""
UNDO = 60.0
"""For a command that removes what a killed run made elsewhere."""
ROOM = 64 * 2**20
"""Bytes that must be free before a session starts. It writes less than that; a disk that fills up on the way would make processes
fail in ways that look like faults of the stack."""
ATTEMPTS = 3
"""Starts of a server whose free port somebody else took in the meantime."""
