"""Paths through a cluster's network: the ones that the platform needs, and the ones that it forbids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetworkPath:
    """From the pods that ``selector`` finds in ``namespace`` to ``host``:``port``, over TCP; open or closed by the platform's rules.

    ``container`` is one that has Python, which the probe runs in; empty for the pod's default.
    """

    name: str
    namespace: str
    selector: Mapping[str, str]
    host: str
    port: int
    allowed: bool
    container: str = ""
