"""Rules of admission: one rule per statement of a webhook, a controller or Kubernetes, and how a contract judges an object by them.

A rule is a function that yields a :class:`~trivet.contracts.violation.Violation` for each place that breaks it; its ``source`` is the
upstream function that it was read from, and ``versions`` the versions of that project that have it. Rules judge what an object says, never
types and required fields, which are the schema's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from packaging.specifiers import SpecifierSet

from trivet.authoring import (
    Finding,
    Keys,
    Manifest,
    PlatformConfig,
    Resource,
    Stack,
    failed,
    inconclusive,
    passed,
    remembered,
)
from trivet.contracts.values import FILLED_LATER, each, has_placeholder, is_filled_later, mapping
from trivet.contracts.violation import Violation
from trivet.integration.inference_service import DEPLOYMENT_MODE, KNATIVE_MODES, STANDARD_MODES

COMPONENTS = ("predictor", "transformer", "explainer")
FRAMEWORKS = (
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
)
"""The predictor's older fields for model formats (kserve pkg/apis/serving/v1beta1/predictor.go)."""

EXPLAINERS = ("art", "alibi")
"""The explainer's fields for its kinds (kserve pkg/apis/serving/v1beta1/explainer.go), in any version."""

KNATIVE = "Knative"
STANDARD = "Standard"
MODELMESH = "ModelMesh"
MODE_SETTING = (
    f"annotate {DEPLOYMENT_MODE}, or set `[tool.trivet.lint] default_deployment_mode` to the platform's default"
)


MAX_CHOICES = 1024
"""Sets of fields for which it is kept which rules concern them."""

MAX_FIELDS = 500
"""Of an object, for which that is kept. An InferenceService has about 30."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One statement. ``modes`` are the deployment modes that it applies in, empty for all; ``source`` is project, file and function.

    ``fields`` are those without any of which an object breaks it in no place; empty for a rule that every object may break.
    """

    id: str
    source: str
    component: str
    versions: str
    modes: tuple[str, ...]
    fields: tuple[str, ...]
    find: Callable[[Any], Iterable[Violation]]

    def applies(self, stack: Stack) -> bool:
        """Whether the stack's version of the rule's component has it; a stack without that component is taken to."""
        return _contains(self.versions, stack.components.get(self.component))


@lru_cache(maxsize=1024)
def _contains(versions: str, version: str | None) -> bool:
    return version is None or SpecifierSet(versions).contains(version, prereleases=True)


def since(stack: Stack, version: str, component: str = "kserve") -> bool:
    """Whether the stack's component is at least of this version; a stack without it is taken to be."""
    return _contains(f">={version}", stack.components.get(component))


class Rules:
    """The rules of one component, such as KServe's webhook, in the order in which they are judged."""

    def __init__(self, component: str, title: str) -> None:
        self.component = component
        self.title = title
        self.rules: list[Rule] = []
        self._fields: set[str] = set()
        self._chosen: dict[tuple[str | None, str, frozenset[str]], Sequence[Rule]] = {}

    def rule(
        self, source: str, *, versions: str = ">=0", modes: tuple[str, ...] = (), fields: tuple[str, ...] = ()
    ) -> Callable[[Callable[[Any], Iterable[Violation]]], Rule]:
        """Make a function a rule; its name is the rule's id."""

        def add(find: Callable[[Any], Iterable[Violation]]) -> Rule:
            made = Rule(
                id=find.__name__,
                source=f"{self.title} {source}",
                component=self.component,
                versions=versions,
                modes=modes,
                fields=fields,
                find=find,
            )
            self.rules.append(made)
            self._fields.update(fields)
            self._chosen.clear()
            return made

        return add

    def concerning(self, subject: Service | Companion) -> Sequence[Rule]:
        """The rules that apply to the stack and the mode of ``subject``, without those none of whose fields it has."""
        version, mode = subject.stack.components.get(self.component), subject.mode
        every = subject.fields if self._fields else frozenset()
        found = self._chosen.get((version, mode, every))
        if found is None:
            if len(self._chosen) >= MAX_CHOICES:
                self._chosen.clear()
            # Most fields of an object are none that a rule declares, so that objects that differ in all have these in common.
            fields = every.intersection(self._fields)
            if (version, mode, fields) not in self._chosen:
                self._chosen[version, mode, fields] = [
                    rule
                    for rule in self.rules
                    if rule.applies(subject.stack)
                    and not (rule.modes and mode and mode not in rule.modes)
                    and (not rule.fields or not fields.isdisjoint(rule.fields))
                ]
            found = self._chosen[version, mode, fields]
            if len(every) <= MAX_FIELDS:
                self._chosen[version, mode, every] = found
        return found

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the rules were read, each once."""
        return tuple(dict.fromkeys(rule.source for rule in self.rules))


def field_names(value: Any) -> frozenset[str]:
    """The keys of all mappings in a document."""
    found: set[str] = set()
    seen: set[int] = set()  # by aliases, one collection can stand in a document many times
    below = [value]
    for one in below:
        if isinstance(one, dict):
            found.update(one)
            members: Iterable[Any] = one.values()
        else:
            members = one
        for member in members:
            if isinstance(member, (dict, list)) and id(member) not in seen:
                seen.add(id(member))
                below.append(member)
    return frozenset(found)


class Container(NamedTuple):
    """A container of a pod: where it stands, what it says, and whether KServe completes it, which stands as a model or an explainer."""

    keys: Keys
    spec: Mapping[str, Any]
    merged: bool = False

    @property
    def of_a_runtime(self) -> bool:
        """Whether a runtime's container is merged into it; an explainer's is only named and gets an image (explainer_art.go,
        explainer_alibi.go: GetContainer)."""
        return self.merged and self.keys[-1] not in EXPLAINERS

    def each(self, name: str) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
        """The mappings of one of its lists, such as ``env``."""
        yield from each(self.spec.get(name), (*self.keys, name))


class Pod(NamedTuple):
    """A pod template of a service: of a component, of its workers or of a canary. ``settings`` are its fields and the component's."""

    keys: Keys
    settings: Mapping[str, Any]
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...]

    @property
    def whole(self) -> bool:
        """Whether the manifest shows the whole pod: no runtime's containers, mounts and volumes are merged into it."""
        return not any(container.of_a_runtime for container in self.containers)

    def each(self, name: str) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
        """The mappings of one of its lists, such as ``volumes``."""
        yield from each(self.settings.get(name), (*self.keys, name))


@dataclass(frozen=True, kw_only=True)
class Service:
    """An InferenceService as rules see it."""

    manifest: Manifest
    stack: Stack
    platform: PlatformConfig

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        """``spec``; empty if it is no mapping."""
        return mapping(self.manifest.document.get("spec"))

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """``metadata``; empty if it is no mapping."""
        return mapping(self.manifest.document.get("metadata"))

    @cached_property
    def annotations(self) -> Mapping[str, Any]:
        """The service's annotations; one that is null is read as an empty text."""
        return {key: "" if value is None else value for key, value in mapping(self.metadata.get("annotations")).items()}

    @cached_property
    def annotated(self) -> Sequence[tuple[Keys, Mapping[str, Any]]]:
        """The annotations of the service, then those of each component: where they stand, and what they say."""
        of_components = [
            ((*keys, "annotations"), mapping(settings.get("annotations"))) for keys, settings in self.components
        ]
        return [(("metadata", "annotations"), self.annotations), *of_components]

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of all fields of the manifest."""
        return field_names(self.manifest.document) if self.manifest.fields is None else self.manifest.fields

    @cached_property
    def mode(self) -> str:
        """KNATIVE, STANDARD or MODELMESH; empty if neither manifest nor platform states it."""
        return kind_of_mode(deployment_mode(self.manifest, self.stack, self.platform)[0])

    @cached_property
    def predictor(self) -> Mapping[str, Any]:
        """``spec.predictor``."""
        return mapping(self.spec.get("predictor"))

    @cached_property
    def components(self) -> tuple[tuple[Keys, Mapping[str, Any]], ...]:
        """Predictor, transformer and explainer, as far as there are any."""
        return tuple((("spec", name), self.spec[name]) for name in COMPONENTS if isinstance(self.spec.get(name), dict))

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """The pod templates that KServe makes pods of: of each component, of the predictor's workers (not in Knative mode: predictor.go,
        reconcileRawDeployment) and of each canary."""
        kinds = explainers(self)
        found = [_pod(keys, settings, kinds) for keys, settings in self.components]
        if self.workers and self.mode != KNATIVE:
            found.append(self.workers)
        found += [
            _pod((*keys, "predictor"), canary["predictor"], kinds)
            for keys, canary in each(self.spec.get("canary"), ("spec", "canary"))
            if isinstance(canary.get("predictor"), dict)
        ]
        return tuple(found)

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """Every container of every pod, init containers last."""
        return tuple(one for pod in self.pods for one in (*pod.containers, *pod.init_containers))

    @cached_property
    def admitted_containers(self) -> tuple[Container, ...]:
        """Every container that KServe's webhook looks at: those of pods, and those of workers of which it makes no pods."""
        workers = self.workers if self.mode == KNATIVE else None
        return (*self.containers, *((*workers.containers, *workers.init_containers) if workers else ()))

    @cached_property
    def workers(self) -> Pod | None:
        """The pod template of the predictor's workers, which KServe uses since 0.15."""
        worker = self.predictor.get("workerSpec")
        if not isinstance(worker, dict) or not self.since("0.15"):
            return None
        return _workers(("spec", "predictor", "workerSpec"), worker, explainers(self))

    def applied(self, kind: str, name: str) -> Resource | None:
        """The object of this name that is applied with the service."""
        return applied_with(self.manifest, self.platform, kind, name)

    def violations(self, rules: Rules) -> Sequence[tuple[Rule, Violation]]:
        """What breaks ``rules``; found once, though several contracts ask."""
        if rules not in self._violations:
            self._violations[rules] = _violations(rules, self)
        return self._violations[rules]

    @cached_property
    def _violations(self) -> dict[Rules, Sequence[tuple[Rule, Violation]]]:
        return {}

    def since(self, version: str, component: str = "kserve") -> bool:
        """Whether the stack's component is at least of this version; a stack without it is taken to be."""
        return since(self.stack, version, component)


def explainers(service: Service) -> Sequence[str]:
    """The explainer's fields for its kinds that the stack's KServe has: 0.13 has no alibi."""
    return EXPLAINERS[:1] if service.since("0.13") else EXPLAINERS


def _pod(keys: Keys, settings: Mapping[str, Any], kinds: Sequence[str]) -> Pod:
    given = [name for name in ("model", *FRAMEWORKS, *kinds) if isinstance(settings.get(name), dict)]
    if len(given) > 1 and given[0] == "model":
        given = given[
            1:
        ]  # KServe drops a model beside an older field (inference_service_defaults.go, setPredictorModelDefaults)
    models = [Container((*keys, name), settings[name], merged=True) for name in given]
    own, initial = (
        [Container(at, spec) for at, spec in each(settings.get(name), (*keys, name))]
        for name in ("containers", "initContainers")
    )
    return Pod(keys, settings, (*models, *own), tuple(initial))


def _workers(keys: Keys, settings: Mapping[str, Any], kinds: Sequence[str]) -> Pod:
    """KServe merges the first container of the workers into the runtime's (components/predictor.go, multiNodeProcess)."""
    pod = _pod(keys, settings, kinds)
    return pod._replace(containers=tuple(one._replace(merged=not n) for n, one in enumerate(pod.containers)))


@dataclass(frozen=True, kw_only=True)
class Companion:
    """An object beside an InferenceService as rules see it."""

    resource: Resource
    stack: Stack
    platform: PlatformConfig

    @cached_property
    def spec(self) -> Mapping[str, Any]:
        """``spec``; empty if it is no mapping."""
        return mapping(self.resource.document.get("spec"))

    @cached_property
    def metadata(self) -> Mapping[str, Any]:
        """``metadata``; empty if it is no mapping."""
        return mapping(self.resource.document.get("metadata"))

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of all fields of the object."""
        return field_names(self.resource.document) if self.resource.fields is None else self.resource.fields

    mode = ""

    def violations(self, rules: Rules) -> Sequence[tuple[Rule, Violation]]:
        """What breaks ``rules``."""
        return _violations(rules, self)

    def applied(self, kind: str, name: str) -> Resource | None:
        """The object of this name that is applied with it."""
        return applied_with(self.resource, self.platform, kind, name)


def applied_with(resource: Resource, platform: PlatformConfig, kind: str, name: str) -> Resource | None:
    """The object of this name that is applied with ``resource``: of its directory, or of its stated namespace; None if not just one is.

    A tree can hold the objects of many platforms under the same names.
    """
    named = platform.resources.get((kind, name))
    if not named:
        return None
    namespace, directory = resource.namespace, Path(resource.file).parent
    found = [
        one
        for one in named
        if (one.namespace == namespace if one.namespace and namespace else Path(one.file).parent == directory)
    ]
    return found[0] if len(found) == 1 else None


@remembered
def service_of(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Service:
    """The service as rules see it."""
    return Service(manifest=manifest, stack=stack, platform=platform)


Found = TypeVar("Found")


def once_per_service(find: Callable[[Service], Found]) -> Callable[[Service], Found]:
    """Make a function of a service one that runs once for each, since many rules ask the same."""
    name = f"_{find.__module__}.{find.__qualname__}"

    @wraps(find)
    def kept(service: Service) -> Found:
        known = vars(service)  # where cached_property keeps its values too
        if name not in known:
            known[name] = find(service)
        value: Found = known[name]
        return value

    return kept


def deployment_mode(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> tuple[str, bool]:
    """The effective deployment mode, empty if unknown, and whether the manifest states it.

    KServe ignores a value that it does not know and uses the platform's default; what stands for a placeholder is unknown.
    """
    metadata = mapping(manifest.document.get("metadata"))
    mode = str(mapping(metadata.get("annotations")).get(DEPLOYMENT_MODE))
    if mode in stack.settings["serving"]["deployment_modes"]:
        return mode, True
    if has_placeholder(mode):
        return "", False
    return platform.default_deployment_mode, False


def kind_of_mode(mode: str) -> str:
    """A deployment mode by one name, whichever of its names a manifest or a platform uses."""
    if mode in KNATIVE_MODES:
        return KNATIVE
    return STANDARD if mode in STANDARD_MODES else mode


def judged(rules: Iterable[Rules], subject: Service | Companion, confirmation: str) -> Iterator[Finding]:
    """A failed finding per violation that depends on nothing unknown, inconclusive where a placeholder stands; one passed finding if there
    is none."""
    found = False
    for group in rules:
        for rule, violation in subject.violations(group):
            if not _is_decided(rule, violation, subject):
                continue
            found = True
            if is_filled_later(_document(subject), violation.keys):
                yield inconclusive(f"{violation.message}: {FILLED_LATER}", location=_at(subject, violation))
            else:
                yield failed(violation.message, location=_at(subject, violation), fix=violation.fix)
    if not found:
        yield passed(confirmation, location=_at(subject, Violation((), "")))


def undecided(rules: Iterable[Rules], subject: Service | Companion) -> Iterator[Finding]:
    """An inconclusive finding, with the setting that would settle it, per violation that depends on what is not known of the platform."""
    for rule, violation in [one for group in rules for one in subject.violations(group)]:
        if _is_decided(rule, violation, subject):
            continue
        if violation.setting:
            yield inconclusive(
                f"{violation.message}: this depends on {violation.setting}", location=_at(subject, violation)
            )
        else:
            yield inconclusive(
                f"in {' or '.join(rule.modes)} mode {violation.message}",
                location=_at(subject, violation),
                remedy=MODE_SETTING,
            )


def _is_decided(rule: Rule, violation: Violation, subject: Service | Companion) -> bool:
    return not violation.setting and (not rule.modes or bool(subject.mode))


def _violations(rules: Rules, subject: Service | Companion) -> list[tuple[Rule, Violation]]:
    return [(rule, violation) for rule in rules.concerning(subject) for violation in rule.find(subject)]


def _document(subject: Service | Companion) -> Any:
    return (subject.manifest if isinstance(subject, Service) else subject.resource).document


def _at(subject: Service | Companion, violation: Violation) -> Any:
    return (subject.manifest if isinstance(subject, Service) else subject.resource).at(*violation.keys)
