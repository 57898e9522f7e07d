"""The static target: files and directories as the subjects of static contracts. Starts nothing and judges nothing.

Every problem with a file is collected as a UsageError that names it; the other files are read all the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trivet.errors import UsageError
from trivet.model.subjects import CompiledPipeline, Keys, Manifest, ModelDirectory, Resource
from trivet.toolkit.documents import BrokenDocument, Document, documents

SUFFIXES = (".yaml", ".yml", ".json")
MLMODEL = "MLmodel"
MAX_BYTES = 64 * 1024 * 1024
"""A larger file is refused: it is not a manifest, and etcd takes no object beyond 1.5 MiB."""

Subject = Resource | CompiledPipeline | ModelDirectory

Place = Path | UsageError
"""A file or a model directory, or why there is none to read."""

KINDS: Mapping[type[Subject], tuple[str, ...]] = {
    Manifest: ("manifest", "resource"),
    Resource: ("resource",),
    CompiledPipeline: ("compiled_pipeline",),
    ModelDirectory: ("model_directory",),
}
"""The names under which a check wants each subject."""

RESOURCES: Mapping[str, tuple[str, ...]] = {
    "serving.kserve.io": (
        "ServingRuntime",
        "ClusterServingRuntime",
        "ClusterStorageContainer",
        "InferenceGraph",
        "TrainedModel",
    ),
    "": ("Secret", "ServiceAccount", "PersistentVolumeClaim", "ConfigMap"),
}
"""API group → kinds of the objects that are subjects beside InferenceServices."""


@dataclass(frozen=True, kw_only=True)
class ReadResult:
    """What one file or model directory holds. ``others`` names each document that is no subject, such as ``ConfigMap``."""

    subjects: tuple[Subject, ...] = ()
    others: tuple[str, ...] = ()
    errors: tuple[UsageError, ...] = ()


def places(paths: Iterable[Path]) -> Iterator[Place]:
    """Everything to read below ``paths``, each file once, in the order given and sorted within a directory.

    A directory is walked for YAML and JSON files; one that holds an ``MLmodel`` is a model directory and not walked further.
    Hidden directories and links to directories are not followed. A file that is named is read whatever it is called.
    """
    given = list(paths)
    seen: set[str] = set()
    for path in given:
        for place in _below_path(path):
            if len(given) > 1 and isinstance(place, Path):
                if (key := os.path.realpath(place)) in seen:
                    continue
                seen.add(key)
            yield place


def read(place: Place) -> ReadResult:
    """What stands at one of the ``places``."""
    if isinstance(place, UsageError):
        return ReadResult(errors=(place,))
    return read_model_directory(place) if _is_model_directory(place) else read_file(place)


def read_file(path: Path) -> ReadResult:
    """The subjects in a YAML or JSON stream. A broken document ends it; what stood before is kept."""
    subjects: list[Subject] = []
    others: list[str] = []
    errors: list[UsageError] = []
    try:
        text = _text(path)
    except UsageError as error:
        return ReadResult(errors=(error,))
    try:
        for document in documents(text):
            for subject in _subjects(document, document.value, (), str(path)):
                if isinstance(subject, str):
                    others.append(subject)
                elif isinstance(subject, CompiledPipeline) and (wrong := _misshapen(subject)):
                    errors += wrong
                else:
                    subjects.append(subject)
    except BrokenDocument as broken:
        errors.append(_broken(path, broken, text))
    return ReadResult(subjects=tuple(subjects), others=tuple(others), errors=tuple(errors))


def read_model_directory(path: Path) -> ReadResult:
    """An MLflow model, given by its directory or by its ``MLmodel``."""
    directory = path.parent if path.name == MLMODEL else path
    file = directory / MLMODEL
    try:
        text = _text(file)
    except UsageError as error:
        return ReadResult(errors=(error,))
    try:
        content = list(documents(text))
    except BrokenDocument as broken:
        return ReadResult(errors=(_broken(file, broken, text),))
    if (
        len(content) != 1
        or not isinstance(content[0].value, dict)
        or not isinstance(content[0].value.get("flavors"), dict)
    ):
        return ReadResult(
            errors=(
                UsageError(
                    f"{file} is not an MLmodel: expected one mapping with the key 'flavors', as MLflow writes it",
                    remedy="name the directory that mlflow's save_model or log_model wrote",
                ),
            )
        )
    return ReadResult(subjects=(ModelDirectory(path=directory, mlmodel=content[0].value, line=content[0].line),))


def _below_path(path: Path) -> Iterator[Place]:
    if not path.is_dir() or _is_model_directory(path):
        yield path
    else:
        yield from _walk(path)


def _walk(directory: Path) -> Iterator[Place]:
    try:
        with os.scandir(directory) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        yield UsageError(
            f"{directory} cannot be listed: {error.strerror}", remedy="allow this user to read it, or leave it out"
        )
        return
    if any(entry.name == MLMODEL for entry in entries):
        yield directory
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if not entry.name.startswith("."):
                yield from _walk(directory / entry.name)
        elif entry.name.endswith(SUFFIXES) and _is_read(entry):
            yield directory / entry.name


def _is_read(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link that leads nowhere, which is worth an error. A pipe would never end."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return True


def _is_model_directory(path: Path) -> bool:
    return path.name == MLMODEL or os.path.lexists(path / MLMODEL)


def _text(path: Path) -> str:
    try:
        # Not by the size that the file system tells: a pipe or a device has none.
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UsageError(
                f"{path} has more than {MAX_BYTES:,} bytes, and no manifest, pipeline or MLmodel has",
                remedy="leave the file out, or split it",
            )
        return content.decode("utf-8-sig")
    except IsADirectoryError:
        raise UsageError(f"{path} is a directory, expected a file", remedy="name the directory that holds it") from None
    except FileNotFoundError:
        raise UsageError(
            f"{path} does not exist", remedy="check the path; patterns are expanded by the shell"
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", remedy="allow this user to read it, or leave it out"
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not a text file in UTF-8: byte {error.start} is {error.object[error.start]:#04x}",
            remedy="name YAML or JSON files, or a directory that holds them",
        ) from error


def _broken(path: Path, broken: BrokenDocument, text: str) -> UsageError:
    remedy = "mend that place; whatever follows it in the file was not read"
    if "{{" in text:
        remedy = (
            "this looks like a template: render it first (`helm template`, `kustomize build`), then lint the result"
        )
    return UsageError(f"{path}:{broken.line}:{broken.column}: {broken.problem}", remedy=remedy)


def _subjects(document: Document, value: Any, keys: Keys, file: str) -> Iterator[Subject | str]:
    """The subjects in a document and in the items of a List, and the kind of whatever is none."""
    if value is None:
        return
    if not isinstance(value, dict):
        yield "document that is no mapping"
        return
    kind = value.get("kind")
    items = value.get("items")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from _subjects(document, item, (*keys, "items", index), file)
    elif kind == "InferenceService" and str(value.get("apiVersion")).partition("/")[0] == "serving.kserve.io":
        yield Manifest(file=file, document=value, line=_below(document, keys))
    elif isinstance(kind, str) and kind in RESOURCES.get(_group(value.get("apiVersion")), ()):
        yield Resource(file=file, document=value, line=_below(document, keys))
    elif isinstance(value.get("pipelineInfo"), dict) and ("root" in value or "deploymentSpec" in value):
        yield CompiledPipeline(file=file, document=value, line=_below(document, keys))
    elif isinstance(value.get("platforms"), dict):
        yield "platform spec"
    else:
        yield kind if isinstance(kind, str) and kind else "document without a kind"


def _group(api_version: Any) -> str:
    """The API group of an ``apiVersion``; empty for the core group ``v1``, and the whole text where there is no group."""
    group, slash, version = str(api_version).rpartition("/")
    return group if slash else version.removeprefix("v1")


def _misshapen(pipeline: CompiledPipeline) -> list[UsageError]:
    """An error for each place where the IR has the name of another of its parts and the file has something else.

    kfp IR 2.1.0, pipeline_spec.proto: ``ComponentSpec.executor_label`` is a string, ``PipelineTaskSpec.dependent_tasks`` are strings.
    """
    found: list[tuple[Keys, str]] = []
    components = _mapping(pipeline.document.get("components"))
    for name, component in components.items():
        label = _mapping(component).get("executorLabel", "")
        if not isinstance(label, str):
            found.append(
                (("components", name, "executorLabel"), f"is {_kind(label)}, expected the name of an executor")
            )
    owners: list[tuple[Keys, Any]] = [(("root",), pipeline.document.get("root"))]
    for owner, dag in owners + [(("components", name), component) for name, component in components.items()]:
        for name, task in _mapping(_mapping(_mapping(dag).get("dag")).get("tasks")).items():
            before = _mapping(task).get("dependentTasks", [])
            if not isinstance(before, list):
                wrong = f"is {_kind(before)}"
            else:
                wrong = next((f"holds {_kind(each)}" for each in before if not isinstance(each, str)), "")
            if wrong:
                found.append(((*owner, "dag", "tasks", name, "dependentTasks"), f"{wrong}, expected names of tasks"))
    return [
        UsageError(
            f"{pipeline.file}:{pipeline.line(keys)}: {'.'.join(map(str, keys))} {what}",
            remedy="compile the pipeline again: KFP cannot run it as it is",
        )
        for keys, what in found
    ]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    return {dict: "a mapping", list: "a list", bool: "a truth value"}.get(type(value), "a number")


def _below(document: Document, parents: Keys) -> Callable[[Keys], int]:
    return (lambda keys: document.line((*parents, *keys))) if parents else document.line
