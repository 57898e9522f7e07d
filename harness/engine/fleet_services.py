"""The services of a fleet: every InferenceService of a cluster by its manifest, as lint judges it, and by its model where that can be read.

Reads the cluster and changes nothing there; executes nothing of a model.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from trivet.engine.acceptance import NO_WAIVERS, Waivers
from trivet.engine.lint import lint
from trivet.engine.lint_platform import of_cluster
from trivet.engine.model_judge import ModelJudge
from trivet.errors import CannotTell, TrivetError
from trivet.host.kubectl import Kubectl
from trivet.integration import uri_scheme
from trivet.integration.rollout import stated_uri
from trivet.model.contract import Contract
from trivet.model.finding import Finding, Location
from trivet.model.fleet import JudgedService, ModelReason, ModelVerdict
from trivet.model.outcome import Level, Outcome
from trivet.model.report import STATIC
from trivet.model.stack import Stack
from trivet.targets.local.model_source import model_named
from trivet.toolkit.walking import TextStream

KIND = "inferenceservices.serving.kserve.io"

READABLE = ("models", "runs", "s3", "file", "")
"""Schemes of storage URIs from which a model is read; the empty one is a path."""

MANIFEST, MODEL = "manifest", "model"
"""How the places of a service's reasons begin."""

_OF_THE_SERVER = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
"""What of an object's metadata the API server writes."""

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, kw_only=True)
class ModelPlaces:
    """Where models of services are read: the tracking server for URIs of MLflow, empty if there is none, and at most how many bytes."""

    server: str
    max_bytes: int


def judge_services(
    kubectl: Kubectl,
    contracts: Iterable[Contract],
    stack: Stack,
    *,
    places: ModelPlaces,
    namespaces: Sequence[str] = (),
    waivers: Waivers = NO_WAIVERS,
    emit: Callable[[JudgedService], None] = lambda service: None,
) -> list[JudgedService]:
    """Every InferenceService of the cluster, or of ``namespaces``, by namespace and name, with its verdict under ``stack``.

    ``waivers`` accept findings; the object of one is ``InferenceService/NAMESPACE/NAME``. ``emit`` gets each service as it is judged.
    Raises PlatformError when the account may not list services or read KServe's configuration, and UsageError when none of ``contracts``
    judges a model directory.
    """
    documents = [one for each in namespaces or ("",) for one in kubectl.objects(KIND, namespace=each)]
    documents.sort(key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"]))
    judge = ModelJudge(contracts, stack, waivers)
    if not documents:
        return []
    static = {one.id: one for one in contracts if one.static and one.subject != "model_directory"}
    manifests = _manifests(documents, static, kubectl, stack)
    models = _Models(judge, stack, places)
    judged = []
    for document in documents:
        service = _of_manifest(document, manifests[_name(document)], static, stack, waivers)
        service = models.judged(service, document)
        judged.append(service)
        emit(service)
    return judged


def _manifests(
    documents: Sequence[Mapping[str, Any]], contracts: Mapping[str, Contract], kubectl: Kubectl, stack: Stack
) -> Mapping[str, list[Finding]]:
    """The deviations of each service, by NAMESPACE/NAME, as lint finds them with what the cluster says of its platform."""
    streams = [TextStream(_name(one), json.dumps(_applied(one)).encode()) for one in documents]
    found: dict[str, list[Finding]] = defaultdict(list)

    def keep(deviations: Sequence[tuple[Finding, Contract]]) -> None:
        for finding, _ in deviations:
            found[(finding.location and finding.location.file) or ""].append(finding)

    result = lint(streams, list(contracts.values()), stack, of_cluster(kubectl), emit=keep)
    for error in result.errors:
        raise error
    return found


def _applied(document: Mapping[str, Any]) -> dict[str, Any]:
    """A service without what the API server and the controller write: what would be applied."""
    metadata = {key: value for key, value in document["metadata"].items() if key not in _OF_THE_SERVER}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _APPLIED}
    metadata["annotations"] = annotations
    return {**{key: value for key, value in document.items() if key != "status"}, "metadata": metadata}


def _name(document: Mapping[str, Any]) -> str:
    return f"{document['metadata']['namespace']}/{document['metadata']['name']}"


def _of_manifest(
    document: Mapping[str, Any],
    deviations: Sequence[Finding],
    contracts: Mapping[str, Contract],
    stack: Stack,
    waivers: Waivers,
) -> JudgedService:
    """A service with the verdict on its manifest, and an unknown model."""
    service = JudgedService(
        namespace=document["metadata"]["namespace"],
        name=document["metadata"]["name"],
        verdict=ModelVerdict.UNKNOWN,
        manifest=ModelVerdict.UNKNOWN,
        model=ModelVerdict.UNKNOWN,
        storage_uri=stated_uri(document),
    )
    matching: list[str] = []
    marked = []
    for finding in deviations:
        about = waivers.about(finding.contract, stack=stack.name, target=STATIC)
        located = replace(finding, location=Location(object=service.uri))
        names = waivers.matching(about, located)
        matching += names
        marked.append(waivers.waived(located, names))
    verdict = _verdict(marked, contracts)
    left = [one for one in marked if not one.accepted]
    binding = [one for one in marked if _kind(one, contracts) is verdict is not ModelVerdict.FINE]
    return replace(
        service,
        manifest=verdict,
        not_accepted=_verdict(left, contracts) if len(left) < len(marked) else None,
        waivers=tuple(matching),
        reasons=tuple(_reason(one, contracts) for one in binding),
        advice=tuple({one.contract: None for one in marked if one not in binding}),
    )


def _kind(finding: Finding, contracts: Mapping[str, Contract]) -> ModelVerdict:
    """What a deviation of a manifest makes of it alone."""
    contract = contracts.get(finding.contract)
    must = contract is None or contract.level is Level.MUST
    if finding.outcome is Outcome.FAILED and must:
        return ModelVerdict.BREAKS
    if finding.outcome is Outcome.ERROR or (finding.outcome is Outcome.INCONCLUSIVE and must):
        return ModelVerdict.UNKNOWN
    return ModelVerdict.FINE


def _verdict(findings: Iterable[Finding], contracts: Mapping[str, Contract]) -> ModelVerdict:
    return worst(ModelVerdict.FINE, *(_kind(one, contracts) for one in findings))


def worst(*verdicts: ModelVerdict) -> ModelVerdict:
    """The worst of some verdicts."""
    return min(verdicts, key=list(ModelVerdict).index)


def _reason(finding: Finding, contracts: Mapping[str, Contract]) -> ModelReason:
    contract = contracts.get(finding.contract)
    return ModelReason(
        contract=finding.contract,
        level=contract.level if contract else Level.MUST,
        outcome=finding.outcome,
        message=finding.message,
        place=MANIFEST,
        remedy=finding.remedy or (contract.remedy if contract else ""),
        waiver=finding.waiver,
    )


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
        accepted = (service.not_accepted, of_model.not_accepted)
        both = worst(service.manifest, of_model.verdict)
        reasons = [
            *service.reasons,
            *(replace(one, place=f"{MODEL} {one.place}".rstrip()) for one in of_model.reasons),
        ]
        return replace(
            of_model,
            verdict=both,
            model=of_model.verdict,
            reasons=tuple(reasons if service.manifest is both else reversed(reasons)),
            advice=tuple(dict.fromkeys((*service.advice, *of_model.advice))),
            waivers=(*service.waivers, *of_model.waivers),
            not_accepted=worst(accepted[0] or service.manifest, accepted[1] or of_model.verdict)
            if any(accepted)
            else None,
        )

    def _of_model(self, service: JudgedService, document: Mapping[str, Any]) -> JudgedService:
        try:
            name = self._readable(document)
            with model_named(
                name, self._stack, lambda event: None, server=self._places.server, max_bytes=self._places.max_bytes
            ) as model:
                return self._judge.judged(service, model.directory)
        except TrivetError as error:
            return self._judge.judged(service, error)

    def _readable(self, document: Mapping[str, Any]) -> str:
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
        scheme = uri_scheme(uri)
        if scheme not in READABLE:
            raise CannotTell(
                f"its model is unknown: {scheme}:// is not read from this machine",
                remedy="download the model, and judge its directory: trivet lint DIRECTORY",
            )
        path = Path(unquote(urlsplit(uri).path)) if scheme == "file" else Path(uri)
        if scheme in ("file", "") and not path.is_dir():
            raise CannotTell(f"its model is unknown: {uri} is no directory of this machine")
        return str(path) if scheme in ("file", "") else uri
