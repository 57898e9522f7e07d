"""Manifests as text for kubectl."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml


def as_yaml(documents: Sequence[Any]) -> str:
    """The documents as YAML, without anchors, which are unusual in manifests."""
    return yaml.dump_all(documents, Dumper=_NoAnchors, sort_keys=False)


class _NoAnchors(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
