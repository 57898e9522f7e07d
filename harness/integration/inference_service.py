"""Builds the InferenceService that serves a model. It applies nothing: it returns a dict for any Kubernetes client, or
for YAML."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from trivet.errors import UsageError, unknown
from trivet.integration.artifacts import require_storage_uri
from trivet.integration.labels import is_label_value, label_value

MIN_REPLICAS = 2
MAX_REPLICAS = 10
CPU_TARGET = 70
CANARY_PERCENT = 20

RUN_ID = "trivet.dev/run-id"
PIPELINE = "trivet.dev/pipeline"
MODEL_NAME = "trivet.dev/model-name"
MODEL_VERSION = "trivet.dev/model-version"

SMALL_RESOURCES: Mapping[str, Mapping[str, str]] = {
    "requests": {"cpu": "200m", "memory": "512Mi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}
"""KServe's own default is a request of 1 CPU and 2 GiB, which leaves small nodes without room for a canary's second
revision."""

DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"
KNATIVE_MODES = ("Serverless", "Knative")
STANDARD_MODES = ("RawDeployment", "Standard")
"""The annotation, and its values for KServe's two ways to deploy: each with its newer name last, which the webhook writes
over the older one from 0.16 on."""
AUTOSCALER_OF_KNATIVE = "autoscaling.knative.dev/class"
AUTOSCALER_OF_KSERVE = "serving.kserve.io/autoscalerClass"

SOURCE_URI = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""The annotation of a revision and of pods that says what the storage initializer fetches (kserve 0.14.1 and 0.20.0
pkg/constants/constants.go)."""

PROTOCOLS = ("v1", "v2", "grpc-v1", "grpc-v2")
"""The protocols of predictors (kserve 0.14.1 and 0.20.0 pkg/constants/constants.go, InferenceServiceProtocol)."""
_READY_PATHS = {"v1": "/v1/models/{name}", "v2": "/v2/models/{name}/ready"}
"""What answers with an error until the model is loaded (kserve 0.14.1 python/kserve/kserve/protocol/rest); gRPC has no such path."""

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # kserve, pkg/apis/serving/v1beta1/inference_service_validation.go
_LONGEST_LABEL = 63
_LONGEST_OBJECT_NAME = 253
_OF_A_TOLERATION = ("key", "operator", "value", "effect", "tolerationSeconds")
_LONGEST_TIMEOUT = 2**31 - 1
_LONGEST_NAME = 53  # KServe appends suffixes such as -predictor, and a DNS label has at most 63 characters
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
)
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_QUANTITY = re.compile(r"(\d+\.?\d*|\.\d+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?")
_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {f"{letter}i": 10 * power for power, letter in enumerate("KMGTPE", start=1)}
"""Kubernetes' rules of names and quantities (k8s.io/apimachinery 0.30.1 pkg/util/validation/validation.go and
pkg/api/resource/quantity.go)."""


def is_own_key(key: str) -> bool:
    """Whether trivet writes the label or annotation ``key``, so that one of an earlier deployment means nothing for the next."""
    return key.startswith("trivet.dev/") or key in (DEPLOYMENT_MODE, AUTOSCALER_OF_KNATIVE, AUTOSCALER_OF_KSERVE)


def build_inference_service(
    *,
    name: str,
    storage_uri: str,
    run_id: str,
    pipeline: str,
    model_name: str,
    model_version: str | int,
    namespace: str = "default",
    exists: bool = False,
    canary_percent: int | None = None,
    deployment_mode: str = "Serverless",
    runtime: str = "",
    protocol: str = "v2",
    format_version: str = "2",
    min_replicas: int = MIN_REPLICAS,
    max_replicas: int = MAX_REPLICAS,
    cpu_target: int | None = CPU_TARGET,
    resources: Mapping[str, Mapping[str, str]] = SMALL_RESOURCES,
    service_account: str = "",
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, tuple[str, str]] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    timeout: int | None = None,
    tolerations: Sequence[Mapping[str, Any]] = (),
    node_selector: Mapping[str, str] | None = None,
    image_pull_secrets: Sequence[str] = (),
    extra_schemes: Collection[str] = (),
) -> dict[str, Any]:
    """The InferenceService ``name`` for the model at ``storage_uri``, of KServe's API ``serving.kserve.io/v1beta1``.

    ``exists`` states whether the service exists already: a first deployment has no revision to split traffic with, so
    it gets no canary percentage. ``canary_percent`` is 0 to 100, where 100 is all traffic at once; None means
    CANARY_PERCENT in a Knative mode and all traffic in a standard one, because only a Knative mode splits traffic.
    ``deployment_mode`` is ``Serverless`` or ``RawDeployment``, or their names since KServe 0.16, ``Knative`` and
    ``Standard``. ``runtime`` names a ServingRuntime; without it KServe selects one by format, format version and
    protocol. KServe's MLServer runtime declares the mlflow format versions 1 and 2, not 3
    (``config/runtimes/kserve-mlserver.yaml``, 0.14.1 to 0.20.0), so 2 is right for models of MLflow 3 too.
    ``cpu_target`` is a utilisation in percent. In a Knative mode it needs Knative's HPA extension, because Knative's own
    autoscaler supports concurrency and requests per second only; None keeps the autoscaler's default.

    Run id, pipeline, model and version become labels; a value that Kubernetes would reject is shortened there, and the
    annotation of the same key has it in full. ``run_id`` is empty for a version that was registered without a run. The readiness probe
    requests the model itself, because MLServer opens its port long before the model is loaded; the gRPC protocols have the runtime's.

    ``service_account`` names the ServiceAccount whose Secrets the storage initializer uses. ``env`` are environment variables of the
    model's container, and ``secrets`` further ones: variable → (name of the Secret, key in it). ``labels`` and ``annotations`` are
    further ones of the service, which KServe copies to its pods. ``timeout`` is in seconds, for a request. ``tolerations``,
    ``node_selector`` and ``image_pull_secrets`` (names of Secrets) place the pods. ``extra_schemes`` are schemes of storage URIs that
    ClusterStorageContainers of the platform add.

    Raises UsageError for whatever KServe or Kubernetes would reject or misread, naming the argument.
    """
    own_labels, own_annotations = labels or {}, annotations or {}
    _check_name(name)
    _check_texts(
        run_id=run_id, pipeline=pipeline, model_name=model_name, runtime=runtime, format_version=format_version
    )
    if isinstance(model_version, bool) or not isinstance(model_version, str | int):
        raise UsageError(
            f"model_version is {model_version!r}", remedy="use the version as MLflow numbers it, such as '3'"
        )
    _check_label("namespace", namespace)
    for what, object_name in (
        ("service_account", service_account),
        *(("image_pull_secrets", secret) for secret in image_pull_secrets),
    ):
        if object_name or what != "service_account":
            _check_object_name(what, object_name)
    if protocol not in PROTOCOLS:
        raise unknown("protocol", str(protocol), PROTOCOLS)
    _check_range("canary_percent", canary_percent, 0, 100)
    _check_range("cpu_target", cpu_target, 1, 100)
    _check_range("timeout", timeout, 1, _LONGEST_TIMEOUT)
    for what, count in (("min_replicas", min_replicas), ("max_replicas", max_replicas)):
        if isinstance(count, bool) or not isinstance(count, int):
            raise UsageError(f"{what} is {count!r}", remedy="use a whole number of replicas")
    if not 0 <= min_replicas <= max_replicas or max_replicas < 1:
        raise UsageError(
            f"min_replicas is {min_replicas} and max_replicas is {max_replicas}",
            remedy="use 0 <= min_replicas <= max_replicas, and max_replicas >= 1",
        )
    if deployment_mode not in KNATIVE_MODES + STANDARD_MODES:
        raise unknown("deployment mode", str(deployment_mode), KNATIVE_MODES + STANDARD_MODES)
    require_storage_uri(storage_uri, extra_schemes)
    _check_resources(resources)
    _check_pairs("labels", own_labels, values=is_label_value)
    _check_pairs("annotations", own_annotations, values=lambda value: True)
    _check_pairs("node_selector", node_selector or {}, values=is_label_value)
    knative = deployment_mode in KNATIVE_MODES
    stated_annotations = {**own_annotations, DEPLOYMENT_MODE: deployment_mode}
    stated_labels = dict(own_labels)
    for key, value in {
        RUN_ID: run_id,
        PIPELINE: pipeline,
        MODEL_NAME: model_name,
        MODEL_VERSION: str(model_version),
    }.items():
        stated_labels[key] = label_value(value)
        if stated_labels[key] != value:
            stated_annotations[key] = value
    predictor: dict[str, Any] = {"minReplicas": min_replicas, "maxReplicas": max_replicas}
    if cpu_target is not None:
        predictor |= {"scaleMetric": "cpu", "scaleTarget": cpu_target}
        if knative:
            stated_annotations[AUTOSCALER_OF_KNATIVE] = "hpa.autoscaling.knative.dev"
        else:
            stated_annotations[AUTOSCALER_OF_KSERVE] = "hpa"
    if exists and (canary_percent is not None or knative):
        if not knative:
            raise UsageError(
                f"KServe does not split traffic in deployment mode {deployment_mode}",
                remedy="omit canary_percent, or use a Knative mode (Serverless)",
            )
        predictor["canaryTrafficPercent"] = CANARY_PERCENT if canary_percent is None else canary_percent
    if timeout is not None:
        predictor["timeout"] = timeout
    if service_account:
        predictor["serviceAccountName"] = service_account
    if tolerations:
        predictor["tolerations"] = [_toleration(toleration) for toleration in tolerations]
    if node_selector:
        predictor["nodeSelector"] = dict(node_selector)
    if image_pull_secrets:
        predictor["imagePullSecrets"] = [{"name": secret} for secret in image_pull_secrets]
    variables = _variables(env or {}, secrets or {})
    predictor["model"] = {
        "modelFormat": {"name": "mlflow", "version": format_version},
        "protocolVersion": protocol,
        **({"runtime": runtime} if runtime else {}),
        "storageUri": storage_uri,
        "resources": {kind: dict(amounts) for kind, amounts in resources.items()},
        **({"env": variables} if variables else {}),
    }
    if protocol in _READY_PATHS:
        predictor["model"]["readinessProbe"] = {
            "httpGet": {"path": _READY_PATHS[protocol].format(name=name), "port": 8080},
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": stated_labels,
            "annotations": stated_annotations,
        },
        "spec": {"predictor": predictor},
    }


def _check_name(name: str) -> None:
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid name of an InferenceService",
            remedy=f"use at most {_LONGEST_NAME} characters of a-z, 0-9 and -, starting with a letter and not ending in -",
        )


def _check_range(what: str, value: int | None, lowest: int, highest: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest):
        raise UsageError(f"{what} is {value!r}", remedy=f"use a whole number from {lowest} to {highest}, or None")


def _check_texts(**texts: object) -> None:
    for what, text in texts.items():
        if not isinstance(text, str):
            raise UsageError(f"{what} is {text!r}", remedy="use a text")


def _check_label(what: str, value: object) -> None:
    if not isinstance(value, str) or len(value) > _LONGEST_LABEL or not _DNS_LABEL.fullmatch(value):
        raise UsageError(
            f"{what} is {value!r}",
            remedy=f"use at most {_LONGEST_LABEL} characters of a-z, 0-9 and -, neither starting nor ending in -",
        )


def _check_object_name(what: str, value: object) -> None:
    if (
        not isinstance(value, str)
        or len(value) > _LONGEST_OBJECT_NAME
        or not all(_DNS_LABEL.fullmatch(part) for part in value.split("."))
    ):
        raise UsageError(
            f"{what} has {value!r}, which is no name of an object",
            remedy="use a name as `kubectl get` prints it: characters of a-z, 0-9, - and .",
        )


def _check_pairs(what: str, pairs: Mapping[str, str], *, values: Callable[[str], bool]) -> None:
    """Keys and values of labels or annotations; those that trivet writes are arguments of their own."""
    for key, value in pairs.items():
        if not isinstance(key, str) or not _QUALIFIED.fullmatch(key):
            raise UsageError(
                f"{what} has the key {key!r}", remedy="use NAME or DOMAIN/NAME, of letters, digits, -, _ and ."
            )
        if not isinstance(value, str) or not values(value):
            raise UsageError(
                f"{what} has {key}={value!r}",
                remedy="use a text"
                + ("" if what == "annotations" else " that Kubernetes accepts as a label value: label_value makes one"),
            )
        if is_own_key(key) and what != "node_selector":
            raise UsageError(
                f"{what} has {key}, which trivet writes",
                remedy="use the argument for it: run_id, pipeline, model_name, model_version, deployment_mode or cpu_target",
            )


def _check_resources(resources: Mapping[str, Mapping[str, str]]) -> None:
    for kind, amounts in resources.items():
        if kind not in ("requests", "limits"):
            raise unknown("kind of resources", str(kind), ("requests", "limits"))
        for name, amount in amounts.items():
            if not isinstance(amount, str) or not _QUANTITY.fullmatch(amount):
                raise UsageError(
                    f"resources has {kind}.{name}={amount!r}, which is no quantity",
                    remedy='use a text such as "500m", "2" (CPUs) or "2Gi" (bytes)',
                )
    for name, limit in resources.get("limits", {}).items():
        request = resources.get("requests", {}).get(name)
        if request is not None and _amount(request) > _amount(limit):
            raise UsageError(
                f"resources has requests.{name}={request!r} above limits.{name}={limit!r}",
                remedy="request at most the limit",
            )


def _amount(quantity: str) -> Decimal:
    found = _QUANTITY.fullmatch(quantity)
    assert found is not None
    number, suffix = Decimal(found[1]), found[2] or ""
    if suffix in _BINARY:
        return number * Decimal(2) ** _BINARY[suffix]
    return number.scaleb(_SUFFIXES[suffix] if suffix in _SUFFIXES else int(suffix[1:]))


def _variables(env: Mapping[str, str], secrets: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    if twice := sorted(env.keys() & secrets.keys()):
        raise UsageError(f"env and secrets both set {', '.join(twice)}", remedy="set each variable once")
    for name in (*env, *secrets):
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name of an environment variable", remedy="use letters, digits, _, - and ."
            )
    for name, value in env.items():
        if not isinstance(value, str):
            raise UsageError(f"env has {name}={value!r}", remedy="use a text")
    variables: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in env.items()]
    for name, source in secrets.items():
        if not isinstance(source, tuple) or len(source) != 2 or not all(isinstance(part, str) for part in source):
            raise UsageError(
                f"secrets has {name}={source!r}", remedy="use a pair: the name of the Secret, and the key in it"
            )
        _check_object_name("secrets", source[0])
        reference = {"name": source[0], "key": source[1]}
        variables.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    return variables


def _toleration(toleration: Mapping[str, Any]) -> dict[str, Any]:
    for key in toleration:
        if key not in _OF_A_TOLERATION:
            raise unknown("field of a toleration", str(key), _OF_A_TOLERATION)
    return dict(toleration)
