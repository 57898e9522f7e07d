"""When the API server and ``trivet lint`` agree on a manifest.

* The API server rejects it (with strict validation), or Knative's webhook or Kubernetes rejects what KServe's controller makes of it
  (``children``) or drops a field of it: a MUST of :data:`COMPARED` failed, or lint cannot read the file. If the API server names a field
  of the manifest, one of these findings is at that field, below it, or at the mapping or list that should hold it.
* None of them rejects or drops anything: no MUST of :data:`COMPARED` failed.
* No check of lint's raised, whatever the API server says.
* No runtime of KServe's release and the platform's serves the model of an admitted service: a MUST of :data:`OF_RUNTIMES` failed. One
  does: none failed. No dry run shows this; ``Controller.has_runtime`` selects.

What other contracts find (a setting without effect) no dry run shows, and is not compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from differential.children import KNATIVE_SERVICE, Controller, releases, revision, without_account
from differential.judges import NO_ACCOUNT, ApiServer, Lint, LintVerdict, ServerVerdict
from differential.mutations import text
from trivet.contracts.rules.rule import FRAMEWORKS
from trivet.contracts.values import each, mapping
from trivet.model.subjects import Keys
from trivet.toolkit.documents import BrokenDocument, documents

_LATER = (
    "is ignored: it must|has no effect|KServe drops|names no sink|deploys nothing with both"
    "|has the type s3 and no bucket|is named kserve-container, which is the one that serves"
    "|finds no container of workers"
)
"""What KServe's controller, agent, batcher and storage initializer make of an admitted service."""

_OF_KNATIVE_LATER = "Knative ignores|canaryTrafficPercent"
"""What Knative makes of an admitted service, or of a later one."""

_OF_A_POD_LATER = (
    r"is no reference of an image: ('[^']+' is no|a repository)"
    r"|(imagePullSecrets|volumes)\[\d+\]\.[\w.]+ .* is no name of an object"
    "|is none of the container's ports|is not Memory or HugePages|with which nothing starts|the kubelet does not start"
    "|no node has it|has no key(?!, so)"
)
"""What the kubelet makes of an admitted pod."""

_OF_A_COMPANION_LATER = (
    "two containers of the runtime|none of the runtime|is no node of the graph|the Secret (has no|lacks) (aws|AWS)"
    "|does not read the annotation|only the string|has a scheme|is no name of an InferenceService"
    "|is over the limit|has no key|is taken for .request|the Switch never takes it|call one another without end"
)
"""What shows in a service that uses an object."""

COMPARED: Mapping[str, str] = {
    "manifests.api_version_is_served": "",
    "manifests.fields_are_known": "",
    "manifests.schema_is_met": "",
    "manifests.name_is_valid": "",
    "lineage.labels_are_valid": "",
    "manifests.autoscaler_fits_deployment_mode": r"KServe rejects|does not work",
    "validation.kserve_admits_the_service": rf"^(?!.*({_LATER}))",
    "validation.knative_admits_the_revision": rf"^(?!.*({_OF_KNATIVE_LATER}))",
    "validation.knative_keeps_the_fields": "",
    "validation.kubernetes_admits_the_pods": rf"^(?!.*({_OF_A_POD_LATER}))",
    "validation.companion_is_admitted": rf"^(?!.*({_OF_A_COMPANION_LATER}))",
}
"""Contracts over what KServe's and Knative's webhooks and Kubernetes reject, with a pattern of those of their messages that say so."""

OF_PODS = (
    "validation.knative_admits_the_revision",
    "validation.knative_keeps_the_fields",
    "validation.kubernetes_admits_the_pods",
)
"""Contracts that judge pods, which KServe makes of no stopped service and of no model that no runtime serves."""
OF_ADMISSION: Mapping[str, str] = {
    **{name: "" for name in COMPARED if name not in OF_PODS},
    "manifests.name_is_valid": "^(?!.* is longer than the 63 of a DNS label)",
}
"""What of :data:`COMPARED` is about the service itself and not about the objects that KServe makes of it."""

OF_RUNTIMES: Mapping[str, str] = {
    "validation.runtime_serves_the_model": "",
    "manifests.protocol_version_is_served": "",
    "manifests.format_version_is_served": "",
}
"""Contracts over the runtime that KServe takes for a model."""

NO_RUNTIME = ServerVerdict(error="no runtime serves the model")

MISSED, FALSE_ALARM, MISPLACED, BROKEN = "missed", "false alarm", "misplaced", "a check of lint raised"


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """One difference between the judges; ``kind`` is MISSED, FALSE_ALARM, MISPLACED or BROKEN, and ``layer`` who judged on the server's
    side. ``child`` is the name of the object that was rejected, empty if it is not one that the controller makes; ``made`` says whether the
    controller makes anything of the document."""

    kind: str
    layer: str
    manifest: str
    server: ServerVerdict
    lint: LintVerdict
    child: str = ""
    made: bool = True

    @property
    def document(self) -> Mapping[str, Any]:
        """What the manifest says; empty if it is not one mapping."""
        try:
            (document,) = documents(self.manifest)
        except (BrokenDocument, ValueError):
            return {}
        return mapping(document.value)

    @property
    def signature(self) -> str:
        """What is the same for manifests with the same difference: its kind and the message without names and values."""
        said = (
            self.lint.failures[0][0] + str(self.lint)
            if self.kind == FALSE_ALARM and self.lint.failures
            else str(self.lint)
            if self.kind == BROKEN
            else str(self.server)
        )
        return f"{self.kind} ({self.layer}): {_without_values(said)}"

    def __str__(self) -> str:
        return f"{self.kind} ({self.layer})\n{self.manifest}\nthe API server: {self.server}\nlint: {self.lint}"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A difference that is meant to be: ``reason`` says why; ``server`` and ``lint`` are patterns of what the two say, of lint of one
    failure, and ``manifest`` is one of the manifest below a line with the name of the child. ``when`` asks what no pattern says."""

    reason: str
    kind: str
    manifest: str = ""
    server: str = ""
    lint: str = ""
    when: Callable[[Disagreement], bool] = lambda _: True

    def concerns(self, found: Disagreement) -> bool:
        """Whether ``found`` is of this kind, manifest and verdict of the API server."""
        return (
            found.kind == self.kind
            and re.search(self.server, str(found.server)) is not None
            and re.search(self.manifest, f"{found.child}\n{found.manifest}") is not None
            and self.when(found)
        )


def _names_a_runtime_of_its_own(found: Disagreement) -> bool:
    """Whether the model names a runtime, and none of KServe's releases."""
    named = mapping(_predictor(found.document).get("model")).get("runtime")
    return isinstance(named, str) and bool(named) and named not in _RELEASED


def _leaves_escalation_to_the_runtime(found: Disagreement) -> bool:
    """Whether the canary that was rejected has a model that does not itself say that it does not escalate."""
    document = found.document
    service = mapping(document.get("metadata")).get("name")
    predictors = [mapping(one.get("predictor")) for _, one in each(mapping(document.get("spec")).get("canary"), ())]
    models = [
        mapping(one[field])
        for one in predictors
        if found.child == f"{service}-{one.get('name')}-predictor"
        for field in ("model", *FRAMEWORKS)
        if field in one
    ]
    stated = [mapping(one.get("securityContext")).get("allowPrivilegeEscalation") for one in models]
    return bool(stated) and False not in stated


def _has_no_container_that_serves(document: Mapping[str, Any]) -> bool:
    """Whether the predictor has several containers, none of which KServe takes for the one that serves."""
    containers = _predictor(document).get("containers")
    names = [mapping(one).get("name") for one in containers] if isinstance(containers, list) else []
    return len(names) > 1 and bool(names[0]) and "kserve-container" not in names


def _predictor(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(document.get("spec")).get("predictor"))


_RELEASED = sorted({name for runtimes in releases().values() for name in runtimes})
"""Runtimes of KServe's releases."""

_OF_A_CANARY = (
    r"^(?P<service>\S+)-(?P<canary>\S+)-predictor\n(.*\n)*  name: (?P=service)\n(.*\n)*"
    r"  canary:\n(  [ -] .*\n)*?      name: (?P=canary)\n"
)
"""A child that is a canary of the service."""

KNOWN: tuple[Known, ...] = (
    Known(
        reason="What else the cluster has decides: a namespace that it has not is created before, and lint knows no namespaces.",
        kind=MISSED,
        server=r'^namespaces "[^"]+" not found$',
    ),
    Known(
        reason=(
            "A document whose apiVersion or kind is missing, or only near KServe's, may be another project's; lint takes it for KServe's "
            "when its group or kind is."
        ),
        kind=MISSED,
        server=r'^(the object has no apiVersion or no kind|no matches for kind "[^"]*" in version "(v\d\w*)?")$',
    ),
    Known(
        reason=(
            "KServe's webhook writes the zero value of Go for what is missing or null in an InferenceService: an empty name of a model "
            "format, or of a container of workerSpec, which KServe 0.14 does not use. Nothing else reads it, and nobody means it."
        ),
        kind=FALSE_ALARM,
        lint=r"schema_is_met: spec\.predictor\.(model\.modelFormat|workerSpec\.containers\[\d+\])[.\w\[\]]* (has no|is empty)",
    ),
    Known(
        reason=(
            "KServe drops a model beside an older field, which lint says by a finding that is not compared; it holds the model to the "
            "schema all the same."
        ),
        kind=FALSE_ALARM,
        lint=r"schema_is_met: spec\.predictor\.model\.",
        when=lambda found: bool(_older_fields(found.document)),
    ),
    Known(
        reason=(
            "By the same zero value a canary without a trafficPercent has 0, and confidential that does not say whether it is enabled is "
            "not; the API requires both."
        ),
        kind=FALSE_ALARM,
        lint=r"schema_is_met: spec\.(canary\[\d+\]|predictor\.\w+\.confidential)(\.(trafficPercent|enabled) is empty"
        r"| has no '(trafficPercent|enabled)')",
    ),
    Known(
        reason=(
            "Of several containers none of which is named kserve-container KServe makes nothing, which lint says by a finding that is not "
            "compared; it judges their fields all the same."
        ),
        kind=FALSE_ALARM,
        when=lambda found: _has_no_container_that_serves(found.document),
        lint=r"^validation\.(kubernetes_admits_the_pods|knative_\w+): .*(the container name|\d+ containers are named|spec\.predictor\b)",
    ),
    Known(
        reason="Lint selects no runtime for a canary, and one can bring the handler of a probe and the volume of a device.",
        kind=MISSED,
        manifest=_OF_A_CANARY,
        server=(
            r"^Deployment\.apps \S+ is invalid: "
            r"(\S+Probe: Required value: must specify a handler type$|\[?\S+volumeDevices\[\d+\]\.name: Not found)"
        ),
    ),
    Known(
        reason="Lint selects no runtime for a canary, and one can bring a security context that does not escalate.",
        kind=MISSED,
        manifest=_OF_A_CANARY,
        server=(
            r"^Deployment\.apps \S+ is invalid: spec\.template\.spec\.containers\[0\]\.securityContext: Invalid value: "
            r".*cannot set `allowPrivilegeEscalation` to false and (`privileged` to true|`capabilities\.Add` CAP_SYS_ADMIN)$"
        ),
        when=_leaves_escalation_to_the_runtime,
    ),
    Known(
        reason="Lint takes the runtimes of KServe's release to be installed: each brings requests of cpu and memory.",
        kind=MISSED,
        manifest=(
            rf"^\S+-predictor\n(?!(.*\n)* +protocolVersion: v2\n)(.*\n)*"
            rf"  predictor:\n(    .*\n)*?    ({'|'.join(('model', *FRAMEWORKS))}):\n(.*\n)*.*hugepages-"
        ),
        server=r"containers\[0\]\.resources: Forbidden: HugePages require cpu or memory",
    ),
    Known(
        reason="Lint takes the runtimes of KServe's release to be installed: that of several nodes brings handlers of probes.",
        kind=MISSED,
        manifest=r"^\S+-predictor(-worker)?\n(.*\n)*    workerSpec:",
        server=r"^Deployment\.apps \S+ is invalid: \S+containers\[0\]\.\w+Probe: Required value: must specify a handler type$",
    ),
    Known(
        reason="An integer over 2^63 - 1 is read as a float by KServe's webhook, and loses digits; nobody means it.",
        kind=MISSED,
        manifest=r"hugepages-\w+: (9223372036854775808|\d{20})",
        server="is not positive integer multiple of hugepages",
    ),
    Known(
        reason="The API server leaves out warnings of unknown fields with a NUL in them, which no HTTP header can have.",
        kind=FALSE_ALARM,
        manifest=r"\\u0000",
        lint="fields_are_known: the API has no field",
    ),
    Known(
        reason="Lint judges no service in ModelMesh mode by KServe's rules: ModelMesh deploys it by rules of its own.",
        kind=MISSED,
        manifest=r"deploymentMode: ModelMesh",
        server="^admission webhook",
    ),
    Known(
        reason=(
            "KServe's webhook writes an empty name for a container that has none, and Knative names it. The API requires a name, and "
            "Standard mode does not work without."
        ),
        kind=FALSE_ALARM,
        lint=r"schema_is_met: spec\.(predictor|transformer|explainer)\.containers\[\d+\] has no 'name'",
    ),
    Known(
        reason="KServe's webhook writes an empty value for the header of a probe that has none.",
        kind=FALSE_ALARM,
        lint=r"schema_is_met: .*httpHeaders\[\d+\] has no 'value'",
    ),
    Known(
        reason="KServe's webhook writes an empty policy for a resizePolicy that has none, and Kubernetes before 1.33 drops all of it.",
        kind=FALSE_ALARM,
        lint=r"schema_is_met: .*resizePolicy\[\d+\] has no ",
    ),
    Known(
        reason="A null in a list of ports, and a port without a containerPort, become port 0, for which Knative takes 8080.",
        kind=FALSE_ALARM,
        lint=r"schema_is_met: .*ports\[\d+\](\.containerPort)? (is empty|has no 'containerPort')",
    ),
    Known(
        reason=(
            "A null in a list is an empty container, or a variable without a name, to Go, which Knative and Kubernetes refuse; where "
            "KServe makes nothing, such as of a model that no runtime serves, there is nothing that they could refuse."
        ),
        kind=FALSE_ALARM,
        lint=r"schema_is_met: spec\.\w+(\[\d+\])?\.\S+\[\d+\] is empty",
        when=lambda found: not found.made,
    ),
    Known(
        reason=(
            "KServe's webhook writes the zero value of Go for a field that is required and missing, such as an empty name or topologyKey, "
            "which Knative and Kubernetes refuse in a pod; where KServe makes no pods, there is nothing that they could refuse."
        ),
        kind=FALSE_ALARM,
        lint=r"schema_is_met: spec\.\w+(\[\d+\])?\.\S+ has no '\w+'",
        when=lambda found: not found.made,
    ),
    Known(
        reason=(
            "The API server checks no int32 of a custom resource, and no webhook reads a storage container; KServe's controller, whose "
            "type in Go has the bound, cannot read it."
        ),
        kind=FALSE_ALARM,
        manifest=r"\nkind: ClusterStorageContainer\n",
        lint=r"schema_is_met: \S+ is \d+, expected at most 2147483647 ",
    ),
    *(
        Known(
            reason="A text such as $request is a placeholder, whose value envsubst writes before the manifest is applied.",
            kind=kind,
            server=r"is invalid: [\w.\[\]]+: Invalid value: \"\$\w+\": ",
        )
        for kind in (MISSED, MISPLACED)
    ),
    Known(
        reason="KServe's webhook parses the times of a status, for which the API has no format, and nobody writes a status.",
        kind=MISSED,
        server=r"^admission webhook \S+ denied the request: parsing time ",
        manifest=r"\nstatus:\n(.*\n)*.* lastTransitionTime: ",
    ),
    Known(
        reason="A null among the conditions of a status is an empty condition to KServe's webhook, and nobody writes a status.",
        kind=FALSE_ALARM,
        lint=r"schema_is_met: status\.conditions\[\d+\] is empty",
    ),
    Known(
        reason="A port of a probe that is null or missing becomes 0, for which Knative takes the container's port.",
        kind=FALSE_ALARM,
        lint=r"schema_is_met: .*Probe\.(httpGet|tcpSocket)(\.port is empty| has no 'port')",
    ),
    Known(
        reason=(
            "Lint knows the ports of the runtime that KServe selects, and no others: a model that the platform's runtime, of v2 only, "
            "does not serve gets a container without ports here, and nothing at all from KServe."
        ),
        kind=MISSED,
        server=r"Probe port must match container port|missing field\(s\): spec\.template\.spec\.containers\[\*\]\.ports",
        manifest=r"(?s)^(?!.*protocolVersion: v2\n)",
    ),
    Known(
        reason="KServe replaces the GPUs of workers by those that it computes; nobody means half a GPU, or fewer than none.",
        kind=FALSE_ALARM,
        lint=r"workerSpec\.containers\[\d+\]\.resources\.(requests|limits)\.\S+/\S+"
        r"( -\d+ is negative| \S+ is not an integer| the (request|extended resource) )",
    ),
    *(
        Known(
            reason="Runtimes have no status subresource in KServe's CRD, so that a wrong status is rejected; nobody writes one.",
            kind=kind,
            server=r"status in body must be of type object|unknown field \"status\.",
        )
        for kind in (MISSED, MISPLACED)
    ),
    Known(
        reason="The API server writes stringData into data before it looks at the keys.",
        kind=MISPLACED,
        server=r'^Secret "[^"]*" is invalid: data\[',
    ),
    Known(
        reason="Go's encoding/json reads a list of numbers as bytes, and nobody writes a Secret so.",
        kind=FALSE_ALARM,
        lint=r"schema_is_met: data\.\S+ is a list, expected a string",
    ),
    Known(
        reason="Knative's queue-proxy executes readiness probes, and nobody validates their port, scheme and headers before.",
        kind=FALSE_ALARM,
        lint=r"readinessProbe\.(grpc|httpGet|tcpSocket)\.(port \S+ is not from 1 to 65535|scheme \S+ is not HTTP or HTTPS|"
        r"httpHeaders\[\d+\]\.name .* is no name)",
    ),
    Known(
        reason="A null in a list of names is read as an empty name, which the API server does not look at.",
        kind=FALSE_ALARM,
        lint=r"schema_is_met: (secrets|imagePullSecrets|spec\.\w+\.imagePullSecrets)\[\d+\] is empty",
    ),
    Known(
        reason="A quantity without digits is read as 0 (apimachinery ParseQuantity), and nobody means it.",
        kind=FALSE_ALARM,
        lint=r"'([KMGTPE]i|[numkMGTPE])'(, expected a quantity| is no quantity)",
    ),
    Known(
        reason="Lint takes the runtimes of KServe's release to be installed: each has requests and limits of cpu and memory.",
        kind=FALSE_ALARM,
        lint=(
            r"^validation\.kubernetes_admits_the_pods: \S+: the request of (?=.* of the runtime kserve-(?!mlserver))"
            r".* is over the limit of "
        ),
    ),
    Known(
        reason="A runtime that a service names may be the platform's own: lint says that it is not known, in advice or as inconclusive.",
        kind=MISSED,
        server=f"^{NO_RUNTIME.error}$",
        when=_names_a_runtime_of_its_own,
    ),
)
"""Differences that are meant to be."""


def is_meant(found: Disagreement) -> bool:
    """Whether :data:`KNOWN` explains ``found``, and each failure of lint's."""
    known = [one for one in KNOWN if one.concerns(found)]
    return bool(known) and all(
        any(re.search(one.lint, f"{contract}: {message}") for one in known)
        for contract, _, message in found.lint.failures
    )


class Comparison:
    """Both judges over a document, and the controller of what the API server admits."""

    def __init__(self, server: ApiServer, lint: Lint, controller: Controller) -> None:
        self.server = server
        self.lint = lint
        self.controller = controller

    def disagreement(self, document: Mapping[str, Any]) -> Disagreement | None:
        """The first difference that no :data:`KNOWN` explains."""
        return next((one for one in self.differences(document) if not is_meant(one)), None)

    def differences(self, document: Mapping[str, Any]) -> Iterator[Disagreement]:
        """Every difference between the judges."""
        said = self.admission(document)
        stored = said.stored if document.get("kind") == "InferenceService" and not said.rejects else None
        made = stored is None or self._makes_anything(stored)
        for found in self._differences(document, said):
            yield replace(found, made=made)

    def _differences(self, document: Mapping[str, Any], said: ServerVerdict) -> Iterator[Disagreement]:
        manifest = text(document)
        kind = str(document.get("kind"))
        whole = self.lint.judge(manifest)
        verdict = whole.of(COMPARED)
        if verdict.broken:
            yield Disagreement(kind=BROKEN, layer=kind, manifest=manifest, server=said, lint=verdict)
        if kind == "InferenceService" and not said.rejects:
            yield from self._difference_of_runtimes(manifest, said, whole.of(OF_RUNTIMES))
        if kind == "InferenceService" and said.stored is not None and self._makes_nothing(said.stored):
            verdict = verdict.of(OF_ADMISSION)
        rejected = list(self.rejected_children(said)) if kind == "InferenceService" and not said.rejects else []
        for layer, child, rejection in [(kind, "", said)] if said.rejects else rejected:
            if not verdict.rejects:
                yield Disagreement(
                    kind=MISSED, layer=layer, manifest=manifest, server=rejection, lint=verdict, child=child
                )
            elif rejection is said and not _at_the_place(manifest, said, verdict):
                yield Disagreement(kind=MISPLACED, layer=layer, manifest=manifest, server=said, lint=verdict)
        if verdict.rejects and not said.rejects and not rejected:
            yield Disagreement(kind=FALSE_ALARM, layer=kind, manifest=manifest, server=said, lint=verdict)

    def admission(self, document: Mapping[str, Any]) -> ServerVerdict:
        """What the API server says of a document itself, of a kind or version that it has not as kubectl does."""
        kind, version = document.get("kind"), document.get("apiVersion")
        if not (isinstance(kind, str) and isinstance(version, str) and kind and version):
            return ServerVerdict(error="the object has no apiVersion or no kind")
        if not self.server.serves(version, kind):
            return ServerVerdict(error=f'no matches for kind "{kind}" in version "{version}"')
        metadata = document.get("metadata")
        namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
        return self.server.judge(kind, text(document), namespace=namespace if isinstance(namespace, str) else "")

    def _difference_of_runtimes(self, manifest: str, said: ServerVerdict, lint: LintVerdict) -> Iterator[Disagreement]:
        """Of an admitted service: whether lint and the controller differ in whether a runtime serves its model."""
        assert said.stored is not None
        if self.controller.is_standard(said.stored) is None:
            return
        serves = self.controller.has_runtime(said.stored)
        if serves and lint.failures:
            yield Disagreement(kind=FALSE_ALARM, layer="runtime", manifest=manifest, server=said, lint=lint)
        elif not serves and not lint.failures:
            yield Disagreement(kind=MISSED, layer="runtime", manifest=manifest, server=NO_RUNTIME, lint=lint)

    def _makes_nothing(self, service: Mapping[str, Any]) -> bool:
        return self.controller.is_stopped(service) or not self.controller.has_runtime(service)

    def _makes_anything(self, service: Mapping[str, Any]) -> bool:
        return not self._makes_nothing(service) and any(self.controller.children(service))

    def rejected_children(self, admitted: ServerVerdict) -> Iterator[tuple[str, str, ServerVerdict]]:
        """What is rejected of the objects that the controller makes of an admitted InferenceService: (kind, name, verdict).

        A revision's Deployment has the name of its Knative Service here.
        """
        assert admitted.stored is not None
        if not self.controller.has_runtime(admitted.stored):
            return
        for kind, child in self.controller.children(admitted.stored):
            name = str(child["metadata"]["name"])
            judged = self.server.judge(kind, json.dumps(child))
            if kind == KNATIVE_SERVICE and NO_ACCOUNT in judged.error:
                judged = self.server.judge(kind, json.dumps(without_account(child)))
            if judged.rejects:  # the controller does not ask for strict validation, and what is dropped has no effect
                yield kind, name, judged
            if kind == KNATIVE_SERVICE and judged.stored is not None:
                of_revision, deployment = revision(judged.stored)
                judged = self.server.judge(of_revision, json.dumps(deployment))
                if judged.rejects:
                    yield of_revision, name, judged


def _without_values(message: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|`[^`]*`|-?\d[\d.]*', "…", message)[:200]


def _at_the_place(manifest: str, said: ServerVerdict, verdict: LintVerdict) -> bool:
    """Whether a finding is at a field that the server names, below it, or at what should hold it."""
    if not said.fields or verdict.errors:
        return True
    try:
        (document,) = documents(manifest)
    except BrokenDocument:
        return True
    lines = {line for _, line, _ in verdict.failures}
    everything = list(_places(document.value))
    for field in said.fields:
        names = _names(field)
        if re.match(r"\S+ \S+ is invalid: ", said.error):  # said of what the webhook has made of the manifest
            names = _as_written(names, mapping(document.value))
        while names:
            places = [keys for keys in everything if _plain(keys)[: len(names)] == names]
            if places:
                break
            names = names[:-1]
        parents = [keys[:-1] for keys in everything if _plain(keys) == names]
        if lines & {document.line(keys) for keys in (*(places if names else ((),)), *parents)}:
            return True
    return False


def _places(value: Any, keys: Keys = ()) -> Iterator[Keys]:
    yield keys
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from _places(member, (*keys, key))


def _names(field: str) -> tuple[str, ...]:
    """A dotted path without indices and without keys that hold dots, which end it."""
    return tuple(part for part in re.sub(r"\[[^\]]*\].*|\[\d+\]", "", field).split(".") if part)


def _as_written(names: tuple[str, ...], document: Mapping[str, Any]) -> tuple[str, ...]:
    """The place of a field in the manifest: of an older field of the predictor KServe's webhook makes the model, in place of one that is
    there (0.14.1 pkg/apis/serving/v1beta1/inference_service_defaults.go, setPredictorModelDefaults)."""
    older = _older_fields(document)
    of_the_model = names[:3] == ("spec", "predictor", "model")
    return ("spec", "predictor", older[0], *names[3:]) if of_the_model and older else names


def _older_fields(document: Mapping[str, Any]) -> list[str]:
    """The older fields for a model that the predictor has."""
    return [name for name in FRAMEWORKS if isinstance(_predictor(document).get(name), dict)]


def _plain(keys: Keys) -> tuple[str, ...]:
    return tuple(key for key in keys if isinstance(key, str))
