"""The installation as data: the ``[install.NAME]`` tables of a platform, and the objects that each step applies. Applies nothing.

Everything that differs between platforms is in these tables: modules and files, excluded objects, image names, patches, order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from graphlib import CycleError, TopologicalSorter
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from trivet.errors import PlatformError, UsageError, choices, unknown
from trivet.model.settings import IMAGE_SOURCES
from trivet.provision.kind import manifests
from trivet.provision.kind.certificates import Certificate, with_certificate
from trivet.provision.kind.manifests import KubernetesObject, Patch, read_files
from trivet.stacks.go_modules import module_folder
from trivet.stacks.platform import PLATFORM_FILE, Platform

OWN_MANIFESTS = "trivet"
"""The key in a step's ``files`` for trivet's own manifests, in place of a Go module."""
OWN_FOLDER = "."
"""The key in a step's ``files`` for manifests in the platform's own folder, in place of a Go module."""
SHIPPED = "trivet.fixtures"


@dataclass(frozen=True, kw_only=True)
class WebhookCertificate:
    """The serving certificate of a webhook: the Secret that its Deployment mounts, and the Service that it is issued for."""

    secret: str
    service: str
    namespace: str


@dataclass(frozen=True, kw_only=True)
class InstallStep:
    """One part of the installation.

    ``files`` maps a Go module to glob patterns of its files, at the version in the wrapper module ``go``; a pattern that ends in a slash is
    a folder that kubectl renders with kustomize. Under the key ``trivet`` they are trivet's own manifests, in which ``${name}`` is a
    template value, under ``.`` files of the platform's own folder, and under the URL of a repository folders in it, which kubectl fetches
    with git; in these ``${name}`` is a template value. A key after ``build`` or ``pull`` and a space is for that image source alone.
    ``images`` is the image template for ``ko://`` import paths.
    ``source`` restricts the step to one image source. A step is applied once the steps in ``after`` are applied and those in ``needs`` are
    ready. It is ready when its own workloads are, and those in ``ready`` (``namespace/Kind/name``), which a controller creates.
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
    """Further inputs of objects: the values of ``${name}`` in trivet's own manifests, certificates by Service, and the images of a composed
    stack: name of the image in the platform's manifests → name of the one that replaces it.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, Certificate] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)


_SAME_NAME = f"give the image in the platform's {PLATFORM_FILE} the name that its manifests have"


class ReplacedImages:
    """Whether the objects of an installation have the images of a composed stack in place of the platform's own; ``names`` as in
    :class:`TemplateValues`.
    """

    def __init__(self, platform: Platform, names: Mapping[str, str]) -> None:
        self._platform = platform
        self._names = names
        self._seen: set[str] = set()

    def checked(self, objects: Sequence[KubernetesObject]) -> Sequence[KubernetesObject]:
        """``objects``. Raises PlatformError when one of them still has an image that was to be replaced."""
        self._seen.update(new for new in self._names.values() if any(new in one.text for one in objects))
        replaced = {old: new for old, new in self._names.items() if new != old}
        for one in objects:
            for new in replaced.values():
                one = replace(one, text=one.text.replace(new, ""))
            for old, new in replaced.items():
                if manifests.names_image(one, old.partition("/")[2].removeprefix("library/")):
                    raise PlatformError(
                        f"{one.id} of the platform {self._platform.name} has an image like {old}, which {new} replaces, from another "
                        "registry",
                        remedy=_SAME_NAME,
                    )
        return objects

    def check_all(self) -> None:
        """Raise PlatformError for an image that no object has: the role in it does not run."""
        for old, new in self._names.items():
            if new not in self._seen:
                raise PlatformError(
                    f"no manifest of the platform {self._platform.name} names the image {old}, which {new} replaces",
                    remedy=_SAME_NAME,
                )


def read_steps(platform: Platform, source: str) -> list[InstallStep]:
    """The steps of ``platform`` for the image source ``source``, in topological order. Raises UsageError for an invalid table."""
    steps = {name: _step(platform, name, table) for name, table in platform.table.get("install", {}).items()}
    chosen = {name: step for name, step in steps.items() if step.source in ("", source)}
    for step in chosen.values():
        for other in (*step.after, *step.needs):
            if other not in steps:
                raise _located(f"platform {platform.name}, install.{step.name}", unknown("step", other, steps))
    try:
        order = list(
            TopologicalSorter({name: (*step.after, *step.needs) for name, step in steps.items()}).static_order()
        )
    except CycleError as error:
        raise UsageError(
            f"platform {platform.name}: the steps {' → '.join(error.args[1])} wait for each other",
            remedy="remove one of the names from `needs` or `after`",
        ) from error
    return [_for_source(chosen[name], source, steps.keys() - chosen.keys()) for name in order if name in chosen]


def objects_of(
    step: InstallStep,
    platform: Platform,
    template_values: TemplateValues,
    kustomize: Callable[[str], str] | None = None,
) -> list[KubernetesObject]:
    """The objects that ``step`` applies: read, selected, with image names and patches. ``kustomize`` renders a kustomization, given by its
    folder or URL.

    Raises UsageError for an invalid table, PlatformError when a module cannot be downloaded or a kustomization not be rendered.
    """
    texts = [
        _text(step, module, patterns, platform, {**template_values.values, **step.values}, kustomize)
        for module, patterns in step.files.items()
    ]
    objects = [one for text in texts for one in manifests.select(manifests.split_stream(text), step.only, step.drop)]
    if step.images:
        objects = [manifests.resolve_images(one, step.images) for one in objects]
    try:
        objects = manifests.apply_patches(objects, step.patches)
    except UsageError as error:
        raise _located(f"platform {platform.name}, install.{step.name}", error) from error
    # Last, since a patch may name an image, too.
    objects = [manifests.rename_images(one, template_values.images) for one in objects]
    if not objects:
        raise UsageError(
            f"platform {platform.name}, install.{step.name}: no object is selected",
            remedy="change `only` or `drop`, or remove the step",
        )
    if step.certificate:
        objects = with_certificate(
            objects,
            template_values.certificates[step.certificate.service],
            secret=step.certificate.secret,
            namespace=step.certificate.namespace,
        )
    return objects


def _text(
    step: InstallStep,
    module: str,
    patterns: Sequence[str],
    platform: Platform,
    values: Mapping[str, str],
    kustomize: Callable[[str], str] | None,
) -> str:
    if module == OWN_MANIFESTS:
        return _substituted(step, read_files(Path(str(files(SHIPPED))) / "manifests", patterns), values)
    if kustomize and module.startswith("https://"):
        return "\n---\n".join(kustomize(_substituted(step, f"{module}/{folder}", values)) for folder in patterns)
    folder = platform.folder if module == OWN_FOLDER else _module(step, module, platform)
    return read_files(folder, patterns, kustomize)


def _module(step: InstallStep, module: str, platform: Platform) -> Path:
    wrappers = platform.table.get("go", {})
    if step.go not in wrappers:
        raise _located(f"platform {platform.name}, install.{step.name}", unknown("Go wrapper", step.go, wrappers))
    return module_folder(Path(wrappers[step.go]["folder"]), module)


def _substituted(step: InstallStep, text: str, values: Mapping[str, str]) -> str:
    try:
        return Template(text).substitute(values)
    except KeyError as error:
        raise UsageError(
            f"install.{step.name}: its manifests use the unknown value ${{{error.args[0]}}}",
            remedy=choices(error.args[0], sorted(values)),
        ) from error


def _step(platform: Platform, name: str, table: Mapping[str, Any]) -> InstallStep:
    where = f"platform {platform.name}, install.{name}"
    given = dict(table)
    patches = [_instance(Patch, one, f"{where}.patches") for one in given.pop("patches", ())]
    certificate = given.pop("certificate", None)
    step: InstallStep = _instance(
        InstallStep,
        {
            **given,
            "name": name,
            "patches": patches,
            "certificate": certificate and _instance(WebhookCertificate, certificate, f"{where}.certificate"),
        },
        where,
    )
    return step


def _instance(kind: Any, table: Mapping[str, Any], where: str) -> Any:
    known = {one.name for one in fields(kind)}
    for key in table:
        if key not in known:
            raise _located(where, unknown("key", key, known))
    try:
        return kind(**table)
    except TypeError as error:
        raise UsageError(f"{where}: {str(error).partition(') ')[2] or error}") from error


def _located(where: str, error: UsageError) -> UsageError:
    return UsageError(f"{where}: {error.message}", remedy=error.remedy)


def _for_source(step: InstallStep, source: str, omitted: set[str]) -> InstallStep:
    """The step without the files, patches and dependencies of other image sources."""
    return replace(
        step,
        files={
            key.removeprefix(f"{source} "): patterns
            for key, patterns in step.files.items()
            if not key.startswith(tuple(f"{other} " for other in IMAGE_SOURCES if other != source))
        },
        patches=[patch for patch in step.patches if patch.source in ("", source)],
        after=[name for name in step.after if name not in omitted],
        needs=[name for name in step.needs if name not in omitted],
    )
