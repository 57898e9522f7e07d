"""Upstream manifests as text: splitting a YAML stream, choosing documents, naming images, changing fields. Reads and applies nothing.

A document that no patch concerns stays the text that upstream wrote; only patched ones are parsed, because the CRDs of one release take
seconds to parse.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from trivet.errors import UsageError

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_IMPORT_PATH = re.compile(r"ko://(?P<path>[\w./-]+)")


@dataclass(frozen=True, kw_only=True)
class Document:
    """One object of a manifest as YAML text, with what it takes to choose it. ``namespace`` is empty when the text names none."""

    kind: str
    name: str
    namespace: str
    text: str

    @property
    def id(self) -> str:
        """``Kind/name``, which patterns are matched with."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Changes to every document whose ``Kind/name`` matches one of the patterns ``on``.

    Fields are named by JSON pointers (RFC 6901) with two additions: ``*`` is every item of a list, and a list of objects may be indexed by
    an item's ``name``. ``set`` replaces, and makes parents that are missing; ``json`` merges into a text that is itself JSON, as in
    KServe's ConfigMap; ``append`` adds items to a list; ``remove`` deletes what is there. ``source`` restricts the patch to one source of
    images.
    """

    on: Sequence[str]
    set: Mapping[str, Any] = field(default_factory=dict)
    json: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    append: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    remove: Sequence[str] = ()
    source: str = ""


def read_files(folder: Path, patterns: Iterable[str]) -> str:
    """The YAML files below ``folder`` that match the glob patterns, as one stream, in the order of the patterns.

    Raises UsageError for a pattern that matches no file. Module archives have no symbolic links.
    """
    texts = []
    for pattern in patterns:
        files = sorted(folder.glob(pattern))
        if not files:
            raise UsageError(
                f"the module in {folder} has no file {pattern!r}",
                remedy="module archives have no symbolic links; name the target of the link",
            )
        texts += [file.read_text(encoding="utf-8") for file in files]
    return "\n---\n".join(texts)


def documents(stream: str) -> list[Document]:
    """The objects of a YAML stream, in order. Raises UsageError for one without kind or name."""
    return [_document(text) for text in re.split(r"(?m)^---.*$", stream) if _says_something(text)]


def choose(found: Iterable[Document], only: Sequence[str] = (), drop: Sequence[str] = ()) -> list[Document]:
    """The documents that match a pattern of ``only`` (all, when it is empty) and none of ``drop``."""
    return [one for one in found if (not only or matches(one.id, only)) and not matches(one.id, drop)]


def matches(identifier: str, patterns: Sequence[str]) -> bool:
    """Whether ``Kind/name`` matches one of the shell patterns, such as ``Deployment/*``."""
    return any(fnmatchcase(identifier, pattern) for pattern in patterns)


def name_images(document: Document, template: str) -> Document:
    """The document with every ``ko://import/path`` replaced by ``template``, in which ``{path}`` is the import path."""
    return replace(
        document, text=_IMPORT_PATH.sub(lambda found: template.replace("{path}", found["path"]), document.text)
    )


def patched(found: Sequence[Document], patches: Sequence[Patch]) -> list[Document]:
    """The documents with every patch applied, in order.

    Raises UsageError for a pattern that no document matches and for a field that is not there: a patch that does nothing is a mistake, or
    upstream has changed.
    """
    for patch in patches:
        for pattern in patch.on:
            if not any(matches(one.id, [pattern]) for one in found):
                raise UsageError(
                    f"a patch is on {pattern!r}, which no document matches",
                    remedy=f"it is one of: {', '.join(sorted({one.id for one in found}))}",
                )
    return [_patched(one, [patch for patch in patches if matches(one.id, patch.on)]) for one in found]


def parse(document: Document) -> dict[str, Any]:
    """The object of a document."""
    return dict(yaml.load(document.text, _LOADER))


def render(content: Mapping[str, Any]) -> Document:
    """The document of an object."""
    metadata = content["metadata"]
    return Document(
        kind=content["kind"],
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        text=yaml.dump(dict(content), Dumper=_DUMPER, sort_keys=False),
    )


def stream(found: Iterable[Document]) -> str:
    """The documents as one YAML stream."""
    return "\n---\n".join(one.text.strip("\n") for one in found) + "\n"


def _says_something(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def _document(text: str) -> Document:
    kind = re.search(r"(?m)^kind:\s*([\w.]+)\s*(#.*)?$", text)
    block = re.search(r"(?m)^metadata:\s*\n((?:[ #].*\n|\n)*)", text)
    if kind and block and (name := _field(block[1], "name")):
        return Document(kind=kind[1], name=name, namespace=_field(block[1], "namespace"), text=text)
    content = yaml.load(text, _LOADER)
    try:
        return replace(render(content), text=text)
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"a manifest has a document without kind or name: {text.strip()[:200]!r}",
            remedy="leave its file out, or see what upstream means by it",
        ) from error


def _field(block: str, name: str) -> str:
    """A plain field of the block's first level; empty when it is not there or not plain."""
    first = re.search(r"(?m)^( +)\S", block)
    found = (
        re.search(rf"(?m)^{first[1]}{name}:[ ]+([\w.:-]+|\"[\w.:-]+\"|'[\w.:-]+')\s*(#.*)?$", block) if first else None
    )
    return found[1].strip("\"'") if found else ""


def _patched(document: Document, patches: Sequence[Patch]) -> Document:
    if not patches:
        return document
    content = parse(document)
    try:
        for patch in patches:
            _apply(content, patch)
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"a patch on {document.id} does not fit: {error}", remedy="compare it with the module's manifest"
        ) from error
    return render(content)


def _apply(content: dict[str, Any], patch: Patch) -> None:
    for pointer, value in patch.set.items():
        for parent, key in _places(content, pointer, make=True):
            parent[key] = value
    for pointer, table in patch.json.items():
        for parent, key in _places(content, pointer):
            parent[key] = json.dumps(json.loads(parent[key]) | dict(table), indent=2)
    for pointer, items in patch.append.items():
        for parent, key in _places(content, pointer, make=True):
            present = parent.setdefault(key, []) if isinstance(parent, dict) else parent[key]
            present.extend(item for item in items if item not in present)
    for pointer in patch.remove:
        for parent, key in _places(content, pointer):
            del parent[key]


def _places(content: Any, pointer: str, *, make: bool = False) -> Iterator[tuple[Any, Any]]:
    """Parent and key of everything that ``pointer`` names, as a list: the caller changes what is walked."""
    segments = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    if not pointer.startswith("/") or not segments:
        raise ValueError(f"{pointer!r} is not a JSON pointer, such as /spec/replicas")
    parents = [content]
    for segment in segments[:-1]:
        parents = [child for parent in parents for child in _children(parent, segment, pointer, make)]
    for parent in parents:
        for key in list(_keys(parent, segments[-1], pointer, make)):
            yield parent, key


def _children(parent: Any, segment: str, pointer: str, make: bool) -> Iterator[Any]:
    for key in _keys(parent, segment, pointer, make):
        if isinstance(parent, dict) and (key not in parent or parent[key] is None):
            parent[key] = {}
        yield parent[key]


def _keys(parent: Any, segment: str, pointer: str, make: bool) -> Iterator[Any]:
    if isinstance(parent, list):
        if segment == "*":
            yield from range(len(parent))
            return
        named = [n for n, item in enumerate(parent) if isinstance(item, dict) and item.get("name") == segment]
        if named or segment.isdecimal():
            yield named[0] if named else int(segment)
            return
    elif isinstance(parent, dict) and (make or segment in parent):
        yield segment
        return
    raise LookupError(f"{pointer}: there is no {segment!r}")
