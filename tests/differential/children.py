"""The objects that KServe's controller makes of an InferenceService, for dry runs of what Knative and Kubernetes say of them.

Written after kserve 0.14.1 pkg/controller/v1beta1/inferenceservice: components/predictor.go and transformer.go,
reconcilers/knative/ksvc_reconciler.go (createKnativeService), reconcilers/deployment/deployment_reconciler.go (createRawDeployment) and
utils/utils.go (MergeRuntimeContainers). Only a sample of services that are really created shows that this is what the controller does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MODE = "serving.kserve.io/deploymentMode"
MERGED_BY = {"env": "name", "ports": "containerPort", "volumeMounts": "mountPath", "volumeDevices": "devicePath"}
"""Lists of a container that a strategic merge joins by a key (k8s.io/api core/v1, patchMergeKey)."""

_POD_META = {"labels", "annotations"}
_NOT_OF_THE_POD = {
    *(
        "minReplicas",
        "maxReplicas",
        "scaleTarget",
        "scaleMetric",
        "containerConcurrency",
        "timeout",
        "canaryTrafficPercent",
    ),
    *("logger", "batcher", "deploymentStrategy", "model", "workerSpec", "art"),
    *_POD_META,
}
_NOT_OF_KNATIVE = {
    *(
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "activeDeadlineSeconds",
        "nodeName",
        "hostNetwork",
        "hostPID",
        "hostIPC",
    ),
    *(
        "hostname",
        "subdomain",
        "priority",
        "readinessGates",
        "overhead",
        "preemptionPolicy",
        "setHostnameAsFQDN",
        "os",
        "hostUsers",
    ),
    *("schedulingGates", "resourceClaims", "serviceAccount"),
}
"""Fields of a pod that Knative's CRD does not have and drops."""
_NOT_OF_THE_CONTAINER = {
    "modelFormat",
    "protocolVersion",
    "runtime",
    "runtimeVersion",
    "storageUri",
    "storage",
    "type",
    "config",
}
_OWN_ANNOTATIONS = {"serving.knative.dev/rolloutDuration", "serving.knative.dev/rollout-duration"}


def children(service: Mapping[str, Any], runtime: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is made of ``service``, as the API server would store it: (kind as in ``judges.RESOURCES``, object).

    ``runtime`` is the one ClusterServingRuntime of the platform. In Knative's mode Knative makes a Deployment of the same pod.
    """
    annotations = service["metadata"].get("annotations") or {}
    mode = annotations.get(MODE)
    if mode == "ModelMesh":
        return
    for component in ("predictor", "transformer", "explainer"):
        settings = service["spec"].get(component)
        containers = settings and _containers(settings, runtime)
        if not containers:
            continue
        pod = {key: value for key, value in settings.items() if key not in _NOT_OF_THE_POD} | {"containers": containers}
        name = f"{service['metadata']['name']}-{component}"
        metadata = {
            "labels": {
                **(service["metadata"].get("labels") or {}),
                **settings.get("labels", {}),
                "component": component,
            },
            "annotations": {**annotations, **settings.get("annotations", {})},
        }
        if mode == "RawDeployment":
            yield "Deployment", _deployment(name, metadata, settings, pod)
        else:
            yield "Service.serving.knative.dev", _knative_service(name, metadata, settings, pod)
            known = {key: value for key, value in pod.items() if key not in _NOT_OF_KNATIVE}
            known["containers"] = [_as_knative_runs(container) for container in containers]
            yield "Deployment", _deployment("revision", metadata, {}, known)


def _container_of_the_runtime(runtime: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """The container that ``runtime`` gives a model that it serves, for others one with a name and an image only.

    Without the field that Knative drops of every one, securityContext.privileged.
    """
    spec = runtime["spec"]
    form = (model.get("modelFormat") or {}).get("name")
    formats = {one["name"] for one in spec["supportedModelFormats"]}
    if form not in formats or model.get("protocolVersion") not in spec["protocolVersions"]:
        return {"name": "kserve-container", "image": "example/runtime"}
    (container,) = (one for one in spec["containers"] if one["name"] == "kserve-container")
    security = {key: value for key, value in container.get("securityContext", {}).items() if key != "privileged"}
    return {**container, "securityContext": security}


def _containers(settings: Mapping[str, Any], runtime: Mapping[str, Any]) -> list[Any]:
    model = settings.get("model") or settings.get("art")
    if model is None:
        return list(settings.get("containers") or ())
    own = {key: value for key, value in model.items() if key not in _NOT_OF_THE_CONTAINER}
    base = _container_of_the_runtime(runtime, model)
    return [{**_merged(base, own), "name": own.get("name") or base["name"]}]


def _as_knative_runs(container: Mapping[str, Any]) -> dict[str, Any]:
    """A container of a revision: queue-proxy executes its readinessProbe, unless it is a command, and livenessProbes get its port.

    knative.dev/serving 0.42.2 pkg/reconciler/revision/resources/deploy.go.
    """
    changed = {key: value for key, value in container.items() if key not in ("lifecycle", "restartPolicy")}
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
            replaced = {item.get(name) for item in value}
            merged[key] = [*value, *(item for item in base.get(key, ()) if item.get(name) not in replaced)]
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
