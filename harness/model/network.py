"""Network paths in a cluster that the platform needs or must block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetworkPath:
    """A TCP path from the pods that ``selector`` matches in ``namespace`` to ``host``:``port``; ``allowed`` says whether it must be open.

    ``container`` has Python and runs the probe; empty for the pod's default container.
    """

    name: str
    namespace: str
    selector: Mapping[str, str]
    host: str
    port: int
    allowed: bool
    container: str = ""
