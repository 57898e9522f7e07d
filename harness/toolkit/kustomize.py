"""Which files are patches of kustomize: parts of manifests, which are not judged as whole ones. Renders nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from trivet.toolkit.documents import BrokenDocument, documents
from trivet.toolkit.walking import KUSTOMIZATION, Found, Place, Skipped

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", KUSTOMIZATION)
"""kustomize 5.4, api/konfig/general.go, RecognizedKustomizationFileNames."""

PATCH = "kustomize patch"
STRATEGIC_MERGE_PATCH = "strategic merge patch"

MAX_BYTES = 2 * 1024 * 1024


def without_patches(places: Iterable[Place]) -> list[Place]:
    """``places`` with those that a kustomization names as its patches skipped.

    Kustomizations are those among the places, and those beside or one directory above a file that the user named.
    """
    found = list(places)
    files: set[Path] = set()
    for place in found:
        if isinstance(place, Found):
            if place.path.name in KUSTOMIZATIONS:
                files.add(place.path)
            elif place.named:
                files |= {folder / name for folder in list(place.path.parents)[:2] for name in KUSTOMIZATIONS}
    patches = {patch for file in files for patch in _patches(file)}
    if not patches:
        return found
    return [
        Skipped(str(place.path), PATCH) if isinstance(place, Found) and _absolute(place.path) in patches else place
        for place in found
    ]


def is_patch(document: Any) -> bool:
    """Whether a document has a directive of a strategic merge patch (kubernetes-sigs/kustomize, kyaml/yaml/merge2: ``$patch``)."""
    if isinstance(document, dict):
        return "$patch" in document or any(map(is_patch, document.values()))
    return isinstance(document, list) and any(map(is_patch, document))


def _patches(file: Path) -> Iterator[str]:
    if not os.path.isfile(file):  # noqa: PTH113 - Path raises for what may not be looked at
        return
    try:
        with file.open("rb") as opened:
            (document,) = documents(opened.read(MAX_BYTES).decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError, BrokenDocument, ValueError):
        return
    content = document.value if isinstance(document.value, dict) else {}
    for key in ("patches", "patchesJson6902", "patchesStrategicMerge"):
        listed = content.get(key)
        for one in listed if isinstance(listed, list) else ():
            named = one.get("path") if isinstance(one, dict) else one
            # A patch may stand in the kustomization itself, as a text of several lines.
            if isinstance(named, str) and "\n" not in named:
                yield _absolute(file.parent / named)


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - Path.resolve would follow links
