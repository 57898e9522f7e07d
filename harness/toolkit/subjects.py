"""The static target: files, directories and streams as the subjects of static contracts. Starts nothing and judges nothing.

Every problem with a file is collected as a UsageError that names it; the other files are read all the same. A file that was found in a
directory, cannot be read, and shows no sign of KServe or KFP is skipped: a repository holds templates and other people's formats.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from trivet.errors import TrivetError, UsageError
from trivet.model.subjects import CompiledPipeline, Keys, Manifest, ModelDirectory, Resource
from trivet.toolkit.addressing import CORE_KINDS, GROUP, KSERVE_KINDS, is_misaddressed
from trivet.toolkit.documents import BrokenDocument, Document, documents
from trivet.toolkit.ignore_comments import MARK, IgnoreComment, ignore_comments
from trivet.toolkit.kustomize import STRATEGIC_MERGE_PATCH, is_patch
from trivet.toolkit.markdown import code_blocks
from trivet.toolkit.scalars import kfp_scalar, kubernetes_scalar, pyyaml_scalar
from trivet.toolkit.walking import MARKDOWN, MLMODEL, Found, Place, Skipped, TextStream

MAX_BYTES = 64 * 1024 * 1024
"""A larger file is refused: it is not a manifest, and etcd takes no object beyond 1.5 MiB."""

MAX_OBJECT = 2 * 1024 * 1024
"""A longer document is no object of a cluster."""

PART = 32 * 1024
"""Bytes of a part of a stream, at least: some thirty manifests."""

CHART = "Chart.yaml"
"""What the folder of a chart holds (helm 3, pkg/chartutil/create.go, ChartfileName)."""

PLATFORM_SPEC = "platform spec"
TEMPLATE = "template"
NO_YAML = "file that is no YAML or JSON"
NO_TEXT = "file that is no text in UTF-8"
TOO_LARGE = "large file without a sign of KServe or KFP"
"""Why a file in a directory is skipped, as a noun that can be counted."""

_SIGNS = re.compile(rb"serving\.kserve\.io|InferenceService|pipelineInfo")
"""What a manifest or pipeline that is broken still shows."""
_PIPELINE = re.compile(r"(?:^pipelineInfo|^[ \t{]*\"pipelineInfo\"|\A[{\s]*\"pipelineInfo\")\s*:", re.MULTILINE)
"""What a stream with a compiled pipeline has at its top."""
_TEMPLATE = re.compile(r"\{\{(?!\$\.)|\{%")
"""Helm's and Jinja's templates, without the placeholders of compiled pipelines: ``{{$.inputs.parameters['x']}}``."""
_HELM = re.compile(r"\{\{-?\s*(?:\.Values|\.Release|\.Chart|include|template)\b")
"""What no other templates have: runtimes of KServe hold ``{{.Name}}``."""

_YTT = re.compile(r"^[ \t]*#@[ \t]?(?:load|def|if|for|end|data/values|overlay)\b", re.MULTILINE)
"""Templates of ytt, which are YAML with directives in comments."""

Subject = Resource | CompiledPipeline | ModelDirectory

KINDS: Mapping[type[Subject], tuple[str, ...]] = {
    Manifest: ("manifest", "resource"),
    Resource: ("resource",),
    CompiledPipeline: ("compiled_pipeline",),
    ModelDirectory: ("model_directory",),
}
"""The names under which a check wants each subject."""

RESOURCES: Mapping[str, tuple[str, ...]] = {
    GROUP: tuple(kind for kind in KSERVE_KINDS if kind != "InferenceService"),
    "": CORE_KINDS,
}
"""API group → kinds of the objects that are subjects beside InferenceServices."""

WITHOUT_KIND = "document without a kind"

_COMPANION = re.compile(
    rb"""kind["']?\s*:\s*["']?(?:%s)\b""" % "|".join(name for names in RESOURCES.values() for name in names).encode()
)
_SERVICE = re.compile(rb"""kind["']?\s*:\s*["']?InferenceService\b""")
_SOURCE = b"# Source: "
_DOCUMENT_START = re.compile(rb"^(?=---\s)", re.MULTILINE)
_DEPENDING = re.compile(rb"^%%|pipelineInfo|\r(?!\n)|\xc2\x85|\xe2\x80[\xa8\xa9]|%s" % MARK.encode(), re.MULTILINE)
"""What makes documents of a stream depend on one another, and line breaks that are no line feeds."""


@dataclass(frozen=True, kw_only=True)
class ReadResult:
    """What one file or model directory holds. ``others`` names each document that is no subject, such as ``ConfigMap``."""

    subjects: tuple[Subject, ...] = ()
    others: tuple[str, ...] = ()
    errors: tuple[TrivetError, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    ignores: tuple[IgnoreComment, ...] = ()
    sources: tuple[tuple[int, str], ...] = ()
    """In a rendered stream: the lines from which on it comes from a template, and the template's path."""

    def source(self, line: int) -> str:
        """The template that a line of a rendered stream comes from; empty if that is unknown."""
        index = bisect_right(self.sources, line, key=lambda one: one[0])
        return self.sources[index - 1][1] if index else ""


def read(place: Place) -> ReadResult:
    """What stands at one of the ``places``."""
    if isinstance(place, TrivetError):
        return ReadResult(errors=(place,))
    if isinstance(place, Skipped):
        return ReadResult(skipped=(place,))
    if isinstance(place, TextStream):
        found = _read_bytes(place.name, place.content, named=True, before=place.before)
        ignores = found.ignores if place.comments else ()
        return replace(found, ignores=ignores, sources=() if place.file else _sources(place.content, place.before))
    if place.model:
        return read_model_directory(place.path)
    return read_file(place.path, named=place.named)


def read_file(path: Path, *, named: bool = True) -> ReadResult:
    """The subjects in a YAML or JSON stream. A broken document ends it; what stood before is kept.

    Unless the file is ``named`` by the user, it is skipped when it is a template, and when it cannot be read and shows no sign of KServe
    or KFP.
    """
    try:
        content = _bytes(path)
    except _TooLarge as error:
        return ReadResult(errors=(error,)) if named else ReadResult(skipped=(Skipped(str(path), TOO_LARGE),))
    except UsageError as error:
        return ReadResult(errors=(error,))
    if path.suffix != MARKDOWN:
        return _read_bytes(str(path), content, named=named)
    found = [_whole(_read_bytes(str(path), block, named=False, before=before)) for before, block in _blocks(content)]
    return ReadResult(
        **{one.name: tuple(item for each in found for item in getattr(each, one.name)) for one in fields(ReadResult)}
    )


def _whole(block: ReadResult) -> ReadResult:
    """``block`` without the parts of manifests that pages show: objects with neither kind nor apiVersion."""
    fragments = [
        one for one in block.subjects if isinstance(one, Resource) and not {"kind", "apiVersion"} & one.document.keys()
    ]
    if not fragments:
        return block
    return replace(
        block,
        subjects=tuple(one for one in block.subjects if one not in fragments),
        others=(*block.others, *(WITHOUT_KIND for _ in fragments)),
    )


def _blocks(content: bytes) -> list[tuple[int, bytes]]:
    """The code blocks of a Markdown page, each with the number of lines before it; none if the page is larger than one that somebody
    reads."""
    if len(content) > MAX_OBJECT:
        return []
    return [(before, block.encode()) for before, block in code_blocks(content.decode("utf-8", "replace"))]


def stream_parts(stream: TextStream) -> list[TextStream]:
    """``stream`` in parts of whole documents, to be read one after the other up to the first that is broken; itself if it is short, or if
    its documents depend on one another: by directives, comments that ignore findings, or as a pipeline and its platform spec."""
    content = stream.content
    if len(content) < 2 * PART or _DEPENDING.search(content):
        return [stream]
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return [stream]
    parts: list[TextStream] = []
    start, before = 0, stream.before
    while start < len(content):
        separator = _DOCUMENT_START.search(content, start + PART)
        end = separator.start() if separator else len(content)
        # With the separator behind it, which libyaml names where something does not end.
        part = content[start:end] + b"---\n" if separator else content[start:]
        parts.append(replace(stream, content=part, before=before))
        before += content.count(b"\n", start, end)
        start = end
    return parts


def file_parts(place: Found) -> list[TextStream]:
    """A large file in parts of whole documents, to be read one after the other up to the first that is broken, by which memory is bounded.

    Empty if one part's reading depends on the others: as in a stream, where it may be a template, and where it may not be about KServe.
    """
    if place.model or place.path.suffix == MARKDOWN:
        return []
    try:
        content = _bytes(place.path)
    except UsageError:
        return []
    marks = (b"{{", b"{%", b"#@")
    if len(content) <= MAX_OBJECT or any(one in content for one in marks) or not _SIGNS.search(content):
        return []
    parts = stream_parts(TextStream(str(place.path), content, file=place.path))
    return parts if len(parts) > 1 else []


def _sources(content: bytes, before: int) -> tuple[tuple[int, str], ...]:
    """The comments by which helm names the template of a document (helm 3, pkg/action/action.go: ``# Source: %s``)."""
    if _SOURCE not in content:
        return ()
    lines = enumerate(content.splitlines(), before + 1)
    return tuple(
        (number, line[len(_SOURCE) :].decode("utf-8", "replace").strip())
        for number, line in lines
        if line.startswith(_SOURCE)
    )


def companions(place: Place, *, services: bool = False) -> list[Resource]:
    """The objects at one of the ``places`` that can stand beside an InferenceService, for judging others; what is broken is left out.
    With ``services``, the InferenceServices instead, which graphs and TrainedModels name.

    Each knows the line of its beginning only. Costs little where there is none: no other document is parsed.
    """
    if isinstance(place, TextStream):
        name, content, line = place.name, place.content, place.before
    elif isinstance(place, Found) and not place.model and (not place.named or os.path.isfile(place.path)):  # noqa: PTH113
        name, line = str(place.path), 0
        try:
            content = _bytes(place.path)
        except UsageError:
            return []
    else:
        return []
    wanted = _SERVICE if services else _COMPANION
    if not wanted.search(content):
        return []
    found: list[Resource] = []
    for before, text in _blocks(content) if name.endswith(MARKDOWN) else [(line, content)]:
        line = before
        # A line that begins with --- ends a document, also within a block of text (YAML 1.2.2, 9.1.2).
        for part in _DOCUMENT_START.split(text):
            if len(part) <= MAX_OBJECT and wanted.search(part):
                found += (one for one, is_service in _companions(name, part, line) if is_service is services)
            line += len(part.splitlines())
    return found


def _companions(name: str, part: bytes, before: int) -> Iterator[tuple[Resource, bool]]:
    try:
        for document in documents(part.decode("utf-8-sig")):
            for subject in _subjects(document, document.value, (), name):
                if isinstance(subject, Resource):
                    line = before + subject.line(())
                    one = Resource(file=name, document=subject.document, line=partial(_same_line, line))
                    yield one, isinstance(subject, Manifest)
    except (BrokenDocument, UnicodeDecodeError):
        return


def _same_line(line: int, keys: Keys) -> int:
    return line


def _read_bytes(name: str, content: bytes, *, named: bool, before: int = 0) -> ReadResult:
    """What ``content`` holds; ``before`` is the number of lines before it in the file."""
    subjects: list[Subject] = []
    others: list[str] = []
    errors: list[UsageError] = []

    text = ""

    def result(*skipped: Skipped) -> ReadResult:
        return ReadResult(
            subjects=tuple(subjects),
            others=tuple(others),
            errors=tuple(errors),
            skipped=skipped,
            ignores=ignore_comments(text, before=before),
        )

    def refused(error: UsageError, reason: str) -> ReadResult:
        if named or subjects or _SIGNS.search(content.replace(b"\0", b"")):
            errors.append(error)
            return result()
        return ReadResult(skipped=(Skipped(name, reason),))

    if len(content) > MAX_OBJECT and not named and not _SIGNS.search(content):
        return ReadResult(skipped=(Skipped(name, TOO_LARGE),))
    try:
        text = _text(name, content)
    except UsageError as error:
        return refused(error, NO_TEXT)
    if not named and (("#@" in text and _YTT.search(text)) or (_HELM.search(text) and _is_in_chart(name))):
        return ReadResult(skipped=(Skipped(name, TEMPLATE),))
    try:
        may_be_patch = "$patch" in text
        is_pipeline = "pipelineInfo" in text and _PIPELINE.search(text)
        for document in documents(text, kfp_scalar if is_pipeline else kubernetes_scalar, before=before):
            if may_be_patch and is_patch(document.value):
                others.append(STRATEGIC_MERGE_PATCH)
                continue
            for subject in _subjects(document, document.value, (), name):
                if isinstance(subject, str):
                    others.append(subject)
                    if subject == PLATFORM_SPEC and subjects and isinstance(subjects[-1], CompiledPipeline):
                        subjects[-1] = replace(subjects[-1], platform=document.value, platform_line=document.line)
                else:
                    subjects.append(subject)
    except BrokenDocument as broken:
        if not named and _TEMPLATE.search(text):
            return result(Skipped(name, TEMPLATE))
        return refused(_broken(name, broken, text), NO_YAML)
    return result()


def _is_in_chart(name: str) -> bool:
    """Whether a chart of Helm holds the file: then it is a template, also if it happens to be YAML."""
    return any(os.path.isfile(folder / CHART) for folder in Path(os.path.abspath(name)).parents)  # noqa: PTH100, PTH113


def read_model_directory(path: Path, root: Path | None = None) -> ReadResult:
    """An MLflow model, given by its directory or by its ``MLmodel``. ``root`` is that of the ModelDirectory: its own path by default."""
    directory = path.parent if path.name == MLMODEL else path
    file = directory / MLMODEL
    try:
        text = _text(str(file), _bytes(file))
    except UsageError as error:
        return ReadResult(errors=(error,))
    try:
        content = list(documents(text, pyyaml_scalar))
    except BrokenDocument as broken:
        return ReadResult(errors=(_broken(str(file), broken, text),))
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
    model = ModelDirectory(path=directory, root=root or directory, mlmodel=content[0].value, line=content[0].line)
    return ReadResult(subjects=(model,), ignores=ignore_comments(text))


def read_stream(name: str, stream: BinaryIO, expected: int = 0) -> TextStream:
    """What is left to read in ``stream``, about ``expected`` bytes. Raises UsageError when that is too large, or cannot be read."""
    try:
        content = stream.read(expected + 1)
        if len(content) > expected:
            content += stream.read(MAX_BYTES + 1 - len(content))
    except OSError as error:
        raise UsageError(
            f"{name} cannot be read: {error.strerror}", remedy="allow this user to read it, or leave it out"
        ) from error
    if len(content) > MAX_BYTES:
        raise _TooLarge(name)
    return TextStream(name, content)


def read_once(path: Path) -> Path | TextStream | UsageError:
    """``path``, or what it holds if it can be read only once, such as ``/dev/stdin``; or why that cannot be read."""
    # os.path answers also for what may not be looked at, where Path raises.
    if not os.path.exists(path) or os.path.isfile(path) or os.path.isdir(path):  # noqa: PTH110, PTH112, PTH113
        return path
    try:
        return TextStream(str(path), _bytes(path))
    except UsageError as error:
        return error


class _TooLarge(UsageError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} has more than {MAX_BYTES:,} bytes, and no manifest, pipeline or MLmodel has",
            remedy="leave the file out, or split it",
        )
        self._name = name

    def __reduce__(self) -> tuple[type[_TooLarge], tuple[str]]:
        """As processes send it to one another."""
        return _TooLarge, (self._name,)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # A pipe or a device has no size, and a file may grow: what there is is read up to the limit.
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise _TooLarge(str(path))
            return read_stream(str(path), file, size).content
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


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not a text file in UTF-8: byte {error.start} is {error.object[error.start]:#04x}",
            remedy="name YAML or JSON files, or a directory that holds them",
        ) from error


def _broken(name: str, broken: BrokenDocument, text: str) -> UsageError:
    remedy = "mend that place; whatever follows it in the file was not read"
    if _TEMPLATE.search(text):
        remedy = (
            "this looks like a template: render it first (`helm template`, `kustomize build`), then lint the result"
        )
    return UsageError(f"{name}:{broken.line}:{broken.column}: {broken.problem}", remedy=remedy)


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
        yield Manifest(file=file, document=value, line=_below(document, keys), fields=document.fields)
    elif isinstance(kind, str) and kind in RESOURCES.get(_group(value.get("apiVersion")), ()):
        yield Resource(file=file, document=value, line=_below(document, keys), fields=document.fields)
    elif isinstance(value.get("pipelineInfo"), dict) and ("root" in value or "deploymentSpec" in value):
        yield CompiledPipeline(file=file, document=value, line=_below(document, keys))
    elif isinstance(value.get("platforms"), dict):
        yield PLATFORM_SPEC
    elif is_misaddressed(value):
        yield Resource(file=file, document=value, line=_below(document, keys), fields=document.fields)
    else:
        yield kind if isinstance(kind, str) and kind else WITHOUT_KIND


def _group(api_version: Any) -> str:
    """The API group of an ``apiVersion``; empty for the core group ``v1``, and the whole text where there is no group."""
    group, slash, version = str(api_version).rpartition("/")
    return group if slash else version.removeprefix("v1")


def _below(document: Document, parents: Keys) -> Callable[[Keys], int]:
    return (lambda keys: document.line((*parents, *keys))) if parents else document.line
