"""Detecting: reads what a live platform consists of, each fact with where it was read. Changes nothing on it.

What cannot be read stays unknown, with the reason. ``trivet.engine.detected_stack`` makes a stack of the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import requests

from trivet.errors import PlatformError
from trivet.host.kubectl import Kubectl
from trivet.integration import TrackingApi
from trivet.model.detection import ABSENT, Fact
from trivet.model.redaction import redact
from trivet.targets.cluster.platform_reader import (
    CONTAINER,
    KSERVE_GROUP,
    STORAGE_CONTAINERS,
    ServingRuntimeFound,
    api_groups,
    autoscaling_facts,
    cluster_runtimes,
    config_facts,
    image_name,
    ingress_facts,
    knative_version,
    kserve_version,
    kubernetes_version,
    pinned_packages,
    read_fact,
    reason_of,
    same_image,
    selected_runtime,
    version_in,
)
from trivet.targets.common.stated_versions import tracking_version

MODEL_FORMAT = "mlflow"
MLFLOW, KFP_SERVICE = "mlflow", "ml-pipeline"
"""What the name of MLflow's Service contains, and the name of the Service of KFP's API server (kubeflow/pipelines manifests)."""
HEALTHZ = "/apis/v2beta1/healthz"
"""Of KFP's API server; its ``tag_name`` is the release (kubeflow/pipelines 2.17.0 backend/src/apiserver/main.go, newHealthzResponse)."""
PIPELINE_LABELS = ("pipelines.kubeflow.org/v2_component", "pipeline/runid")
"""Labels of the pods of pipelines (kubeflow/pipelines 2.17.0 backend/src/v2/compiler/argocompiler/argo.go)."""
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
ANSWER = 15.0
"""Seconds for the answer of a server."""

LIST_PACKAGES = (
    "import importlib.metadata as m, json, platform; print(json.dumps({'python': platform.python_version(), "
    "'packages': {d.metadata['Name']: d.version for d in m.distributions() if d.metadata['Name']}}))"
)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where to read. Empty ``namespaces`` mean all; without the URLs, servers are looked for and asked through the API server.

    With ``exec_in_runtime`` the packages of a runtime are listed by a command in a running pod of it.
    """

    namespaces: tuple[str, ...] = ()
    mlflow: str = ""
    kfp: str = ""
    exec_in_runtime: bool = False


@dataclass(frozen=True, kw_only=True)
class Packages:
    """The Python version and the packages (name → version) of a container, and its pod."""

    python: str
    packages: Mapping[str, str]
    pod: str


@dataclass(frozen=True, kw_only=True)
class LivePlatform:
    """What was read of the platform of ``context``.

    ``facts`` are by name, in the order of reading. ``runtime`` is the serving runtime that KServe selects for MLflow models,
    ``runtime_packages`` what is in it, and ``pipeline_packages`` what the pods of pipelines install. ``definitions`` are KServe's
    CustomResourceDefinitions and ``openapi`` the schemas of Kubernetes' group ``v1``. What is unknown is None or empty.
    """

    context: str
    facts: Mapping[str, Fact]
    runtime: ServingRuntimeFound | None = None
    runtime_packages: Packages | None = None
    storage_containers: Sequence[Mapping[str, Any]] = ()
    pipeline_packages: Mapping[str, str] = field(default_factory=dict)
    definitions: Sequence[Mapping[str, Any]] = ()
    openapi: Mapping[str, Any] | None = None

    def value(self, name: str) -> str:
        """The value of a fact; empty when it is unknown, or the platform has no such component."""
        found = self.facts.get(name)
        return found.value if found and found.value != ABSENT else ""

    def reason(self, name: str) -> str:
        """Why a fact is unknown."""
        found = self.facts.get(name)
        return found.reason if found else "it was not read"


def detect(kubectl: Kubectl, sources: Sources) -> LivePlatform:
    """Read the platform on the cluster of ``kubectl``.

    Raises PlatformError when the cluster cannot be reached, or has no KServe.
    """
    facts: dict[str, Fact] = {}

    def add(*found: Fact) -> None:
        for fact in found:
            facts[fact.name] = replace(
                fact, value=redact(fact.value), source=redact(fact.source), reason=redact(fact.reason)
            )

    add(kubernetes_version(kubectl))
    groups = api_groups(kubectl)
    kserve = kserve_version(kubectl, groups)
    if kserve.value == ABSENT:
        raise PlatformError(
            f"the cluster of context {kubectl.context} has no KServe: {kserve.source}",
            remedy="use the context of a cluster that KServe is installed on",
        )
    add(kserve, knative_version(kubectl, groups), *config_facts(kubectl))
    add(*autoscaling_facts(kubectl, groups), *ingress_facts(kubectl, groups))
    runtime, of_runtimes = _runtimes(kubectl)
    add(*of_runtimes)
    containers, initializer = _storage_containers(kubectl)
    add(initializer)
    add(_mlflow(kubectl, sources), _kfp_server(kubectl, sources))
    pipeline_packages, sdk = _pipeline_packages(kubectl, sources)
    add(sdk)
    packages, of_packages = _runtime_packages(kubectl, sources, runtime)
    add(of_packages)
    definitions, openapi, of_schemas = _schemas(kubectl)
    add(of_schemas)
    return LivePlatform(
        context=kubectl.context,
        facts=facts,
        runtime=runtime,
        runtime_packages=packages,
        storage_containers=containers,
        pipeline_packages=pipeline_packages,
        definitions=definitions,
        openapi=openapi,
    )


# -- runtimes -----------------------------------------------------------------------------------------------------------


def _runtimes(kubectl: Kubectl) -> tuple[ServingRuntimeFound | None, list[Fact]]:
    """The runtime that KServe selects for MLflow models, and the facts of all runtimes."""
    try:
        found = cluster_runtimes(kubectl)
    except PlatformError as error:
        reason = reason_of(error)
        return None, [Fact(name="serving runtime", reason=reason), Fact(name="runtime", reason=reason)]
    facts = [
        Fact(name=f"ClusterServingRuntime {one.name}", value=one.image, source="spec.containers, image")
        for one in found
        if one.image
    ]
    selected = selected_runtime(found, MODEL_FORMAT)
    if isinstance(selected, str):
        return None, [*facts, Fact(name="serving runtime", reason=selected), Fact(name="runtime", reason=selected)]
    place = f"ClusterServingRuntime {selected.name}"
    chosen = Fact(
        name="serving runtime", value=selected.name, source=f"{place}, supportedModelFormats: selects itself for mlflow"
    )
    return selected, [*facts, chosen, _runtime_version(selected, f"{place}, image {selected.image}")]


def _runtime_version(runtime: ServingRuntimeFound, source: str) -> Fact:
    if not image_name(runtime.image).endswith("mlserver"):
        return Fact(name="runtime", reason=f"{source} is not one of MLServer's by its name")
    if version := version_in(runtime.image):
        return Fact(name="runtime", value=version, source=source)
    return Fact(name="runtime", reason=f"{source} has no version as its tag")


def _runtime_packages(
    kubectl: Kubectl, sources: Sources, runtime: ServingRuntimeFound | None
) -> tuple[Packages | None, Fact]:
    name = "packages of the runtime"
    if not sources.exec_in_runtime:
        return None, Fact(name=name, reason="they are read from a running pod with --exec-in-runtime only")
    if runtime is None:
        return None, Fact(name=name, reason="the runtime is unknown")
    try:
        pods = _listed(kubectl, "pods", sources.namespaces, SERVICE_LABEL)
        pod = next((one for one in pods if _serves(one, runtime.image)), None)
        if pod is None:
            where = ", ".join(sources.namespaces) or "any namespace"
            return None, Fact(name=name, reason=f"no running pod of an InferenceService in {where} has {runtime.image}")
        metadata = pod["metadata"]
        output = kubectl.exec(
            metadata["name"],
            ["python", "-c", LIST_PACKAGES],
            namespace=metadata["namespace"],
            container=CONTAINER,
            seconds=ANSWER * 2,
        )
        content = json.loads(output)
    except PlatformError as error:
        return None, Fact(name=name, reason=reason_of(error))
    except ValueError as error:
        return None, Fact(name=name, reason=f"the list of packages of pod {metadata['name']} is not JSON: {error}")
    place = f"{metadata['namespace']}/{metadata['name']}"
    found = Packages(python=content["python"], packages=content["packages"], pod=place)
    value = f"{len(found.packages)} distributions, Python {found.python}"
    return found, Fact(name=name, value=value, source=f"pod {place}, container {CONTAINER}: importlib.metadata")


def _serves(pod: Mapping[str, Any], image: str) -> bool:
    """Whether a pod runs ``image``. Knative replaces a tag by its digest, which then stands for every tag of the name."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    if not any(one.get("name") == CONTAINER and one.get("ready") for one in statuses):
        return False
    running = next((one["image"] for one in pod["spec"]["containers"] if one["name"] == CONTAINER), "")
    return same_image(running, image) or ("@" in running and image_name(running) == image_name(image))


def _storage_containers(kubectl: Kubectl) -> tuple[list[dict[str, Any]], Fact]:
    """The ClusterStorageContainers that fetch models into pods, and the image of the one called ``default``."""
    name = "storage initializer"
    try:
        listed = kubectl.objects(STORAGE_CONTAINERS)
    except PlatformError as error:
        return [], Fact(name=name, reason=reason_of(error))
    found = [
        one
        for one in listed
        if not one.get("disabled") and one["spec"].get("workloadType", "initContainer") == "initContainer"
    ]
    default = next((one for one in found if one["metadata"]["name"] == "default"), None)
    if default is None:
        return found, Fact(name=name, reason="there is no ClusterStorageContainer default")
    image = str(default["spec"]["container"].get("image") or "")
    return found, Fact(name=name, value=image, source="ClusterStorageContainer default, spec.container.image")


# -- servers ------------------------------------------------------------------------------------------------------------


def _mlflow(kubectl: Kubectl, sources: Sources) -> Fact:
    if sources.mlflow:
        return tracking_version(TrackingApi(sources.mlflow, retries=2))
    return _asked(
        kubectl,
        sources,
        "mlflow",
        lambda service: MLFLOW in service["metadata"]["name"],
        "/version",
        lambda body: version_in(f":{body.strip()}") if len(body) < 100 else "",
        f"Service with {MLFLOW} in its name",
        "--mlflow URL",
    )


def _kfp_server(kubectl: Kubectl, sources: Sources) -> Fact:
    name = "KFP API server"

    def tag(body: str) -> str:
        try:
            return version_in(f":{json.loads(body).get('tag_name', '')}")
        except (ValueError, AttributeError):
            return ""

    if sources.kfp:
        url = f"{sources.kfp.rstrip('/')}{HEALTHZ}"
        return read_fact(name, lambda: _stated(name, tag(_get(url)), f"GET {url}, tag_name"))
    return _asked(
        kubectl,
        sources,
        name,
        lambda service: service["metadata"]["name"] == KFP_SERVICE,
        HEALTHZ,
        tag,
        f"Service {KFP_SERVICE}",
        "--kfp URL",
    )


def _asked(
    kubectl: Kubectl,
    sources: Sources,
    name: str,
    chosen: Callable[[Mapping[str, Any]], bool],
    path: str,
    version: Callable[[str], str],
    what: str,
    option: str,
) -> Fact:
    """The version that a server behind a Service states at ``path``, asked through the API server."""
    where = f"namespace {', '.join(sources.namespaces)}" if sources.namespaces else "any namespace"
    try:
        services = [one for one in _listed(kubectl, "services", sources.namespaces) if chosen(one)]
    except PlatformError as error:
        return Fact(name=name, reason=f"{reason_of(error)}; {option} names it, -n a namespace to look in")
    if not services:
        return Fact(name=name, reason=f"there is no {what} in {where}; {option} names it")
    stated: dict[str, str] = {}
    problems = []
    for service in services:
        metadata = service["metadata"]
        for port in service["spec"].get("ports") or ():
            proxied = f"/api/v1/namespaces/{metadata['namespace']}/services/http:{metadata['name']}:{port['port']}/proxy{path}"
            place = f"Service {metadata['namespace']}/{metadata['name']}, port {port['port']}"
            try:
                body = kubectl.raw(proxied, seconds=ANSWER)
            except PlatformError as error:
                problems.append(f"{place}: {reason_of(error)}")
                continue
            if found := version(body):
                stated.setdefault(found, f"GET {path} of {place}")
            else:
                problems.append(f"{place}: GET {path} states no version: {body[:100]!r}")
    if len(stated) == 1:
        ((value, source),) = stated.items()
        return Fact(name=name, value=value, source=source)
    if stated:
        found_all = "; ".join(f"{value} ({source})" for value, source in stated.items())
        return Fact(name=name, reason=f"several servers run: {found_all}; {option} or -n chooses one")
    return Fact(name=name, reason=f"{'; '.join(problems[:3])}; {option} names it")


def _get(url: str) -> str:
    try:
        response = requests.get(url, timeout=ANSWER)
    except requests.RequestException as error:
        raise PlatformError(f"GET {url}: {error}") from error
    if not response.ok:
        raise PlatformError(f"GET {url}: HTTP {response.status_code}: {response.text[:200]}")
    return response.text


def _stated(name: str, value: str, source: str) -> Fact:
    return (
        Fact(name=name, value=value, source=source) if value else Fact(name=name, reason=f"{source}: states no version")
    )


# -- pipelines ----------------------------------------------------------------------------------------------------------


def _pipeline_packages(kubectl: Kubectl, sources: Sources) -> tuple[Mapping[str, str], Fact]:
    """The packages that the pods of pipelines install in one version only, and the KFP SDK among them."""
    where = ", ".join(sources.namespaces) or "any namespace"
    try:
        listed = _listed(kubectl, "pods", sources.namespaces)
    except PlatformError as error:
        return {}, Fact(name="kfp", reason=f"{reason_of(error)}; -n names the namespaces of pipelines")
    pods = [one for one in listed if {*PIPELINE_LABELS} & {*(one["metadata"].get("labels") or {})}]
    if not pods:
        return {}, Fact(name="kfp", reason=f"there is no pod of a pipeline in {where} that would show the SDK")
    versions: dict[str, dict[str, str]] = {}
    for pod in pods:
        for name, version in pinned_packages(pod).items():
            place = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            versions.setdefault(name, {}).setdefault(version, place)
    single = {name: next(iter(found)) for name, found in versions.items() if len(found) == 1}
    found = versions.get("kfp", {})
    if "kfp" in single:
        place = found[single["kfp"]]
        return single, Fact(name="kfp", value=single["kfp"], source=f"pod {place}: pip install in its command")
    if found:
        several = "; ".join(f"{version} in pod {place}" for version, place in found.items())
        return single, Fact(name="kfp", reason=f"pipelines use several versions: {several}")
    return single, Fact(
        name="kfp", reason=f"none of the {len(pods)} pods of pipelines in {where} installs kfp by its version"
    )


def _listed(kubectl: Kubectl, kind: str, namespaces: Collection[str], selector: str = "") -> list[dict[str, Any]]:
    return [
        one
        for namespace in namespaces or ("",)
        for one in kubectl.objects(kind, namespace=namespace, selector=selector)
    ]


# -- schemas ------------------------------------------------------------------------------------------------------------


def _schemas(kubectl: Kubectl) -> tuple[list[dict[str, Any]], Mapping[str, Any] | None, Fact]:
    """KServe's CustomResourceDefinitions, and the OpenAPI of Kubernetes' group ``v1``, which every account may read."""
    name = "API schemas"
    try:
        group = json.loads(kubectl.raw(f"/apis/{KSERVE_GROUP}"))
        plurals = {
            resource["name"]
            for version in group["versions"]
            for resource in json.loads(kubectl.raw(f"/apis/{version['groupVersion']}"))["resources"]
            if "/" not in resource["name"]
        }
        names = [f"{plural}.{KSERVE_GROUP}" for plural in sorted(plurals)]
        output = json.loads(kubectl.run("get", "customresourcedefinitions", *names, "-o", "json"))
        definitions = list(output.get("items", (output,)))
        openapi: Mapping[str, Any] = json.loads(kubectl.raw("/openapi/v3/api/v1"))
    except PlatformError as error:
        return [], None, Fact(name=name, reason=reason_of(error))
    value = f"{len(definitions)} kinds of {KSERVE_GROUP}"
    return (
        definitions,
        openapi,
        Fact(name=name, value=value, source="CustomResourceDefinitions, and GET /openapi/v3/api/v1"),
    )
