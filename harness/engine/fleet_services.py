"""The services of a fleet: every InferenceService of a cluster by its manifest, as lint judges it, and by its model where that can be read.

Reads the cluster and changes nothing there; executes nothing of a model.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trivet.engine.acceptance import NO_WAIVERS, Waivers
from trivet.engine.lint import lint
from trivet.engine.lint_platform import of_cluster
from trivet.engine.model_judge import ModelJudge, judging, reason_of, reason_of_error
from trivet.errors import CannotTell, TrivetError, UsageError, unknown
from trivet.host.journal import clean_leftovers
from trivet.host.kubectl import Kubectl
from trivet.integration import uri_scheme
from trivet.integration.rollout import stated_uri
from trivet.model.contract import Contract
from trivet.model.finding import Finding, Location
from trivet.model.fleet import JudgedService, ModelVerdict, worst
from trivet.model.outcome import Level, Outcome
from trivet.model.platform_config import PlatformConfig
from trivet.model.redaction import redact
from trivet.model.report import STATIC
from trivet.model.stack import Stack
from trivet.model.subjects import Manifest
from trivet.targets.local.model_source import LOCAL, directory_at, model_named
from trivet.toolkit.subjects import read
from trivet.toolkit.walking import TextStream

KIND = "inferenceservices.serving.kserve.io"

READABLE = ("models", "runs", "s3", "file", "")
"""Schemes of storage URIs from which a model is read; the empty one is a path."""

ON_MANIFEST, ON_MODEL = "manifest", "model"
"""How the places of a service's reasons begin."""

_OF_THE_SERVER = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
"""What of an object's metadata the API server writes."""

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, kw_only=True)
class ModelPlaces:
    """Where models of services are read: the tracking server for URIs of MLflow, empty if there is none, and at most how many bytes."""

    server: str
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class ClusterServices:
    """The InferenceServices of a cluster by namespace and name, as the API server has them, and its platform."""

    documents: Sequence[Mapping[str, Any]]
    platform: PlatformConfig

    @property
    def models(self) -> Mapping[str, str]:
        """What names the model of a service for ``trivet check``, by the URI of the service; none for one that cannot be read. Unlike
        reports it is not redacted."""
        found = {}
        for one in self.documents:
            try:
                found[f"InferenceService/{_name(one)}"] = _readable(one)
            except CannotTell:
                continue
        return found


def list_services(kubectl: Kubectl, namespaces: Iterable[str] = ()) -> ClusterServices:
    """Every InferenceService of the cluster, or of ``namespaces``.

    Raises PlatformError when the account may not list services and runtimes or read KServe's configuration, and UsageError for a namespace
    that has no service.
    """
    documents: list[Mapping[str, Any]] = []
    for namespace in dict.fromkeys(namespaces) or ("",):
        found = kubectl.objects(KIND, namespace=namespace)
        if namespace and not found:
            having = {one["metadata"]["namespace"] for one in kubectl.objects(KIND)}
            raise unknown("namespace with InferenceServices", namespace, having)
        documents += found
    documents.sort(key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"]))
    return ClusterServices(documents=documents, platform=of_cluster(kubectl))


def judge_services(
    cluster: ClusterServices,
    contracts: Iterable[Contract],
    stack: Stack,
    *,
    places: ModelPlaces,
    waivers: Waivers = NO_WAIVERS,
    emit: Callable[[JudgedService], None] = lambda service: None,
) -> list[JudgedService]:
    """Every service of ``cluster`` with its verdict under ``stack``.

    Where none of ``contracts`` judges a manifest, or none a model directory, that part stays unjudged. ``waivers`` accept findings; the
    object of one is ``InferenceService/NAMESPACE/NAME``. ``emit`` gets each service as it is judged. Raises UsageError when none of
    ``contracts`` judges either.
    """
    contracts = list(contracts)
    static = {one.id: one for subject in ("manifest", "resource") for one in judging(subject, contracts, stack)}
    judge = ModelJudge(contracts, stack, waivers) if judging("model_directory", contracts, stack) else None
    if not (static or judge):
        raise UsageError(
            "none of the chosen contracts judges a manifest or a model directory on this stack",
            remedy="`trivet list` has all; --contract chooses among them",
        )
    clean_leftovers()
    of_manifests = _Manifests(static, stack, waivers, cluster)
    models = _Models(judge, stack, places) if judge else None
    judged = []
    for document in cluster.documents:
        service = of_manifests.judged(document)
        if models:
            service = models.judged(service, document)
        judged.append(service)
        emit(service)
    return judged


def _applied(document: Mapping[str, Any]) -> dict[str, Any]:
    """A service without what the API server and the controller write: what would be applied."""
    metadata = {key: value for key, value in document["metadata"].items() if key not in _OF_THE_SERVER}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _APPLIED}
    metadata["annotations"] = annotations
    return {**{key: value for key, value in document.items() if key != "status"}, "metadata": metadata}


def _text(document: Mapping[str, Any]) -> bytes:
    """A service as JSON that has a line for each field: what lint finds, it finds at a line."""
    import msgspec

    text = json.dumps(_applied(document)).encode()
    try:
        return msgspec.json.format(text, indent=1)  # json.dumps takes ten times as long to indent
    except msgspec.DecodeError:  # half of a surrogate pair; lint says so
        return text


def _fields(value: Any, at: str = "") -> Iterator[str]:
    """The field on each line of :func:`_text`, as Kubernetes writes it: ``spec.predictor.containers[0].image``. That of a bracket is the
    field of its object or list."""
    yield at
    if isinstance(value, Mapping):
        for key, one in value.items():
            plain = key.replace("-", "").replace("_", "").isalnum()
            yield from _fields(one, (f"{at}.{key}" if at else key) if plain else f"{at}[{key}]")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _fields(one, f"{at}[{index}]")
    if value and isinstance(value, Mapping | list):
        yield at


def _name(document: Mapping[str, Any]) -> str:
    return f"{document['metadata']['namespace']}/{document['metadata']['name']}"


class _Manifests:
    """The manifests of services as lint judges them, with what the cluster says of its platform. Comments in them ignore nothing: they are
    strings of the objects, and no file that somebody reviewed."""

    def __init__(
        self, contracts: Mapping[str, Contract], stack: Stack, waivers: Waivers, cluster: ClusterServices
    ) -> None:
        self._contracts = contracts
        self._waivers = waivers
        self._about = {name: waivers.about(name, stack=stack.name, target=STATIC) for name in contracts}
        self._deviations: dict[str, list[Finding]] = defaultdict(list)
        self._unread: dict[str, TrivetError] = {}
        if not (contracts and cluster.documents):
            return
        streams = [TextStream(_name(one), _text(one), comments=False) for one in cluster.documents]
        result = lint(streams, list(contracts.values()), stack, cluster.platform, emit=self._keep)
        if result.counts.get("InferenceService") != len(streams):
            self._unread = {one.name: error for one in streams if (error := _unread(one))}

    def _keep(self, deviations: Sequence[tuple[Finding, Contract]]) -> None:
        for finding, _ in deviations:
            self._deviations[(finding.location and finding.location.file) or ""].append(finding)

    def judged(self, document: Mapping[str, Any]) -> JudgedService:
        """A service with the verdict on its manifest."""
        service = JudgedService(
            namespace=document["metadata"]["namespace"],
            name=document["metadata"]["name"],
            verdict=ModelVerdict.UNKNOWN,
            manifest=None,
            model=None,
            storage_uri=redact(stated_uri(document)),
        )
        if not self._contracts:
            return service
        if error := self._unread.get(_name(document)):
            reason = replace(reason_of_error(error), place=ON_MANIFEST)
            return replace(service, manifest=ModelVerdict.UNKNOWN, reasons=(reason,))
        matching: list[str] = []
        marked = []
        # A finding without a file may be about any of them.
        for finding in (*self._deviations[_name(document)], *self._deviations[""]):
            line = finding.location.line if finding.location and finding.location.file else None
            located = replace(finding, location=Location(line=line, object=service.uri))
            names = self._waivers.matching(self._about[finding.contract], located)
            matching += names
            marked.append(self._waivers.waived(located, names))
        verdict = self._verdict(marked)
        left = [one for one in marked if not one.accepted]
        not_accepted = self._verdict(left) if len(left) < len(marked) else None
        deciding = [one for one in marked if self._kind(one) is verdict is not ModelVerdict.FINE]
        deciding_contracts = {one.contract for one in deciding}
        fields = list(_fields(_applied(document))) if deciding else []
        return replace(
            service,
            verdict=verdict,
            manifest=verdict,
            not_accepted=not_accepted,
            manifest_not_accepted=not_accepted,
            waivers=tuple(matching),
            reasons=tuple(reason_of(one, self._contracts[one.contract], _place(one, fields)) for one in deciding),
            advice=tuple({one.contract: None for one in marked if one.contract not in deciding_contracts}),
        )

    def _verdict(self, findings: Iterable[Finding]) -> ModelVerdict:
        """The worst that a finding makes of a manifest; unknown if no MUST was asked."""
        asked = any(one.level is Level.MUST for one in self._contracts.values())
        return worst(ModelVerdict.FINE if asked else ModelVerdict.UNKNOWN, *map(self._kind, findings))

    def _kind(self, finding: Finding) -> ModelVerdict:
        """What a deviation makes of a manifest alone."""
        must = self._contracts[finding.contract].level is Level.MUST
        if finding.outcome is Outcome.FAILED and must:
            return ModelVerdict.BREAKS
        if finding.outcome is Outcome.ERROR or (finding.outcome is Outcome.INCONCLUSIVE and must):
            return ModelVerdict.UNKNOWN
        return ModelVerdict.FINE


def _place(finding: Finding, fields: Sequence[str]) -> str:
    """The place of a finding at a line of a service: its field."""
    line = (finding.location and finding.location.line) or 1
    return f"{ON_MANIFEST} {fields[line - 1]}".rstrip()


def _unread(stream: TextStream) -> TrivetError | None:
    """Why lint does not judge a service; None if it does."""
    found = read(stream)
    if found.errors:
        return found.errors[0]
    if any(isinstance(one, Manifest) for one in found.subjects):
        return None
    return CannotTell(f"lint reads no manifest in {stream.name}, but {', '.join(found.others) or 'nothing'}")


class _Models:
    """Reads and judges the models of services."""

    def __init__(self, judge: ModelJudge, stack: Stack, places: ModelPlaces) -> None:
        self._judge = judge
        self._stack = stack
        self._places = places

    def judged(self, service: JudgedService, document: Mapping[str, Any]) -> JudgedService:
        """``service`` with the verdict on its model, and the worst of both."""
        of_model = replace(service, reasons=(), advice=(), not_accepted=None, waivers=())
        of_model = self._of_model(of_model, document)
        both = worst(service.manifest, of_model.verdict)
        of_either = (
            service.reasons,
            tuple(replace(one, place=f"{ON_MODEL} {one.place}".rstrip()) for one in of_model.reasons),
        )
        first, second = of_either if service.manifest is both else reversed(of_either)
        accepted = (service.manifest_not_accepted, of_model.not_accepted)
        return replace(
            of_model,
            verdict=both,
            model=of_model.verdict,
            model_not_accepted=of_model.not_accepted,
            reasons=(*first, *second),
            advice=tuple(dict.fromkeys((*service.advice, *of_model.advice))),
            waivers=(*service.waivers, *of_model.waivers),
            not_accepted=worst(accepted[0] or service.manifest, accepted[1] or of_model.verdict)
            if any(accepted)
            else None,
        )

    def _of_model(self, service: JudgedService, document: Mapping[str, Any]) -> JudgedService:
        try:
            name = _readable(document)
            with model_named(
                name, self._stack, lambda event: None, server=self._places.server, max_bytes=self._places.max_bytes
            ) as model:
                return self._judge.judged(service, model.directory)
        except TrivetError as error:
            return self._judge.judged(service, error)


def _readable(document: Mapping[str, Any]) -> str:
    """What names the model of a service for a check. Raises CannotTell when it cannot be read."""
    uri = stated_uri(document)
    predictor = (document.get("spec") or {}).get("predictor") or {}
    stated = ((predictor.get("model") or {}).get("modelFormat") or {}).get("name")
    if not uri:
        raise CannotTell(
            "its model is unknown: its predictor has no model.storageUri",
            remedy="judge the model itself: trivet check MODEL",
        )
    if stated and stated != "mlflow":
        raise CannotTell(f"its model is unknown: its format is {stated}, and models of MLflow are judged")
    try:
        uri.encode()
    except UnicodeEncodeError as error:
        raise CannotTell(f"its model is unknown: its storage URI {uri!a} is no Unicode text") from error
    scheme = uri_scheme(uri)
    if scheme not in READABLE:
        raise CannotTell(
            f"its model is unknown: {scheme}:// is not read from this machine",
            remedy="download the model, and judge its directory: trivet lint DIRECTORY",
        )
    if scheme not in ("file", ""):
        return uri
    path = uri.removeprefix(LOCAL)
    if not path.startswith("/"):
        raise CannotTell(f"its model is unknown: {uri!r} is no absolute path, and KServe reads it in the pod")
    if not (directory := directory_at(path)):
        raise CannotTell(f"its model is unknown: {uri} is no directory of this machine that this user can read")
    return str(directory)
