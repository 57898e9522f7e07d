"""Timeouts of the kind target in seconds, and what it requires of the machine. An error at a timeout shows the last observed state."""

from __future__ import annotations

VERSION = 30.0
"""The ``version`` command of a tool."""
CREATE = 600.0
"""``kind create cluster``; with the node image in Docker it takes 20 to 60 s."""
RETURN = 240.0
"""Until the API server of a restarted node is ready."""
APPLY = 240.0
"""Until one step is applied: an admission webhook that it needs may still be starting."""
READY = 600.0
"""Until all workloads of one step are ready, including image pulls."""
LOCK = 3600.0
"""While another trivet process creates the same cluster, including its images."""
POLL = 1.0
MEMORY = 6 * 2**30
"""Bytes of memory that Docker must have: the idle platform uses about 3 GiB, a roll-out adds two predictors and a trainer."""
DISK = 8 * 2**30
"""Bytes that must be free on the disk of Docker's data: one stack's images take 5 GB unpacked, what runs writes another."""
KIND = (0, 27)
"""The oldest kind whose node images read registry mirrors from ``/etc/containerd/certs.d`` without a patch."""
PORT_ATTEMPTS = 3
"""Attempts to create a cluster, when another process takes one of its free ports in the meantime."""
