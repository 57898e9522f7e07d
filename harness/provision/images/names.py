"""Image references, parsed as containerd parses them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from trivet.errors import UsageError

_REFERENCE = re.compile(r"(?P<name>[a-z0-9]+(?:[./_:-]+[a-z0-9]+)*):(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A complete reference ``registry/path:tag``, as containerd resolves it: ``redis:7`` is ``docker.io/library/redis:7``."""

    registry: str
    path: str
    tag: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}:{self.tag}"


def parse_reference(text: str) -> Reference:
    """``text`` as a complete reference. Raises UsageError for a text without a tag or of another form."""
    if not (match := _REFERENCE.fullmatch(text)):
        raise UsageError(f"{text!r} is not an image reference with a tag", remedy="write it as registry/path:tag")
    first, slash, rest = match["name"].partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return Reference(registry=first, path=rest, tag=match["tag"])
    path = match["name"] if slash else f"library/{match['name']}"
    return Reference(registry="docker.io", path=path, tag=match["tag"])


def with_inputs(reference: Reference, inputs: str) -> Reference:
    """The reference of an image that is made from a lock, with the start of the digest of its inputs: of one version, two locks are two."""
    ending = f"-lock-{inputs[:12]}"
    return reference if reference.tag.endswith(ending) else replace(reference, tag=f"{reference.tag[:100]}{ending}")
