"""The objects that KServe's controller makes of an InferenceService, for dry runs of what Knative and Kubernetes say of them.

Written after kserve 0.12.1, 0.13.1, 0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice: components/predictor.go and transformer.go,
utils/utils.go (MergeRuntimeContainers), and reconcilers: knative/ksvc_reconciler.go (createKnativeService), hpa/hpa_reconciler.go
(createHPA), deployment/deployment_reconciler.go (createRawDeployment) and service/service_reconciler.go (createService). Workers and
canaries are written after 0.20.0 components/predictor.go (multiNodeProcess, reconcileCanaryDeployments). 0.12.1 sets no
responseStartTimeoutSeconds, at which Knative's webhook does not look. Only a sample of services that are really created shows that this is
what the controller does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from packaging.version import Version

from trivet.contracts.quantities import DEVICES
from trivet.contracts.rules.rule import EXPLAINERS
from trivet.integration.inference_service import STANDARD_MODES
from trivet.model.platform_config import PlatformConfig
from trivet.model.stack import Stack

MODE = "serving.kserve.io/deploymentMode"
MERGED_BY = {"env": "name", "ports": "containerPort", "volumeMounts": "mountPath", "volumeDevices": "devicePath"}
"""Lists of a container that a strategic merge joins by a key (k8s.io/api core/v1, patchMergeKey)."""

KNATIVE_SERVICE = "Service.serving.knative.dev"
_POD_META = {"labels", "annotations"}
_NOT_OF_THE_POD = {
    *("minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "containerConcurrency", "timeout"),
    *("canaryTrafficPercent", "logger", "batcher", "deploymentStrategy", "autoScaling", "model", "workerSpec"),
    *("name", "storageContainerName", "storageUris"),
    *EXPLAINERS,
    *_POD_META,
}
_NOT_OF_THE_CONTAINER = {
    *("modelFormat", "protocolVersion", "runtime", "runtimeVersion", "storageUri", "storage", "type", "config"),
    "confidential",
}
_NOT_OF_THE_REVISIONS_POD = (
    *("containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"),
)
_NOT_OF_A_CANARY = {"autoScaling", "maxReplicas", "scaleTarget", "scaleMetric", "workerSpec"}
_OMITTED_IF_EMPTY = {
    "action",
    "add",
    "apiVersion",
    "args",
    "claims",
    "command",
    "containerName",
    "dnsPolicy",
    "drop",
    "effect",
    "env",
    "envFrom",
    "failureThreshold",
    "host",
    "hostAliases",
    "hostIP",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPort",
    "hostname",
    "hostnames",
    "httpHeaders",
    "image",
    "imagePullPolicy",
    "imagePullSecrets",
    "initContainers",
    "initialDelaySeconds",
    "level",
    "limits",
    "matchExpressions",
    "matchFields",
    "matchLabelKeys",
    "mismatchLabelKeys",
    "nameservers",
    "namespaces",
    "nodeName",
    "nodeSelector",
    "options",
    "overhead",
    "periodSeconds",
    "ports",
    "preferredDuringSchedulingIgnoredDuringExecution",
    "prefix",
    "priorityClassName",
    "protocol",
    "readOnly",
    "readinessGates",
    "request",
    "requests",
    "resizePolicy",
    "resourceClaims",
    "restartPolicyRules",
    "role",
    "schedulerName",
    "schedulingGates",
    "scheme",
    "searches",
    "serviceAccount",
    "serviceAccountName",
    "stdin",
    "stdinOnce",
    "subPath",
    "subPathExpr",
    "subdomain",
    "successThreshold",
    "supplementalGroups",
    "sysctls",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "timeoutSeconds",
    "tolerations",
    "topologySpreadConstraints",
    "tty",
    "user",
    "volumeDevices",
    "volumeMounts",
    "volumes",
    "workingDir",
}
"""Fields of a pod that Go does not write when they are empty, false or 0 (k8s.io/api 0.34.5 core/v1/types.go: omitempty, no pointer)."""
_OMITTED_IN_A_FIELD = {
    *(("", "restartPolicy"), ("", "maxReplicas"), ("env", "value"), ("httpGet", "path"), ("ports", "name")),
    *(("tolerations", "key"), ("tolerations", "operator"), ("tolerations", "value"), ("imagePullSecrets", "name")),
}
"""The same of fields whose name other types have too: (field that holds them, name)."""
_MAPS = {"labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests", "overhead", "data"}
"""Fields of a pod whose keys are free."""
_OWN_ANNOTATIONS = {"serving.knative.dev/rolloutDuration", "serving.knative.dev/rollout-duration"}


@dataclass(frozen=True, kw_only=True)
class Controller:
    """KServe's controller at a stack's version, on a ``platform`` with one ``runtime``, a ClusterServingRuntime."""

    stack: Stack
    platform: PlatformConfig
    runtime: Mapping[str, Any]

    def is_standard(self, service: Mapping[str, Any]) -> bool | None:
        """Whether a service, as the API server stores it, is deployed without Knative; None if KServe deploys nothing of it."""
        annotations = service["metadata"].get("annotations") or {}
        mode = annotations.get(MODE)
        if mode not in self.stack.settings["serving"]["deployment_modes"]:
            mode = self.platform.default_deployment_mode
        return None if mode == "ModelMesh" or self.is_stopped(service) else mode in STANDARD_MODES

    def is_stopped(self, service: Mapping[str, Any]) -> bool:
        """Whether KServe deletes what it has made of a service (pkg/constants, StopAnnotationKey)."""
        annotations = service["metadata"].get("annotations") or {}
        stops = Version(self.stack.components["kserve"]) >= Version("0.15")
        return stops and str(annotations.get("serving.kserve.io/stop", "")).lower() == "true"

    def children(self, service: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is made of ``service``, as the API server stores it: (kind as in ``judges.RESOURCES``, object).

        Not those of the ingress, which depend on the platform's domain.
        """
        standard = self.is_standard(service)
        if standard is None:
            return
        annotations = service["metadata"].get("annotations") or {}
        for component, name, stated in _components(service):
            settings = as_go_writes(stated)
            containers = _containers(component, settings, self.runtime, self._security_of_the_release(settings))
            if not containers:
                continue
            pod = {key: value for key, value in settings.items() if key not in _NOT_OF_THE_POD}
            pod["containers"] = containers
            metadata = {
                "labels": {
                    **(service["metadata"].get("labels") or {}),
                    **settings.get("labels", {}),
                    "component": component,
                },
                "annotations": {**annotations, **settings.get("annotations", {})},
            }
            if not standard:
                yield KNATIVE_SERVICE, _knative_service(name, metadata, settings, pod)
                continue
            yield "Deployment", _deployment(name, metadata, settings, pod)
            yield "Service", _service(name, metadata, containers)
            if metadata["annotations"].get("serving.kserve.io/autoscalerClass", "hpa") == "hpa":
                yield "HorizontalPodAutoscaler", _autoscaler(name, metadata, settings)
            if component == "predictor" and "workerSpec" in settings and self._has_workers:
                workers = _workers(settings["workerSpec"])
                yield (
                    "Deployment",
                    _deployment(f"{service['metadata']['name']}-predictor-worker", metadata, settings, workers),
                )

    def has_runtime(self, service: Mapping[str, Any]) -> bool:
        """Whether a runtime serves the model of ``service``, as the API server stores it; KServe makes nothing of one that none serves.

        The runtimes are those of KServe's release, as lint takes them to be installed, and the platform's in place of that of its name
        (predictor_model.go, GetSupportingRuntimes, RuntimeSupportsModel; predictor.go: multi-node runtimes since 0.15).
        """
        predictor = service["spec"].get("predictor") or {}
        model = predictor.get("model")
        if model is None:
            return True
        workers = self._has_workers and "workerSpec" in predictor
        return any(_serves(name, one, model, workers=workers) for name, one in self._runtimes().items())

    def _security_of_the_release(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The securityContext of a model's container by a runtime of KServe's release: since 0.14.1 every one for a single node that
        config/runtimes lists does not escalate."""
        since = Version(self.stack.components["kserve"]) >= Version("0.14")
        several = self._has_workers and "workerSpec" in settings
        return {"allowPrivilegeEscalation": False} if since and "model" in settings and not several else {}

    def _runtimes(self) -> Mapping[str, Mapping[str, Any]]:
        return {**releases()[self.stack.components["kserve"]], **_as_released(self.runtime)}

    @property
    def _has_workers(self) -> bool:
        return Version(self.stack.components["kserve"]) >= Version("0.15")


@cache
def releases() -> Mapping[str, Mapping[str, Any]]:
    """KServe's version → its ClusterServingRuntimes by name."""
    return dict(yaml.safe_load((Path(__file__).parent / "runtimes.yaml").read_text(encoding="utf-8")))


def _serves(name: str, runtime: Mapping[str, Any], model: Mapping[str, Any], *, workers: bool) -> bool:
    named, form = model.get("runtime"), model.get("modelFormat") or {}
    chosen = runtime.get("nodes", False) == workers if named is None else name == named
    protocol = model.get("protocolVersion", "v1" if named is None else "")
    protocols = runtime.get("protocols")
    labels = {
        (each["name"], version)
        for each in runtime["formats"]
        if named is not None or each.get("automatic", True)
        for version in (None, each.get("version"))
    }
    return (
        chosen
        and (form.get("name"), form.get("version")) in labels
        and (not protocol or not protocols or protocol in protocols)
    )


def _as_released(runtime: Mapping[str, Any]) -> dict[str, Any]:
    """A ClusterServingRuntime as ``runtimes.yaml`` has it, by name; empty if it has none."""
    if "name" not in runtime.get("metadata", {}):
        return {}
    spec = runtime["spec"]
    formats = [
        {"name": one["name"], "version": one.get("version"), "automatic": one.get("autoSelect", False)}
        for one in spec["supportedModelFormats"]
    ]
    return {runtime["metadata"]["name"]: {"protocols": spec["protocolVersions"], "formats": formats}}


def _components(service: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """What pods are made of: (component, name of its objects, its settings); the names are those of kserve 0.20.0 pkg/constants,
    PredictorServiceName."""
    name, spec = service["metadata"]["name"], service["spec"]
    predictors = [spec.get("predictor"), *(_canary_predictor(spec["predictor"], one) for one in spec.get("canary", ()))]
    for settings in predictors:
        if settings:
            middle = f"-{settings['name']}" if settings.get("name") else ""
            yield "predictor", f"{name}{middle}-predictor", settings
    for component in ("transformer", "explainer"):
        if spec.get(component):
            yield component, f"{name}-{component}", spec[component]


def _canary_predictor(stable: Mapping[str, Any], canary: Mapping[str, Any]) -> dict[str, Any]:
    """The predictor of a canary laid over the stable one, as mergo does with WithOverride (predictor.go, buildCanaryPredictor)."""
    merged = _overlaid(stable, canary["predictor"])
    return {key: value for key, value in merged.items() if key not in _NOT_OF_A_CANARY}


def _overlaid(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _overlaid(merged[key], value)
        elif value or key not in merged:
            merged[key] = value
    return merged


def _workers(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The pod of workers, of a runtime whose container has a name and an image only.

    Of their GPUs KServe writes what it computes (deployment_reconciler.go, addGPUResourceToDeployment).
    """
    pod = {key: value for key, value in settings.items() if not key.endswith("ParallelSize")}
    own: Mapping[str, Any] = next(iter(settings.get("containers", ())), {})
    container = _merged({"name": "worker-container", "image": "example/runtime"}, own)
    return {**pod, "containers": [{**container, "resources": _with_gpus(container)}]}


def _with_gpus(container: Mapping[str, Any]) -> dict[str, Any]:
    resources = container.get("resources", {})
    given = [name for kind in ("limits", "requests") for name in resources.get(kind, {}) if name in DEVICES]
    gpus = {next(iter(given), DEVICES[0]): "1"}
    return {**resources, **{kind: {**resources.get(kind, {}), **gpus} for kind in ("limits", "requests")}}


def as_go_writes(value: Any, field: str = "") -> Any:
    """What is left of a pod's fields, which stand in ``field``, when Go writes them."""
    if isinstance(value, list):
        return [as_go_writes(one, field) for one in value]
    if not isinstance(value, dict) or field in _MAPS:
        return value
    written = {key: as_go_writes(member, key) for key, member in value.items()}
    return {
        key: member
        for key, member in written.items()
        if member or member is None or not (key in _OMITTED_IF_EMPTY or (field, key) in _OMITTED_IN_A_FIELD)
    }


def without_account(service: Mapping[str, Any]) -> dict[str, Any]:
    """A Knative Service whose pods have the namespace's default account."""
    spec = service["spec"]
    pod = {key: value for key, value in spec["template"]["spec"].items() if key != "serviceAccountName"}
    return {**service, "spec": {**spec, "template": {**spec["template"], "spec": pod}}}


def revision(admitted: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The Deployment that Knative makes of a Knative Service, as the API server stores it.

    Queue-proxy executes its readinessProbe, unless it is a command, livenessProbes get its port, and the port of the container is Knative's
    (knative.dev/serving 0.42.2 and 0.48.1 pkg/reconciler/revision/resources/deploy.go).
    """
    template = admitted["spec"]["template"]
    pod = {key: value for key, value in template["spec"].items() if key not in _NOT_OF_THE_REVISIONS_POD}
    pod["containers"] = [_as_knative_runs(container) for container in pod["containers"]]
    metadata = {key: template["metadata"].get(key, {}) for key in ("labels", "annotations")}
    return "Deployment", _deployment("revision", metadata, {}, pod)


def _container_of_the_runtime(
    runtime: Mapping[str, Any], model: Mapping[str, Any], security: Mapping[str, Any]
) -> dict[str, Any]:
    """The container that ``runtime`` gives a model that it serves, for others one with a name, an image and ``security``.

    Without the field that Knative drops of every one, securityContext.privileged.
    """
    spec = runtime["spec"]
    form = (model.get("modelFormat") or {}).get("name")
    formats = {one["name"] for one in spec["supportedModelFormats"]}
    if form not in formats or model.get("protocolVersion") not in spec["protocolVersions"]:
        stated = {"securityContext": security} if security else {}
        return {"name": "kserve-container", "image": "example/runtime", **stated}
    (container,) = (one for one in spec["containers"] if one["name"] == "kserve-container")
    security = {key: value for key, value in container.get("securityContext", {}).items() if key != "privileged"}
    return {**container, "securityContext": security}


def _containers(
    component: str, settings: Mapping[str, Any], runtime: Mapping[str, Any], security: Mapping[str, Any]
) -> list[Any]:
    """A model's container and those beside it, or its own; of a predictor, KServe replaces the first of these by the one that serves.

    ``security`` is the securityContext of a container of KServe's release.
    """
    model = next((settings[name] for name in ("model", *EXPLAINERS) if settings.get(name)), None)
    listed = list(settings.get("containers") or ())
    if model is None:
        serving = [one for one in listed if one.get("name") == "kserve-container"]
        if component == "predictor":
            return (
                [*serving[:1], *listed[1:]] if serving else []
            )  # nothing is deployed (predictor_custom.go, GetContainer)
        return listed
    own = {key: value for key, value in model.items() if key not in _NOT_OF_THE_CONTAINER}
    base = _container_of_the_runtime(runtime, model, security)
    return [{**_merged(base, own), "name": own.get("name") or base["name"]}, *listed]


def _as_knative_runs(container: Mapping[str, Any]) -> dict[str, Any]:
    changed = {key: value for key, value in container.items() if key not in ("lifecycle", "restartPolicy")}
    if "ports" in changed:
        changed["ports"] = [{"containerPort": port.get("containerPort") or 8080} for port in changed["ports"][:1]]
    if "exec" not in (changed.get("readinessProbe") or {}):
        changed.pop("readinessProbe", None)
    for handler in ("httpGet", "tcpSocket"):
        action = (changed.get("livenessProbe") or {}).get(handler)
        if action is not None:
            changed["livenessProbe"] = {**changed["livenessProbe"], handler: {**action, "port": 8080}}
    return changed


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if key == "args":
            merged[key] = [*base.get(key, ()), *value]
        elif key in MERGED_BY:
            name = MERGED_BY[key]
            patched = {item.get(name): item for item in value}
            merged[key] = [*patched.values(), *(item for item in base.get(key, ()) if item.get(name) not in patched)]
        elif isinstance(value, dict):
            merged[key] = _merged(base.get(key) or {}, value)
        else:
            merged[key] = value
    return merged


def _knative_service(
    name: str, metadata: Mapping[str, Any], settings: Mapping[str, Any], pod: Mapping[str, Any]
) -> dict[str, Any]:
    scale = {
        "min-scale": settings.get("minReplicas", 1),
        "max-scale": settings.get("maxReplicas"),
        "target": settings.get("scaleTarget"),
        "metric": settings.get("scaleMetric"),
    }
    annotations = {
        "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev",
        **metadata["annotations"],
        **{f"autoscaling.knative.dev/{key}": str(value) for key, value in scale.items() if value is not None},
    }
    own = {key: value for key, value in annotations.items() if key in _OWN_ANNOTATIONS}
    template = {key: value for key, value in annotations.items() if key not in _OWN_ANNOTATIONS}
    timeout, concurrency = settings.get("timeout"), settings.get("containerConcurrency")
    spec = {"timeoutSeconds": timeout, "responseStartTimeoutSeconds": timeout, "containerConcurrency": concurrency}
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": metadata["labels"], "annotations": own},
        "spec": {
            "template": {
                "metadata": {"labels": metadata["labels"], "annotations": template},
                "spec": {**{key: value for key, value in spec.items() if value is not None}, **pod},
            },
            "traffic": [{"latestRevision": True, "percent": 100}],
        },
    }


def _deployment(
    name: str, metadata: Mapping[str, Any], settings: Mapping[str, Any], pod: Mapping[str, Any]
) -> dict[str, Any]:
    labels = {**metadata["labels"], "app": f"isvc.{name}"}
    strategy = settings.get("deploymentStrategy")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels, "annotations": metadata["annotations"]},
        "spec": {
            "selector": {"matchLabels": {"app": labels["app"]}},
            "template": {"metadata": {"labels": labels, "annotations": metadata["annotations"]}, "spec": pod},
            **({"strategy": strategy} if strategy else {}),
        },
    }


def _service(name: str, metadata: Mapping[str, Any], containers: list[Any]) -> dict[str, Any]:
    exposed = next((one for one in containers if one.get("name") == "transformer-container"), containers[0])
    ports = [
        {
            "name": port.get("name", ""),
            "port": port["containerPort"] if index else 80,
            "targetPort": port["containerPort"],
            "protocol": port.get("protocol", "TCP"),
        }
        for index, port in enumerate(exposed.get("ports") or ())
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": metadata["labels"], "annotations": metadata["annotations"]},
        "spec": {
            "selector": {"app": f"isvc.{name}"},
            "ports": ports or [{"name": name, "port": 80, "targetPort": 8080, "protocol": "TCP"}],
        },
    }


def _autoscaler(name: str, metadata: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    least = max(_int32(settings.get("minReplicas", 1)), 1)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "labels": metadata["labels"], "annotations": metadata["annotations"]},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": least,
            "maxReplicas": max(_int32(settings.get("maxReplicas", 0)), least),
            "metrics": list(_metrics(metadata["annotations"], settings)),
        },
    }


def _int32(number: int) -> int:
    """A Go int as int32: KServe 0.14 converts it without a look at its size."""
    return (number + 2**31) % 2**32 - 2**31


def _metrics(annotations: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if settings.get("autoScaling") is not None:
        for one in settings["autoScaling"].get("metrics", ()):
            resource = one.get("resource")
            if resource and resource.get("name") == "cpu":
                target = {"type": "Utilization", "averageUtilization": resource["target"].get("averageUtilization", 80)}
                yield {"type": "Resource", "resource": {"name": "cpu", "target": target}}
            elif resource and resource.get("name") == "memory":
                kind = resource["target"].get("type", "")
                passed_on = {"Utilization": "averageUtilization", "AverageValue": "averageValue"}.get(kind)
                target = {"type": kind} if passed_on else {"type": ""}
                if passed_on and passed_on in resource["target"]:
                    target[passed_on] = resource["target"][passed_on]
                yield {"type": "Resource", "resource": {"name": "memory", "target": target}}
        return
    stated = annotations.get("serving.kserve.io/targetUtilizationPercentage", "80")
    target = settings.get("scaleTarget", int(stated) if stated.isdigit() else 80)
    name = settings.get("scaleMetric", "cpu")
    yield {
        "type": "Resource",
        "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": target}},
    }
