"""Reads what a platform on a cluster consists of: versions, configuration and serving runtimes, each with where it was read.

Changes nothing. What the account may not read, or what states no version, is an unknown fact with the reason. Only a cluster that cannot
be reached raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from packaging.version import InvalidVersion, Version

from trivet.errors import PlatformError
from trivet.host.kubectl import Kubectl, KubectlError
from trivet.model.detection import ABSENT, Fact

KSERVE_NAMESPACE = "kserve"
"""The namespace of KServe's release; other distributions have another, which is then looked for."""
CONTROLLER = "kserve-controller-manager"
CONFIG = "inferenceservice-config"
KNATIVE_NAMESPACE = "knative-serving"
KNATIVE_CONFIGS = ("config-features", "config-defaults", "config-autoscaler")
"""ConfigMaps of Knative Serving that decide what its webhook admits."""
CLUSTER_RUNTIMES = "clusterservingruntimes.serving.kserve.io"
RUNTIMES = (CLUSTER_RUNTIMES, "servingruntimes.serving.kserve.io")
STORAGE_CONTAINERS = "clusterstoragecontainers.serving.kserve.io"
CONTAINER = "kserve-container"
"""The container of a runtime, or of a predictor's pod, that serves the model."""

KSERVE_GROUP, KNATIVE_GROUP, KEDA_GROUP = "serving.kserve.io", "serving.knative.dev", "keda.sh"

VERSION_LABEL = "app.kubernetes.io/version"

_TAG = re.compile(r":v?(?P<version>\d+(\.\d+)+([-.]?(rc|a|b|alpha|beta)\.?\d+)?)[^/@:]*(@sha256:[0-9a-f]+)?$")
_FORBIDDEN = re.compile(r"\): ([^\n]+ is forbidden: [^\n]+)")
_PINNED = re.compile(r"(?<![\w.-])([A-Za-z][\w.-]*)(?:\[[\w,. -]*\])?==(\d(?:[\w.+!]*\w)?)(?![\w.*])")

INGRESSES: Mapping[str, str] = {
    "istio/pilot": "Istio",
    "projectcontour/contour": "Contour",
    "net-kourier/cmd/kourier": "Kourier",
    "envoyproxy/gateway": "Envoy Gateway",
    "ingress-nginx/controller": "NGINX",
    "traefik": "Traefik",
}
"""The end of an image's name → the ingress whose controller it is."""


# -- versions -----------------------------------------------------------------------------------------------------------


def kubernetes_version(kubectl: Kubectl) -> Fact:
    """The API server's version, which every account may read. Raises PlatformError when the cluster cannot be reached."""
    stated = str(json.loads(kubectl.raw("/version"))["gitVersion"])
    return _stated("kubernetes", version_in(f":{stated}"), "GET /version of the API server, gitVersion", stated)


def api_groups(kubectl: Kubectl) -> frozenset[str]:
    """The names of the API groups that the cluster serves, which every account may read."""
    return frozenset(group["name"] for group in json.loads(kubectl.raw("/apis"))["groups"])


def kserve_version(kubectl: Kubectl, groups: Collection[str]) -> Fact:
    """The version of KServe's controller. Two controllers of different versions leave it unknown: either may reconcile a service."""
    if KSERVE_GROUP not in groups:
        return _absent("kserve", KSERVE_GROUP)

    def look() -> Fact:
        stated = [(one, *_workload_version(one, "manager")) for one in controllers(kubectl)]
        if not stated:
            return Fact(name="kserve", reason=f"no Deployment {CONTROLLER} was found; {_SERVED.format(KSERVE_GROUP)}")
        versions = {version for _, version, _ in stated if version}
        places = [source for _, _, source in stated]
        if len(stated) > 1 and len(versions) != 1:
            found = "; ".join(f"{version or 'unknown'} ({source})" for _, version, source in stated)
            return Fact(
                name="kserve",
                reason=f"{len(stated)} controllers run, and each may reconcile an InferenceService: {found}",
            )
        return _stated("kserve", "".join(versions), " and ".join(places))

    return read_fact("kserve", look)


def controllers(kubectl: Kubectl) -> list[dict[str, Any]]:
    """KServe's controllers: the Deployments of that name in all namespaces, or in ``kserve`` where the account may not list all."""
    return _named(kubectl, "deployment", CONTROLLER, KSERVE_NAMESPACE)


def knative_version(kubectl: Kubectl, groups: Collection[str]) -> Fact:
    """The version of Knative Serving's controller."""
    if KNATIVE_GROUP not in groups:
        return _absent("knative", KNATIVE_GROUP)

    def look() -> Fact:
        found = kubectl.get("deployment", "controller", namespace=KNATIVE_NAMESPACE)
        if found is None:
            return Fact(name="knative", reason=f"namespace {KNATIVE_NAMESPACE} has no Deployment controller")
        return _stated("knative", *_workload_version(found, "controller"))

    return read_fact("knative", look)


def version_in(image: str) -> str:
    """The version in the tag of an image, normalised (``v0.15.0-rc1`` is 0.15.0rc1); empty for a digest or a tag such as ``latest``."""
    found = _TAG.search(image)
    if found is None:
        return ""
    try:
        return str(Version(found["version"]))
    except InvalidVersion:
        return ""


# -- configuration ------------------------------------------------------------------------------------------------------


def kserve_config(kubectl: Kubectl, namespace: str = KSERVE_NAMESPACE) -> dict[str, Any]:
    """KServe's ConfigMap ``inferenceservice-config``, of ``namespace`` or else of another one.

    Raises PlatformError when kubectl fails, or no namespace has it.
    """
    found = kubectl.get("configmap", CONFIG, namespace=namespace)
    if found is None:
        named = f"--field-selector=metadata.name={CONFIG}"
        listed = json.loads(kubectl.run("get", "configmap", "--all-namespaces", named, "-o", "json"))["items"]
        found = next((one for one in listed if one["metadata"]["name"] == CONFIG), None)
    if found is None:
        raise PlatformError(
            f"the cluster of context {kubectl.context} has no ConfigMap {CONFIG}, in no namespace",
            remedy="use the context of a cluster that KServe is installed on, or describe the platform in [tool.trivet.lint]",
        )
    return found


def config_value(config: Mapping[str, Any], section: str, key: str) -> Any:
    """One value of a section of KServe's configuration, which is JSON in a text; None if it is not there.

    Raises PlatformError for a section that is no JSON object.
    """
    data = config.get("data")
    try:
        return json.loads((data if isinstance(data, Mapping) else {}).get(section) or "{}").get(key)
    except (ValueError, AttributeError, TypeError) as error:
        raise PlatformError(
            f"ConfigMap {CONFIG} of the cluster has no JSON object in {section!r}: {error}",
            remedy="correct the ConfigMap: KServe cannot read it either",
        ) from error


def config_facts(kubectl: Kubectl, namespace: str = KSERVE_NAMESPACE) -> Iterator[Fact]:
    """Deployment mode and domain from KServe's ConfigMap (kserve 0.14.1 pkg/apis/serving/v1beta1/configmap.go)."""
    keys = {"deployment mode": ("deploy", "defaultDeploymentMode"), "ingress domain": ("ingress", "ingressDomain")}
    try:
        config = kserve_config(kubectl, namespace)
    except PlatformError as error:
        yield from (Fact(name=name, reason=reason_of(error)) for name in keys)
        return
    for name, (section, key) in keys.items():
        place = f"{_place(config)}, {section}.{key}"

        def look(name: str = name, section: str = section, key: str = key, place: str = place) -> Fact:
            value = config_value(config, section, key)
            return _stated(name, value if isinstance(value, str) else "", place)

        yield read_fact(name, look)


def knative_config(kubectl: Kubectl, name: str) -> Mapping[str, str] | None:
    """The data of a ConfigMap of Knative Serving; None when it does not exist. Raises PlatformError when it cannot be read."""
    found = kubectl.get("configmap", name, namespace=KNATIVE_NAMESPACE)
    return None if found is None else (found.get("data") or {})


def scales_to_zero(autoscaler: Mapping[str, str]) -> bool:
    """Whether Knative's ``config-autoscaler`` lets a service scale to zero, as it does by default."""
    return autoscaler.get("enable-scale-to-zero", "true").lower() == "true"


def autoscaling_facts(kubectl: Kubectl, groups: Collection[str]) -> Iterator[Fact]:
    """The autoscalers that are there: Knative's with its configuration, its HPA extension, and KEDA."""
    if KNATIVE_GROUP in groups:
        place = f"ConfigMap {KNATIVE_NAMESPACE}/config-autoscaler"

        def configured() -> Fact:
            data = knative_config(kubectl, "config-autoscaler")
            if data is None:
                return Fact(name="autoscaler", reason=f"there is no {place}")
            default = data.get("pod-autoscaler-class", "kpa.autoscaling.knative.dev")
            zero = "scales to zero" if scales_to_zero(data) else "does not scale to zero"
            return _stated("autoscaler", f"{default}, {zero}", f"{place}, pod-autoscaler-class, enable-scale-to-zero")

        def extension() -> Fact:
            found = kubectl.get("deployment", "autoscaler-hpa", namespace=KNATIVE_NAMESPACE)
            place = f"Deployment {KNATIVE_NAMESPACE}/autoscaler-hpa"
            if found is None:
                return Fact(name="Knative HPA extension", value=ABSENT, source=f"there is no {place}")
            ready = (found.get("status") or {}).get("availableReplicas", 0)
            return _stated("Knative HPA extension", f"{ready} available", f"{place}, status.availableReplicas")

        yield read_fact("autoscaler", configured)
        yield read_fact("Knative HPA extension", extension)
    value, source = (
        ("installed", _SERVED.format(KEDA_GROUP)) if KEDA_GROUP in groups else (ABSENT, _NOT_SERVED.format(KEDA_GROUP))
    )
    yield Fact(name="KEDA", value=value, source=source)


def ingress_facts(kubectl: Kubectl, groups: Collection[str]) -> Iterator[Fact]:
    """The class of Knative's ingress, the classes of gateways, and the versions of the ingress controllers whose images are known."""
    if KNATIVE_GROUP in groups:
        place = f"ConfigMap {KNATIVE_NAMESPACE}/config-network"

        def configured() -> Fact:
            data = knative_config(kubectl, "config-network")
            if data is None:
                return Fact(name="Knative ingress class", reason=f"there is no {place}")
            value = data.get("ingress-class") or data.get("ingress.class") or "istio.ingress.networking.knative.dev"
            return _stated("Knative ingress class", value, f"{place}, ingress-class")

        yield read_fact("Knative ingress class", configured)
    if "gateway.networking.k8s.io" in groups:

        def gateways() -> Fact:
            found = kubectl.objects("gatewayclasses.gateway.networking.k8s.io")
            names = sorted({str(one["spec"]["controllerName"]) for one in found})
            place = f"GatewayClass {', '.join(one['metadata']['name'] for one in found)}, spec.controllerName"
            return Fact(
                name="gateway controller", value=", ".join(names) or ABSENT, source=place if found else _NO_CLASS
            )

        yield read_fact("gateway controller", gateways)

    def controllers_found() -> Fact:
        found: dict[str, str] = {}
        for one in kubectl.objects("deployments.apps"):
            for container in _containers(one):
                name = image_name(container.get("image", ""))
                if known := next((title for end, title in INGRESSES.items() if f"/{name}".endswith(f"/{end}")), ""):
                    version, place = _workload_version(one, container["name"])
                    found.setdefault(f"{known} {version or '(version unknown)'}", place)
        if not found:
            return Fact(name="ingress", reason=f"no Deployment has an image of {', '.join(INGRESSES.values())}")
        return Fact(name="ingress", value=", ".join(found), source="; ".join(found.values()))

    yield read_fact("ingress", controllers_found)


_SERVED = "the API server serves the group {}"
_NOT_SERVED = "GET /apis of the API server: no group {}"
_NO_CLASS = "there is no GatewayClass"


# -- serving runtimes ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ServingRuntimeFound:
    """A ClusterServingRuntime as it is on the cluster, and the model formats that it declares."""

    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """``metadata.name``."""
        return str(self.document["metadata"]["name"])

    @property
    def container(self) -> Mapping[str, Any]:
        """The container that serves the model; empty when the runtime has none."""
        containers = self.document["spec"].get("containers") or ()
        return next((one for one in containers if one.get("name") == CONTAINER), next(iter(containers), {}))

    @property
    def image(self) -> str:
        """The image of that container."""
        return str(self.container.get("image") or "")

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of that container that have a plain value: no template of KServe's, and no reference."""
        variables = ((one["name"], one.get("value")) for one in self.container.get("env") or ())
        return {name: value for name, value in variables if isinstance(value, str) and "{{" not in value}

    def formats(self, name: str) -> Sequence[Mapping[str, Any]]:
        """The entries of ``supportedModelFormats`` with this name; none if the runtime is disabled."""
        if self.document["spec"].get("disabled"):
            return ()
        return [one for one in self.document["spec"].get("supportedModelFormats") or () if one.get("name") == name]


def cluster_runtimes(kubectl: Kubectl) -> list[ServingRuntimeFound]:
    """The ClusterServingRuntimes. Raises PlatformError when the account may not list them."""
    return [ServingRuntimeFound(document=one) for one in kubectl.objects(CLUSTER_RUNTIMES)]


def selected_runtime(runtimes: Iterable[ServingRuntimeFound], model_format: str) -> ServingRuntimeFound | str:
    """The runtime that KServe selects for ``model_format`` by itself, or why that is not known.

    Of several with ``autoSelect`` the one with the highest priority (kserve 0.14.1 pkg/apis/serving/v1beta1/predictor_model.go,
    sortSupportedRuntimeByPriority).
    """
    ranked = sorted(
        (
            (max(int(one.get("priority") or 0) for one in automatic), runtime)
            for runtime in runtimes
            if (automatic := [one for one in runtime.formats(model_format) if one.get("autoSelect")])
        ),
        key=lambda pair: -pair[0],
    )
    if not ranked:
        return f"no ClusterServingRuntime selects itself for the model format {model_format}"
    best = [runtime for priority, runtime in ranked if priority == ranked[0][0]]
    if len(best) > 1:
        return f"{' and '.join(one.name for one in best)} select themselves for {model_format} with the same priority"
    return best[0]


def image_name(image: str) -> str:
    """An image's name without registry host, tag and digest: ``seldonio/mlserver``."""
    name = re.sub(r"(:[^/:@]*)?(@.*)?$", "", image)
    host, _, rest = name.partition("/")
    return rest if rest and (re.search(r"[.:]", host) or host == "localhost") else name


def same_image(one: str, other: str) -> bool:
    """Whether two references name one image: ``seldonio/mlserver:1.5.0`` is ``docker.io/seldonio/mlserver:1.5.0``."""
    return _full_reference(one) == _full_reference(other)


def _full_reference(image: str) -> str:
    host, _, rest = image.partition("/")
    if not rest:
        return f"docker.io/library/{image}"
    return image if re.search(r"[.:]", host) or host == "localhost" else f"docker.io/{image}"


# -- pods ---------------------------------------------------------------------------------------------------------------


def pinned_packages(pod: Mapping[str, Any]) -> Mapping[str, str]:
    """Distribution → version of the packages that the commands of a pod install with pip, as KFP's components do."""
    texts = [
        text
        for container in (*(pod["spec"].get("initContainers") or ()), *(pod["spec"].get("containers") or ()))
        for text in (*(container.get("command") or ()), *(container.get("args") or ()))
        if isinstance(text, str) and "pip install" in text
    ]
    return {name.lower().replace("_", "-"): version for text in texts for name, version in _PINNED.findall(text)}


# -- facts --------------------------------------------------------------------------------------------------------------


def read_fact(name: str, look: Callable[[], Fact]) -> Fact:
    """What ``look`` returns; an unknown fact with the reason when it raises PlatformError."""
    try:
        return replace(look(), name=name)
    except PlatformError as error:
        return Fact(name=name, reason=reason_of(error))


def reason_of(error: PlatformError) -> str:
    """Why something could not be read, in one line: without kubectl's command line where the API server refused it."""
    found = _FORBIDDEN.search(error.message)
    return " ".join((found[1] if found else error.message).split())


def _stated(name: str, value: str, source: str, stated: str = "") -> Fact:
    if value:
        return Fact(name=name, value=value, source=source)
    return Fact(name=name, reason=f"{source} states no value that can be read{f': {stated}' if stated else ''}")


def _absent(name: str, group: str) -> Fact:
    return Fact(name=name, value=ABSENT, source=_NOT_SERVED.format(group))


def _workload_version(workload: Mapping[str, Any], container: str) -> tuple[str, str]:
    """The version of a Deployment, by the image of ``container`` or else by its label, and where it stands."""
    place = _place(workload)
    containers = _containers(workload)
    one = next((one for one in containers if one.get("name") == container), containers[0] if containers else {})
    image = str(one.get("image", ""))
    if version := version_in(image):
        return version, f"{place}, image {image}"
    label = str((workload["metadata"].get("labels") or {}).get(VERSION_LABEL, ""))
    if version := version_in(f":{label}"):
        return version, f"{place}, label {VERSION_LABEL}"
    return "", f"{place}, image {image}"


def _containers(workload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return workload["spec"]["template"]["spec"].get("containers") or ()


def _place(document: Mapping[str, Any]) -> str:
    metadata = document["metadata"]
    return f"{document['kind']} {'/'.join(filter(None, (metadata.get('namespace'), metadata['name'])))}"


def _named(kubectl: Kubectl, kind: str, name: str, usual: str) -> list[dict[str, Any]]:
    """The objects of a name in all namespaces, or in the ``usual`` one where the account may not list all."""
    try:
        listed = kubectl.run("get", kind, "--all-namespaces", f"--field-selector=metadata.name={name}", "-o", "json")
        return list(json.loads(listed)["items"])
    except KubectlError as error:
        if error.reason != "Forbidden":
            raise
    found = kubectl.get(kind, name, namespace=usual)
    return [found] if found else []
