"""Upstream manifests as text: splits a YAML stream into objects, selects them, resolves image names, patches fields. Applies nothing.

An object without a patch keeps upstream's text. Only patched objects are parsed, because parsing the CRDs of one release takes seconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from trivet.errors import UsageError, choices, nearest

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_IMPORT_PATH = re.compile(r"ko://(?P<path>[\w./-]+)")
_AFTER_TAG = r"(?:@sha256:[0-9a-f]+)?(?![\w.-])"


@dataclass(frozen=True, kw_only=True)
class KubernetesObject:
    """One object of a manifest as YAML text, with kind, name and namespace; ``namespace`` is empty when the text has none."""

    kind: str
    name: str
    namespace: str
    text: str

    @property
    def id(self) -> str:
        """``Kind/name``, which patterns are matched against."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Changes to every object whose ``Kind/name`` matches one of the patterns ``on``.

    Fields are JSON pointers (RFC 6901) with two extensions: ``*`` is every item of a list, and an item of a list of objects may be given by
    its ``name``. ``set`` replaces a value and creates missing parents; ``json`` merges into a string that contains JSON, as in KServe's
    ConfigMap; ``append`` adds items to a list; ``remove`` deletes a field. ``source`` restricts the patch to one image source.
    """

    on: Sequence[str]
    set: Mapping[str, Any] = field(default_factory=dict)
    json: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    append: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    remove: Sequence[str] = ()
    source: str = ""


def read_files(folder: Path, patterns: Iterable[str], kustomize: Callable[[str], str] | None = None) -> str:
    """The YAML files below ``folder`` that match the glob patterns, as one stream, in the order of the patterns. A pattern that ends in a
    slash is the folder of a kustomization, which ``kustomize`` renders.

    Raises UsageError for a pattern that matches no file. Module archives have no symbolic links.
    """
    texts = []
    for pattern in patterns:
        if kustomize and pattern.endswith("/") and (folder / pattern).is_dir():
            texts.append(kustomize(str(folder / pattern)))
            continue
        files = sorted(folder.glob(pattern))
        if not files:
            raise UsageError(
                f"the module in {folder} has no file {pattern!r}",
                remedy="module archives have no symbolic links; name the target of the link",
            )
        texts += [file.read_text(encoding="utf-8") for file in files]
    return "\n---\n".join(texts)


def split_stream(stream: str) -> list[KubernetesObject]:
    """The objects of a YAML stream, in order. Raises UsageError for one without kind or name."""
    return [_object(text) for text in re.split(r"(?m)^---.*$", stream) if _has_content(text)]


def select(
    objects: Iterable[KubernetesObject], only: Sequence[str] = (), drop: Sequence[str] = ()
) -> list[KubernetesObject]:
    """The objects that match a pattern of ``only`` (all objects, when it is empty) and no pattern of ``drop``."""
    return [one for one in objects if (not only or matches(one.id, only)) and not matches(one.id, drop)]


def matches(identifier: str, patterns: Sequence[str]) -> bool:
    """Whether ``Kind/name`` matches one of the shell patterns, such as ``Deployment/*``."""
    return any(fnmatchcase(identifier, pattern) for pattern in patterns)


def resolve_images(manifest: KubernetesObject, template: str) -> KubernetesObject:
    """The object with every ``ko://import/path`` replaced by ``template``, in which ``{path}`` is the import path."""
    text = _IMPORT_PATH.sub(lambda match: template.replace("{path}", match["path"]), manifest.text)
    return replace(manifest, text=text)


def rename_images(manifest: KubernetesObject, names: Mapping[str, str]) -> KubernetesObject:
    """The object with other images: complete name of the one in it → name of the one that replaces it.

    In the object, ``docker.io`` and ``library`` may be left out, and a digest may follow.
    """
    text = manifest.text
    for old, new in names.items():
        host, _, rest = old.partition("/")
        short = rest.removeprefix("library/") if host == "docker.io" else old
        optional = re.escape(old.removesuffix(short))
        text = re.sub(rf"(?<![\w./-])(?:{optional}|{re.escape(host)}/)?{re.escape(short)}{_AFTER_TAG}", new, text)
    return replace(manifest, text=text)


def names_image(manifest: KubernetesObject, image: str) -> bool:
    """Whether an object names an image, given without registry, of any registry."""
    return bool(re.search(rf"(?<![\w.-]){re.escape(image)}{_AFTER_TAG}", manifest.text))


def apply_patches(objects: Sequence[KubernetesObject], patches: Sequence[Patch]) -> list[KubernetesObject]:
    """The objects with every patch applied, in order.

    Raises UsageError for a pattern that no object matches, and for a field that does not exist: either the patch is wrong, or upstream has
    changed.
    """
    for patch in patches:
        for pattern in patch.on:
            if not any(matches(one.id, [pattern]) for one in objects):
                raise UsageError(
                    f"no object matches the pattern {pattern!r} of a patch",
                    remedy=choices(pattern, sorted({one.id for one in objects})),
                )
    return [_patched(one, [patch for patch in patches if matches(one.id, patch.on)]) for one in objects]


def parse(manifest: KubernetesObject) -> dict[str, Any]:
    """The object's content."""
    return dict(yaml.load(manifest.text, _LOADER))


def render(content: Mapping[str, Any]) -> KubernetesObject:
    """The object with this content, as YAML text."""
    metadata = content["metadata"]
    return KubernetesObject(
        kind=content["kind"],
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        text=yaml.dump(dict(content), Dumper=_DUMPER, sort_keys=False),
    )


def join_stream(objects: Iterable[KubernetesObject]) -> str:
    """The objects as one YAML stream."""
    return "\n---\n".join(one.text.strip("\n") for one in objects) + "\n"


def _has_content(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def _object(text: str) -> KubernetesObject:
    kind = re.search(r"(?m)^kind:\s*([\w.]+)\s*(#.*)?$", text)
    block = re.search(r"(?m)^metadata:\s*\n((?:[ #].*\n|\n)*)", text)
    if kind and block and (name := _field(block[1], "name")):
        return KubernetesObject(kind=kind[1], name=name, namespace=_field(block[1], "namespace"), text=text)
    content = yaml.load(text, _LOADER)
    try:
        return replace(render(content), text=text)
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"a manifest has an object without kind or name: {text.strip()[:200]!r}",
            remedy="exclude its file, or check upstream's purpose of it",
        ) from error


def _field(block: str, name: str) -> str:
    """A scalar field of the block's first level; empty when it is missing or not a simple scalar."""
    first = re.search(r"(?m)^( +)\S", block)
    match = (
        re.search(rf"(?m)^{first[1]}{name}:[ ]+([\w.:-]+|\"[\w.:-]+\"|'[\w.:-]+')\s*(#.*)?$", block) if first else None
    )
    return match[1].strip("\"'") if match else ""


def _patched(manifest: KubernetesObject, patches: Sequence[Patch]) -> KubernetesObject:
    if not patches:
        return manifest
    content = parse(manifest)
    try:
        for patch in patches:
            _apply(content, patch)
    except (LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"cannot apply a patch to {manifest.id}: {error}", remedy="compare the patch with the module's manifest"
        ) from error
    return render(content)


def _apply(content: dict[str, Any], patch: Patch) -> None:
    for pointer, value in patch.set.items():
        for parent, key in _targets(content, pointer, create=True):
            parent[key] = value
    for pointer, table in patch.json.items():
        for parent, key in _targets(content, pointer):
            parent[key] = json.dumps(json.loads(parent[key]) | dict(table), indent=2)
    for pointer, items in patch.append.items():
        for parent, key in _targets(content, pointer, create=True):
            present = parent.setdefault(key, []) if isinstance(parent, dict) else parent[key]
            present.extend(item for item in items if item not in present)
    for pointer in patch.remove:
        for parent, key in _targets(content, pointer):
            del parent[key]


def _targets(content: Any, pointer: str, *, create: bool = False) -> Iterator[tuple[Any, Any]]:
    """Parent and key of every field that ``pointer`` refers to. Keys are collected first, because the caller changes the parents."""
    segments = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    if not pointer.startswith("/") or not segments:
        raise ValueError(f"{pointer!r} is not a JSON pointer, such as /spec/replicas")
    parents = [content]
    for segment in segments[:-1]:
        parents = [child for parent in parents for child in _children(parent, segment, pointer, create)]
    for parent in parents:
        for key in list(_keys(parent, segments[-1], pointer, create)):
            yield parent, key


def _children(parent: Any, segment: str, pointer: str, create: bool) -> Iterator[Any]:
    for key in _keys(parent, segment, pointer, create):
        if isinstance(parent, dict) and (key not in parent or parent[key] is None):
            parent[key] = {}
        yield parent[key]


def _keys(parent: Any, segment: str, pointer: str, create: bool) -> Iterator[Any]:
    if isinstance(parent, list):
        if segment == "*":
            yield from range(len(parent))
            return
        named = [n for n, item in enumerate(parent) if isinstance(item, dict) and item.get("name") == segment]
        if named or segment.isdecimal():
            yield named[0] if named else int(segment)
            return
    elif isinstance(parent, dict) and (create or segment in parent):
        yield segment
        return
    items = [item.get("name") for item in parent if isinstance(item, dict)] if isinstance(parent, list) else parent
    near = nearest(segment, [str(name) for name in items]) if isinstance(items, list | dict) else ""
    raise LookupError(f"{pointer}: there is no {segment!r}{f'; did you mean {near!r}?' if near else ''}")
