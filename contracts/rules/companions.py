"""What KServe's webhooks and Kubernetes refuse of the objects beside an InferenceService.

Read at KServe 0.12.1, 0.13.1, 0.14.1 and 0.20.0, and Kubernetes 1.30.14.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from trivet.contracts.quantities import over_limit
from trivet.contracts.rules.claims import claim_problems
from trivet.contracts.rules.credentials import RELEASED, S3_KEYS
from trivet.contracts.rules.expressions import is_refused
from trivet.contracts.rules.kserve import unknown_gpus
from trivet.contracts.rules.names import data_key_problem, label_problem, qualified_problem, subdomain_problem
from trivet.contracts.rules.pods import missing_keys
from trivet.contracts.rules.rule import Companion, Rules
from trivet.contracts.values import each, integer, mapping, path, text
from trivet.contracts.violation import Violation

COMPANIONS = Rules("kserve", "kserve")

_GRAPH = "pkg/apis/serving/v1alpha1/inference_graph_validation.go"
_RUNTIME = "pkg/webhook/admission/servingruntime/servingruntime_webhook.go"
_RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")
_CORE = "k8s.io/kubernetes pkg/apis/core/validation/validation.go"
_MODEL_SCHEMES = ("s3://", "gs://", "https://", "http://")
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}")


@COMPANIONS.rule(f"{_CORE}, ValidateObjectMeta; apimachinery pkg/api/validation")
def metadata(companion: Companion) -> Iterator[Violation]:
    name = companion.metadata.get("name")
    judged = (bool(name) and companion.resource.kind != "InferenceGraph") or len(text(name)) > 253
    if isinstance(name, str) and judged and (why := subdomain_problem(name)):
        yield Violation(("metadata", "name"), f"the name {name!r} is not valid: {why}")
    if companion.resource.kind and name in (None, "") and not companion.metadata.get("generateName"):
        yield Violation(("metadata",), f"the {companion.resource.kind} has no metadata.name")
    namespace = companion.metadata.get("namespace")
    if isinstance(namespace, str) and (why := label_problem(namespace)):
        yield Violation(("metadata", "namespace"), f"the namespace {namespace!r} is not valid: {why}")
    for kind in ("labels", "annotations"):
        for key in mapping(companion.metadata.get(kind)):
            if why := qualified_problem(str(key).lower() if kind == "annotations" else str(key)):
                yield Violation(("metadata", kind, key), f"{kind[:-1]} {key!r} has no valid key: {why}")


@COMPANIONS.rule(f"{_GRAPH}, validateInferenceGraph")
def inference_graph(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "InferenceGraph":
        return
    name = companion.metadata.get("name")
    if isinstance(name, str) and not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield Violation(
            ("metadata", "name"), f"KServe rejects the name {name!r}: it must match [a-z]([-a-z0-9]*[a-z0-9])?"
        )
    stated = companion.spec.get("nodes")
    if not isinstance(stated, dict | None):
        return
    nodes = {name: node for name, node in (stated or {}).items() if node is not None}  # the API server drops a null
    if "root" not in nodes:
        yield Violation(
            ("spec", "nodes"), f"the graph has no node named root, only {', '.join(map(str, nodes)) or 'none'}"
        )
    for node, settings in nodes.items():
        yield from _graph_node(("spec", "nodes", node), mapping(settings), nodes)


def _graph_node(keys: Any, node: Mapping[str, Any], nodes: Mapping[str, Any]) -> Iterator[Violation]:
    steps = list(each(node.get("steps"), (*keys, "steps")))
    names: set[str] = set()
    for at, step in steps:
        name = text(step.get("name"))
        if name and name in names:
            yield Violation((*at, "name"), f"two steps of {path(keys)} are named {name!r}")
        names.add(name)
        targets = [field for field in ("nodeName", "serviceName", "serviceUrl") if step.get(field)]
        if len(targets) != 1:
            yield Violation(
                at,
                f"{path(at)} must have one of nodeName, serviceName and serviceUrl, not {' and '.join(targets) or 'none'}",
            )
        target = step.get("nodeName")
        if isinstance(target, str) and target and target not in nodes:
            yield Violation(
                (*at, "nodeName"),
                f"{path(at)}.nodeName {target!r} is no node of the graph; there are {', '.join(map(str, nodes))}",
            )
    if node.get("routerType") == "Splitter":
        weights = [integer(step.get("weight")) for _, step in steps]
        for (at, _), weight in zip(steps, weights, strict=True):
            if weight is None:
                yield Violation(at, f"{path(at)} has no weight, which every step of a Splitter has")
        if None not in weights and (total := sum(weight or 0 for weight in weights)) != 100:
            yield Violation(keys, f"the weights of the Splitter {path(keys)} sum up to {total}, not 100")


@COMPANIONS.rule(
    "cmd/router/main.go, routeStep, pickupRouteByCondition; "
    "pkg/controller/v1alpha1/inferencegraph/controller.go: the service is looked up by name"
)
def graph_routing(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "InferenceGraph":
        return
    nodes = mapping(companion.spec.get("nodes"))
    for node, settings in nodes.items():
        router = mapping(settings).get("routerType")
        for keys, step in each(mapping(settings).get("steps"), ("spec", "nodes", node, "steps")):
            name = text(step.get("serviceName"))
            if name and (why := subdomain_problem(name)):
                advice = "; a URL stands in serviceUrl" if "/" in name or ":" in name else ""
                yield Violation(
                    (*keys, "serviceName"),
                    f"{path(keys)}.serviceName {name!r} is no name of an InferenceService: {why}{advice}",
                )
            data = step.get("data")
            if router == "Sequence" and isinstance(data, str) and data not in ("", "$request", "$response"):
                yield Violation(
                    (*keys, "data"), f"{path(keys)}.data {data!r} is taken for $request: write $request or $response"
                )
            if router == "Switch" and not step.get("condition"):
                yield Violation(keys, f"{path(keys)} has no condition, so that the Switch never takes it")
    after = {
        node: {text(step.get("nodeName")) for _, step in each(mapping(settings).get("steps"), ())} & set(nodes)
        for node, settings in nodes.items()
    }
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        around = " → ".join(map(str, reversed(error.args[1])))
        yield Violation(("spec", "nodes"), f"the nodes call one another without end: {around}")


@COMPANIONS.rule("pkg/apis/serving/v1alpha1/trainedmodel_webhook.go, validateTrainedModelName, validateStorageURI")
def trained_model(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "TrainedModel":
        return
    name = companion.metadata.get("name")
    if (
        isinstance(name, str) and "." in name and not subdomain_problem(name)
    ):  # what else is wrong with it Kubernetes says
        yield Violation(("metadata", "name"), f"KServe rejects the name {name!r}: that of a TrainedModel has no '.'")
    uri = mapping(companion.spec.get("model")).get("storageUri")
    if isinstance(uri, str) and not uri.startswith(_MODEL_SCHEMES):
        yield Violation(
            ("spec", "model", "storageUri"),
            f"a TrainedModel's storageUri must begin with {', '.join(_MODEL_SCHEMES)}, not {uri!r}",
        )


@COMPANIONS.rule(f"{_RUNTIME}, validateModelFormatPrioritySame, once there is another runtime")
def runtime_priorities(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind not in _RUNTIMES or companion.spec.get("disabled") is True:
        return
    priorities: dict[str, int | None] = {}
    for keys, form in each(companion.spec.get("supportedModelFormats"), ("spec", "supportedModelFormats")):
        name, priority = text(form.get("name")), integer(form.get("priority"))
        if form.get("autoSelect") is not True:
            continue
        if None not in (first := priorities.setdefault(name, priority), priority) and first != priority:
            yield Violation(
                (*keys, "priority"),
                f"the format {name} has the priorities {first} and {priority}, and one runtime has one for a format",
            )


@COMPANIONS.rule("pkg/controller/v1beta1/inferenceservice/components/predictor.go: no kserve-container, no deployment")
def runtime_containers(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind not in _RUNTIMES or companion.spec.get("multiModel") is True:
        return
    containers = list(each(companion.spec.get("containers"), ("spec", "containers")))
    names = [text(one.get("name")) for _, one in containers]
    if containers and "kserve-container" not in names:
        yield Violation(
            ("spec", "containers"),
            f"none of the runtime's containers {', '.join(names)} is named kserve-container, into which KServe merges the model",
        )
    for keys, one in containers:
        if names.count(text(one.get("name"))) > 1:
            yield Violation((*keys, "name"), f"two containers of the runtime are named {one.get('name')!r}")
            break


@COMPANIONS.rule(
    "pkg/controller/v1beta1/inferenceservice/utils/utils.go, ReplacePlaceholders: Go templates over the service's metadata"
)
def runtime_placeholders(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind not in _RUNTIMES:
        return
    for keys, container in each(companion.spec.get("containers"), ("spec", "containers")):
        args = container.get("args")
        values = [
            ((*keys, "args", index), value)
            for index, value in enumerate(args if isinstance(args, list) else ())
            if isinstance(value, str)
        ]
        values += [
            ((*at, "value"), text(variable.get("value"))) for at, variable in each(container.get("env"), (*keys, "env"))
        ]
        for at, value in values:
            for inner in _TEMPLATE.findall(value):
                if re.fullmatch(r"\s*\.(\w+)\s*", inner) and inner.strip(" .") not in _METADATA:
                    yield Violation(
                        at,
                        f"{path(at)} refers to {{{{{inner}}}}}, and metadata has {', '.join(f'.{name}' for name in _METADATA)}",
                    )
            if "{{" in _TEMPLATE.sub("", value):
                yield Violation(at, f"{path(at)} {value!r} is no Go template: {{{{ is not closed by }}}}")


_METADATA = (
    "Name",
    "GenerateName",
    "Namespace",
    "SelfLink",
    "UID",
    "ResourceVersion",
    "Generation",
    "CreationTimestamp",
    "Labels",
    "Annotations",
)


@COMPANIONS.rule(f"{_RUNTIME}, validateMultiNodeSpec", versions=">=0.15")
def runtime_worker_spec(companion: Companion) -> Iterator[Violation]:
    worker = companion.spec.get("workerSpec")
    if (
        companion.resource.kind not in _RUNTIMES
        or companion.spec.get("disabled") is True
        or not isinstance(worker, dict)
    ):
        return
    keys = ("spec", "workerSpec")
    containers = list(each(worker.get("containers"), (*keys, "containers")))
    if len(containers) != 1:
        yield Violation((*keys, "containers"), f"workerSpec has {len(containers)} containers, and KServe admits one")
    for name in ("pipelineParallelSize", "tensorParallelSize"):
        if (number := integer(worker.get(name))) is not None and number < 1:
            yield Violation((*keys, name), f"workerSpec.{name} {number} is less than 1")
    annotations = mapping(companion.spec.get("annotations"))
    for at, container in each(companion.spec.get("containers"), ("spec", "containers")):
        if container.get("name") == "kserve-container":
            yield from unknown_gpus(annotations, at, container)
            for where, variable in each(container.get("env"), (*at, "env")):
                if variable.get("name") in ("PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE"):
                    yield Violation(where, f"{variable['name']} is set from workerSpec, and KServe rejects it in env")
    for at, container in containers[:1]:
        if container.get("name") == "worker-container":
            yield from unknown_gpus(annotations, at, container)


@COMPANIONS.rule("pkg/validation/env_policy.go, DefaultBlockedEnvVars", versions=">=0.18")
def runtime_blocked_environment(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind in _RUNTIMES and companion.spec.get("disabled") is not True:
        for keys, container in each(companion.spec.get("containers"), ("spec", "containers")):
            for at, variable in each(container.get("env"), (*keys, "env")):
                if variable.get("name") == "PYTHONPATH":
                    yield Violation(at, f"{path(keys)} sets PYTHONPATH, which KServe blocks")


@COMPANIONS.rule(
    "k8s.io/kubernetes pkg/apis/core/validation/validation.go, ValidateResourceRequirements, on the pod that the runtime is merged into"
)
def runtime_resources(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind not in _RUNTIMES:
        return
    for keys, container in each(companion.spec.get("containers"), ("spec", "containers")):
        resources = mapping(container.get("resources"))
        requests, limits = mapping(resources.get("requests")), mapping(resources.get("limits"))
        for name in over_limit(requests, limits):
            at = (*keys, "resources", "requests", name)
            yield Violation(
                at, f"{path(at)}: the request of {requests[name]} {name} is over the limit of {limits[name]}"
            )


@COMPANIONS.rule(
    "k8s.io/kubernetes pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables, of the pod that the runtime is merged into"
)
def runtime_keys(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind in _RUNTIMES:
        for keys, container in each(companion.spec.get("containers"), ("spec", "containers")):
            yield from missing_keys(each(container.get("env"), (*keys, "env")), companion.applied)


@COMPANIONS.rule("pkg/apis/serving/v1alpha1/storage_container_types.go, IsStorageUriSupported")
def storage_container(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "ClusterStorageContainer":
        return
    for keys, form in each(companion.spec.get("supportedUriFormats"), ("spec", "supportedUriFormats")):
        expression = form.get("regex")
        if isinstance(expression, str) and not form.get("prefix") and is_refused(expression):
            yield Violation(
                (*keys, "regex"),
                f"{path(keys)}.regex {expression!r} is no regular expression of Go (RE2), which has neither lookaround nor backreferences",
            )


@COMPANIONS.rule(f"{_CORE}, ValidateSecret")
def secret(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "Secret":
        return
    document = companion.resource.document
    data, plain = mapping(document.get("data")), mapping(document.get("stringData"))
    for field, entries in (("data", data), ("stringData", plain)):
        for key in entries:
            if why := data_key_problem(str(key)):
                yield Violation((field, key), f"the key {key!r} is not valid: {why}")
    required = _REQUIRED.get(text(document.get("type")), ())
    missing = [key for key in required if key not in data and key not in plain]
    if missing:
        yield Violation(("type",), f"a Secret of type {document['type']} must have {' and '.join(missing)}")


_REQUIRED = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


_S3 = "pkg/credentials/s3/s3_secret.go, pkg/credentials/s3/utils.go"
S3_ANNOTATIONS = (
    "s3-endpoint",
    "s3-region",
    "s3-verifyssl",
    "s3-usehttps",
    "s3-usevirtualbucket",
    "s3-useaccelerate",
    "s3-useanoncredential",
    "s3-cabundle-configmap",
    "s3-cabundle",
)
_GROUP = "serving.kserve.io"
_FORMER_GROUP = "serving.kubeflow.org"
_ANONYMOUS = f"{_GROUP}/s3-useanoncredential"


@COMPANIONS.rule(f"{_S3}: annotations")
def s3_annotations(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind not in ("Secret", "ServiceAccount"):
        return
    annotations = mapping(companion.metadata.get("annotations"))
    known = [f"{_GROUP}/{name}" for name in S3_ANNOTATIONS]
    for key, value in annotations.items():
        at = ("metadata", "annotations", key)
        group, _, name = str(key).rpartition("/")
        meant = group in ("", _GROUP, _FORMER_GROUP) or difflib.get_close_matches(group, [_GROUP], cutoff=0.8)
        if key not in known and meant and (name.startswith("s3-") or (group == _GROUP and "s3" in name)):
            close = difflib.get_close_matches(f"{_GROUP}/{name}", known, 1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"it reads {', '.join(known)}"
            yield Violation(at, f"KServe does not read the annotation {key}; {hint}")
        elif key == f"{_GROUP}/s3-usehttps" and isinstance(value, str) and value.lower() in ("", "false", "no", "off"):
            yield Violation(
                at, f'{key} is {value!r}: only the string "0" makes the initializer use HTTP, anything else HTTPS'
            )


@COMPANIONS.rule(f"{_S3}: the endpoint is put behind https:// or http://", versions="<0.17")
def s3_endpoint(companion: Companion) -> Iterator[Violation]:
    key = f"{_GROUP}/s3-endpoint"
    value = mapping(companion.metadata.get("annotations")).get(key)
    if companion.resource.kind in ("Secret", "ServiceAccount") and isinstance(value, str) and "://" in value:
        yield Violation(
            ("metadata", "annotations", key),
            f"{key} {value!r} has a scheme, and KServe puts another before it: write {value.partition('://')[2]} and s3-usehttps",
        )


@COMPANIONS.rule(
    "pkg/credentials/service_account_credentials.go, mountSecretCredential; pkg/credentials/s3/s3_secret.go, BuildSecretEnvs"
)
def s3_keys(companion: Companion) -> Iterator[Violation]:
    """Of a Secret that is KServe's by its annotations; one that a service uses is judged with the service (rules/credentials.py)."""
    if companion.resource.kind != "Secret":
        return
    document = companion.resource.document
    keys = [*mapping(document.get("data")), *mapping(document.get("stringData"))]
    annotations = mapping(companion.metadata.get("annotations"))
    annotated = any(str(key).startswith(f"{_GROUP}/s3-") for key in annotations)
    if keys and annotated and _ANONYMOUS not in annotations and not any(set(names) <= set(keys) for names in S3_KEYS):
        yield Violation(
            ("stringData",) if "stringData" in document else ("data",),
            f"the Secret lacks {' or '.join(RELEASED)}, from which KServe reads S3 credentials; it has "
            f"{', '.join(map(str, keys))}",
        )


@COMPANIONS.rule(f"{_CORE}, ValidateConfigMap")
def config_map(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "ConfigMap":
        return
    data, binary = (
        mapping(companion.resource.document.get("data")),
        mapping(companion.resource.document.get("binaryData")),
    )
    for field, entries in (("data", data), ("binaryData", binary)):
        for key in entries:
            if why := data_key_problem(str(key)):
                yield Violation((field, key), f"the key {key!r} is not valid: {why}")
    for key in data:
        if key in binary:
            yield Violation(("data", key), f"the key {key} stands under data and binaryData")


@COMPANIONS.rule(f"{_CORE}, ValidatePersistentVolumeClaimSpec")
def claim(companion: Companion) -> Iterator[Violation]:
    if companion.resource.kind != "PersistentVolumeClaim":
        return
    yield from claim_problems(("spec",), companion.spec)
