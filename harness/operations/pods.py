"""What the pods have in common that run trivet on a platform: no root, no write access, few resources, one container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SCRATCH = {"name": "scratch", "emptyDir": {}}
"""The volume at /tmp: the file system is read-only elsewhere."""


def container(name: str, image: str, arguments: Sequence[str]) -> dict[str, Any]:
    """A container that runs ``trivet`` with these arguments; its pod needs the volume SCRATCH."""
    return {
        "name": name,
        "image": image,
        "command": ["trivet"],
        "args": list(arguments),
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": SCRATCH["name"], "mountPath": "/tmp"}],
    }
