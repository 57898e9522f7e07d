"""The installation as data: the ``[install.NAME]`` tables of a platform, and the documents that each step applies. Applies nothing.

Everything in which two platforms differ is in these tables: modules and files, what is left out, image names, changed fields, order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from trivet.errors import UsageError, unknown
from trivet.provision.go_modules import module_folder
from trivet.provision.kind import manifests
from trivet.provision.kind.certificates import Certificate, with_certificate
from trivet.provision.kind.manifests import Document, Patch, read_files
from trivet.stacks.platform import Platform

OURS = "trivet"
"""The key under which a step names our own manifests instead of a Go module's files."""
SHIPPED = "trivet.fixtures"


@dataclass(frozen=True, kw_only=True)
class WebhookCertificate:
    """Where a webhook's serving certificate goes: the secret that its deployment mounts, and the service that it is for."""

    secret: str
    service: str
    namespace: str


@dataclass(frozen=True, kw_only=True)
class InstallStep:
    """One part of the installation.

    ``files`` maps a Go module to glob patterns of its files, at the version that the wrapper ``go`` resolves; under ``trivet`` they are our
    own manifests, in which ``${name}`` stands for a value. ``images`` names the image of a ``ko://`` import path. ``source`` restricts the
    step to one source of images. A step is applied once the steps in ``after`` are applied and those in ``needs`` are ready; it is ready
    when its own workloads are, and those in ``ready`` (``namespace/Kind/name``), which a controller makes.
    """

    name: str
    files: Mapping[str, Sequence[str]]
    go: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    only: Sequence[str] = ()
    drop: Sequence[str] = ()
    images: str = ""
    source: str = ""
    after: Sequence[str] = ()
    needs: Sequence[str] = ()
    ready: Sequence[str] = ()
    patches: Sequence[Patch] = ()
    certificate: WebhookCertificate | None = None


@dataclass(frozen=True, kw_only=True)
class TemplateValues:
    """What documents are made from beside the platform: values of our own manifests' ``${name}``, and certificates by service."""

    values: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)


def read_steps(platform: Platform, source: str) -> list[InstallStep]:
    """The steps of ``platform`` for images from ``source``, each after those that it waits for. Raises UsageError for what does not fit."""
    steps = {name: _step(platform, name, table) for name, table in platform.table.get("install", {}).items()}
    chosen = {name: step for name, step in steps.items() if step.source in ("", source)}
    for step in chosen.values():
        for other in (*step.after, *step.needs):
            if other not in steps:
                raise _in(f"platform {platform.name}, install.{step.name}", unknown("step", other, steps))
    try:
        order = list(
            TopologicalSorter({name: (*step.after, *step.needs) for name, step in steps.items()}).static_order()
        )
    except CycleError as error:
        raise UsageError(
            f"platform {platform.name}: the steps {' → '.join(error.args[1])} wait for each other",
            remedy="take one of the names out of `needs` or `after`",
        ) from error
    return [_for_source(chosen[name], source, steps.keys() - chosen.keys()) for name in order if name in chosen]


def documents_of(step: InstallStep, platform: Platform, surroundings: TemplateValues) -> list[Document]:
    """What ``step`` applies: read, chosen, with image names and patches. Raises UsageError or PlatformError when that cannot be made."""
    texts = [
        _own(step, patterns, {**surroundings.values, **step.values})
        if module == OURS
        else read_files(_module(step, module, platform), patterns)
        for module, patterns in step.files.items()
    ]
    found = [one for text in texts for one in manifests.choose(manifests.documents(text), step.only, step.drop)]
    if step.images:
        found = [manifests.name_images(one, step.images) for one in found]
    try:
        found = manifests.patched(found, step.patches)
    except UsageError as error:
        raise _in(f"platform {platform.name}, install.{step.name}", error) from error
    if not found:
        raise UsageError(f"platform {platform.name}, install.{step.name}: nothing is left to apply")
    if step.certificate:
        found = with_certificate(
            found,
            surroundings.certificates[step.certificate.service],
            secret=step.certificate.secret,
            namespace=step.certificate.namespace,
        )
    return found


def _module(step: InstallStep, module: str, platform: Platform) -> Path:
    wrappers = platform.table.get("go", {})
    if step.go not in wrappers:
        raise _in(f"platform {platform.name}, install.{step.name}", unknown("Go wrapper", step.go, wrappers))
    return module_folder(Path(wrappers[step.go]["folder"]), module)


def _own(step: InstallStep, patterns: Sequence[str], values: Mapping[str, str]) -> str:
    folder = Path(str(files(SHIPPED))) / "manifests"
    try:
        return Template(read_files(folder, patterns)).substitute(values)
    except KeyError as error:
        raise UsageError(
            f"install.{step.name}: its manifests use ${{{error.args[0]}}}",
            remedy=f"one of: {', '.join(sorted(values))}",
        ) from error


def _step(platform: Platform, name: str, table: Mapping[str, Any]) -> InstallStep:
    where = f"platform {platform.name}, install.{name}"
    given = dict(table)
    patches = [_made(Patch, one, f"{where}.patches") for one in given.pop("patches", ())]
    certificate = given.pop("certificate", None)
    step: InstallStep = _made(
        InstallStep,
        {
            **given,
            "name": name,
            "patches": patches,
            "certificate": certificate and _made(WebhookCertificate, certificate, f"{where}.certificate"),
        },
        where,
    )
    return step


def _made(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    known = {one.name for one in fields(kind)}
    for key in table:
        if key not in known:
            raise _in(where, unknown("key", key, known))
    try:
        return kind(**table)
    except TypeError as error:
        raise UsageError(f"{where}: {str(error).partition(') ')[2] or error}") from error


def _in(where: str, error: UsageError) -> UsageError:
    return UsageError(f"{where}: {error.message}", remedy=error.remedy)


def _for_source(step: InstallStep, source: str, gone: set[str]) -> InstallStep:
    """The step without the patches, and without waiting for the steps, that this source of images does not have."""
    return replace(
        step,
        patches=[patch for patch in step.patches if patch.source in ("", source)],
        after=[name for name in step.after if name not in gone],
        needs=[name for name in step.needs if name not in gone],
    )
