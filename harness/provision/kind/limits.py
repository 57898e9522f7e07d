"""How long the kind target waits for what, in seconds (each is a deadline: running into one is an error that shows the state), and what
it asks of the machine."""

from __future__ import annotations

VERSION = 30.0
"""A tool saying its version."""
CREATE = 600.0
"""``kind create cluster`` with the node image in place takes 20 to 60."""
RETURN = 240.0
"""Until the API server of a node that was stopped and started again answers."""
APPLY = 240.0
"""Until one step could be applied: a webhook in its way may still be starting."""
READY = 600.0
"""Until everything that one step started is ready; images are pulled meanwhile."""
LOCK = 3600.0
"""While another trivet brings the same cluster up, images included."""
POLL = 1.0
MEMORY = 6 * 2**30
"""Bytes that Docker must have: the platform rests at about 3 GiB, a roll-out has two predictors and a trainer beside it."""
DISK = 12 * 2**30
"""Bytes that must be free where Docker keeps its data: the images of one stack, unpacked, and the node's own."""
KIND = (0, 27)
"""The oldest kind whose node images read registry mirrors from ``/etc/containerd/certs.d`` without a patch."""
PORT_ATTEMPTS = 3
"""Creations of a cluster whose free ports somebody else took in the meantime."""
