"""What KServe's webhook and controller refuse of an InferenceService.

Read at KServe 0.12.1 and 0.13.1 as far as they differ from 0.14.1, 0.14.1, 0.15 to 0.19 as far as a rule begins or ends there, and 0.20.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import Keys
from trivet.contracts.quantities import DEVICES, quantity
from trivet.contracts.rules.rule import EXPLAINERS, FRAMEWORKS, KNATIVE, STANDARD, Rules, Service, explainers
from trivet.contracts.rules.runtimes import PROBES, runtime_of, shipped
from trivet.contracts.values import each, integer, mapping, parsed_integer, path, text
from trivet.contracts.violation import Violation

KSERVE = Rules("kserve", "kserve")

_V1BETA1 = "pkg/apis/serving/v1beta1"
_VALIDATION = f"{_V1BETA1}/inference_service_validation.go"
_COMPONENT = f"{_V1BETA1}/component.go"

_PREDICTORS = ("model", *FRAMEWORKS)
_MULTI_NODE_URIS = ("pvc", "oci")
_BASIC_RESOURCES = ("cpu", "memory", "storage", "ephemeral-storage")
_KBS = re.compile(r"kbs:///[a-zA-Z0-9_.-]+/[a-zA-Z0-9_.-]+/[a-zA-Z0-9_.-]+")


@KSERVE.rule(
    f"{_COMPONENT}, validateExactlyOneImplementation; predictor.go, transformer.go, explainer.go: GetImplementations"
)
def exactly_one_implementation(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        containers = settings.get("containers")
        own = len(containers) if isinstance(containers, list) else 0
        where = path(keys)
        if keys[-1] == "predictor":
            yield from _implementations_of_predictor(service, keys, settings)
            continue
        kinds = explainers(service) if keys[-1] == "explainer" else ()
        given = [*(kind for kind in kinds if settings.get(kind) is not None), *(["containers"] if own else [])]
        if len(given) > 1:
            yield Violation(keys, f"{where} has both {' and '.join(given)}, and exactly one is admitted")
        elif not given:
            yield Violation(keys, f"{where} has no containers: KServe rejects it without an implementation")


def _implementations_of_predictor(service: Service, keys: Keys, settings: Mapping[str, Any]) -> Iterator[Violation]:
    where, containers = path(keys), settings.get("containers")
    own = len(containers) if isinstance(containers, list) else 0
    formats = [name for name in _PREDICTORS if settings.get(name) is not None]
    if service.since("0.15"):
        named = [at for at, each_one in each(containers, ()) if each_one.get("name") == "kserve-container"]
        implementations = len(formats) + len(named)
        if not implementations and own:
            implementations = 1
        what = "a container named kserve-container"
    else:
        implementations = len(formats) + bool(own)
        what = "containers"
    replaced = len(formats) == 2 and formats[0] == "model" and keys == ("spec", "predictor")
    if not implementations:
        yield Violation(
            keys, f"{where} has no model, framework or containers: KServe rejects it without an implementation"
        )
    elif replaced and implementations == 2:
        yield Violation(
            (*keys, "model"),
            f"{where} has model and {formats[1]}: KServe drops model and serves {formats[1]}",
        )
    elif implementations > 1:
        given = [*formats, *([what] if implementations > len(formats) else [])]
        yield Violation(
            (*keys, given[-1] if given[-1] in formats else "containers"),
            f"{where} has {' and '.join(given)}, and KServe admits exactly one of them",
        )


@KSERVE.rule(f"{_COMPONENT}, validateReplicas", fields=("minReplicas", "maxReplicas"))
def replicas(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        least, most = pod.settings.get("minReplicas"), pod.settings.get("maxReplicas")
        for name, value in (("minReplicas", least), ("maxReplicas", most)):
            if (number := integer(value)) is not None and number < 0:
                yield Violation((*pod.keys, name), f"{path(pod.keys)}.{name} {number} is negative")
        low, high = integer(1 if least is None else least), integer(most)
        if low is not None and high is not None and 0 < high < low:
            stated = "minReplicas, 1 by default," if least is None else f"minReplicas {low}"
            yield Violation(
                (*pod.keys, "minReplicas"), f"{path(pod.keys)}: {stated} is greater than maxReplicas {high}"
            )


@KSERVE.rule(f"{_COMPONENT}, validateContainerConcurrency", fields=("containerConcurrency",))
def container_concurrency(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        number = integer(settings.get("containerConcurrency"))
        if number is not None and number < 0:
            yield Violation((*keys, "containerConcurrency"), f"{path(keys)}.containerConcurrency {number} is negative")


@KSERVE.rule(f"{_COMPONENT}, validateLogger", fields=("logger",))
def logger_mode(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        logger = settings.get("logger")
        if isinstance(logger, dict) and not logger.get("mode"):
            yield Violation(
                (*keys, "logger"), f"{path(keys)}.logger has no mode; KServe requires all, request or response"
            )


@KSERVE.rule(
    "cmd/agent/main.go, startLogger; pkg/logger/worker.go: the sink gets CloudEvents over HTTP",
    versions="<0.16",
    fields=("logger",),
)
def logger_url_before_storage(service: Service) -> Iterator[Violation]:
    yield from _logger_url(service, ("http", "https"))


@KSERVE.rule("pkg/logger/store.go, GetStorageStrategy", versions=">=0.16", fields=("logger",))
def logger_url(service: Service) -> Iterator[Violation]:
    yield from _logger_url(service, ("http", "https", "s3", "s3a", "gs", "abfs", "abfss"))


def _logger_url(service: Service, schemes: tuple[str, ...]) -> Iterator[Violation]:
    for keys, settings in service.components:
        url = mapping(settings.get("logger")).get("url")
        if isinstance(url, str) and not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            yield Violation(
                (*keys, "logger", "url"),
                f"{path(keys)}.logger.url {url!r} names no sink: it must begin with {' or '.join(f'{each}://' for each in schemes)}",
            )


@KSERVE.rule(f"{_COMPONENT}, validateLogger: storage", versions=">=0.16", fields=("logger",))
def logger_storage(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        storage = mapping(settings.get("logger")).get("storage")
        if isinstance(storage, dict):
            missing = [name for name in ("path", "parameters", "key") if storage.get(name) is None]
            if missing:
                yield Violation(
                    (*keys, "logger", "storage"),
                    f"{path(keys)}.logger.storage lacks {' and '.join(missing)}, which KServe requires",
                )


@KSERVE.rule(
    f"{_VALIDATION}, validateAutoscalerTargetUtilizationPercentage",
    versions="<0.15",
    fields=("serving.kserve.io/targetUtilizationPercentage",),
)
def target_utilization_percentage(service: Service) -> Iterator[Violation]:
    key = "serving.kserve.io/targetUtilizationPercentage"
    value = service.annotations.get(key)
    if isinstance(value, str) and not 1 <= (parsed_integer(value) or 0) <= 100:
        yield Violation(("metadata", "annotations", key), f"{key} {value!r} is no integer from 1 to 100")


@KSERVE.rule(
    f"{_VALIDATION}, validateInferenceServiceAutoscaler: validateHPAMetrics",
    versions="<0.15",
    fields=("serving.kserve.io/metrics",),
)
def metric_annotation(service: Service) -> Iterator[Violation]:
    key = "serving.kserve.io/metrics"
    value = service.annotations.get(key)
    if service.annotations.get("serving.kserve.io/autoscalerClass") == "hpa" and value not in (None, "cpu", "memory"):
        yield Violation(("metadata", "annotations", key), f"{key} {value!r} is no metric of an HPA: use cpu or memory")


@KSERVE.rule(
    f"{_VALIDATION}, validateScalingHPACompExtension, validateScalingKPACompExtension", fields=("scaleTarget",)
)
def scale_target(service: Service) -> Iterator[Violation]:
    by_hpa = service.annotations.get("autoscaling.knative.dev/class") == "hpa.autoscaling.knative.dev"
    standard = service.mode == STANDARD and (
        not service.since("0.15") or service.annotations.get("serving.kserve.io/autoscalerClass") in (None, "hpa")
    )
    for keys, settings in service.components:
        target = integer(settings.get("scaleTarget"))
        metric = settings.get("scaleMetric")
        where = (*keys, "scaleTarget")
        if target is None:
            continue
        if standard or by_hpa:
            if metric == "memory" and target < 1:
                yield Violation(where, f"{path(where)} {target} is less than 1 MiB of memory")
            elif metric in (None, "cpu") and not 1 <= target <= 100:
                yield Violation(where, f"{path(where)} {target} is no CPU utilization from 1 to 100 percent")
            elif metric == "memory" and target > 100:
                yield Violation(where, f"{path(where)} {target} is over 100, which KServe rejects for memory too")
        elif metric == "rps" and target < 1:
            yield Violation(where, f"{path(where)} {target} is less than 1 request per second")


@KSERVE.rule(
    f"{_VALIDATION}, validateScalingKPACompExtension: deploymentStrategy",
    versions=">=0.13",
    modes=(KNATIVE,),
    fields=("deploymentStrategy",),
)
def deployment_strategy(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        if settings.get("deploymentStrategy") is not None:
            yield Violation(
                (*keys, "deploymentStrategy"),
                f"{path(keys)}.deploymentStrategy is rejected: it is for Standard (RawDeployment) mode only",
            )


@KSERVE.rule(
    "k8s.io/kubernetes pkg/apis/apps/validation, ValidateDeploymentStrategy, on the Deployment that KServe makes",
    versions=">=0.13",
    modes=(STANDARD,),
    fields=("deploymentStrategy",),
)
def deployment_strategy_type(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        strategy = settings.get("deploymentStrategy")
        if (
            isinstance(strategy, dict)
            and strategy.get("type") == "Recreate"
            and strategy.get("rollingUpdate") is not None
        ):
            where = (*keys, "deploymentStrategy", "rollingUpdate")
            yield Violation(where, f"{path(where)} may not be specified with the type Recreate")


@KSERVE.rule(
    f"{_VALIDATION}, validateScalingKedaCompExtension, validateScaleTarget",
    versions=">=0.15",
    modes=(STANDARD,),
    fields=("autoScaling",),
)
def keda_metrics(service: Service) -> Iterator[Violation]:
    if service.annotations.get("serving.kserve.io/autoscalerClass") != "keda":
        return
    for component, settings in service.components:
        metrics = mapping(settings.get("autoScaling")).get("metrics")
        for keys, metric in each(metrics, (*component, "autoScaling", "metrics")):
            yield from _keda_metric(keys, metric)


def _keda_metric(keys: Any, metric: Any) -> Iterator[Violation]:
    kind = text(metric.get("type"))
    names = {"Resource": "resource", "External": "external", "PodMetric": "podmetric"}
    where = path(keys)
    if kind not in names:
        return
    source = metric.get(names[kind])
    if not isinstance(source, dict):
        yield Violation(keys, f"{where} is of type {kind} and has no {names[kind]}")
        return
    target = mapping(source.get("target"))
    if kind == "Resource":
        allowed = {"cpu": ("Utilization",), "memory": ("AverageValue", "Utilization")}.get(text(source.get("name")))
        if allowed and target.get("type") not in allowed:
            yield Violation(
                (*keys, "resource", "target"),
                f"{where}.resource.target.type must be {' or '.join(allowed)} for {source['name']}",
            )
            return
        if source.get("name") == "memory" and target.get("type") == "AverageValue":
            value = quantity(target.get("averageValue"))
            if value is not None and value < 1024**2:
                yield Violation(
                    (*keys, "resource", "target"), f"{where}.resource.target.averageValue is less than 1 MiB"
                )
    else:
        if not mapping(source.get("metric")).get("query"):
            yield Violation((*keys, names[kind]), f"{where}.{names[kind]}.metric.query is empty")
        if target.get("value") is None:
            yield Violation((*keys, names[kind]), f"{where}.{names[kind]}.target has no value")
            return
    field = {"Utilization": "averageUtilization", "AverageValue": "averageValue", "Value": "value"}.get(
        text(target.get("type"))
    )
    at = (*keys, names[kind], "target")
    if field and target.get(field) is None:
        yield Violation(at, f"{path(at)} is of type {target['type']} and has no {field}")
    elif field == "averageUtilization" and (number := integer(target[field])) is not None and not 1 <= number <= 100:
        yield Violation(at, f"{path(at)}.averageUtilization {number} is no percentage from 1 to 100")


@KSERVE.rule(
    f"{_VALIDATION}, validateScalingHPACompExtension: autoScaling",
    versions=">=0.15",
    modes=(STANDARD,),
    fields=("autoScaling",),
)
def hpa_metrics(service: Service) -> Iterator[Violation]:
    if service.annotations.get("serving.kserve.io/autoscalerClass") != "hpa":
        return
    for component, settings in service.components:
        metrics = mapping(settings.get("autoScaling")).get("metrics")
        for keys, metric in each(metrics, (*component, "autoScaling", "metrics")):
            if metric.get("type") in ("External", "PodMetric"):
                yield Violation(
                    (*keys, "type"),
                    f"{path(keys)}.type {metric['type']} is rejected: an HPA has only Resource metrics, keda has the others",
                )
            elif metric.get("type") == "Resource" and metric.get("resource") is None:
                yield Violation(keys, f"{path(keys)} is of type Resource and has no resource")


@KSERVE.rule(
    f"{_COMPONENT}, MetricTarget, ExternalMetrics, PodMetrics: the webhook writes an empty type and backend, which their enums do not have",
    versions=">=0.15",
    fields=("autoScaling",),
)
def metric_enums(service: Service) -> Iterator[Violation]:
    for component, settings in service.components:
        metrics = mapping(settings.get("autoScaling")).get("metrics")
        for keys, metric in each(metrics, (*component, "autoScaling", "metrics")):
            for name, backends in _METRIC_SOURCES.items():
                source, at = metric.get(name), (*keys, name)
                if not isinstance(source, dict):
                    continue
                if mapping(source.get("target")).get("type") is None:
                    yield Violation(
                        (*at, "target"),
                        f"{path(at)}.target has no type, and KServe writes an empty one, which the API rejects: use {_TARGET_TYPES}",
                    )
                if backends and mapping(source.get("metric")).get("backend") is None:
                    yield Violation(
                        (*at, "metric"),
                        f"{path(at)}.metric has no backend, and KServe writes an empty one, which the API rejects: use {backends}",
                    )


_METRIC_SOURCES: Mapping[str, str] = {
    "resource": "",
    "external": "prometheus or graphite",
    "podmetric": "opentelemetry",
}
"""Source of a metric → the backends of its enum."""
_TARGET_TYPES = "Utilization, AverageValue or Value"


@KSERVE.rule(
    "pkg/controller/v1beta1/inferenceservice/reconcilers/hpa/hpa_reconciler.go, getHPAMetrics; "
    "k8s.io/kubernetes pkg/apis/autoscaling/validation/validation.go, validateMetricTarget, validateResourceSource",
    versions=">=0.15",
    modes=(STANDARD,),
    fields=("autoScaling",),
)
def hpa_targets(service: Service) -> Iterator[Violation]:
    if service.annotations.get("serving.kserve.io/autoscalerClass", "hpa") != "hpa":
        return
    for component, settings in service.components:
        metrics = mapping(settings.get("autoScaling")).get("metrics")
        for keys, metric in each(metrics, (*component, "autoScaling", "metrics")):
            resource, at = mapping(metric.get("resource")), (*keys, "resource", "target")
            if why := _hpa_target_problem(resource.get("name"), mapping(resource.get("target"))):
                yield Violation(at, f"{path(at)} {why}")


def _hpa_target_problem(resource: Any, target: Mapping[str, Any]) -> str:
    """Why Kubernetes rejects the target that KServe makes of a resource's: of CPU always Utilization, of memory no Value."""
    kind = "Utilization" if resource == "cpu" else target.get("type") if resource == "memory" else None
    if kind == "Utilization":
        stated = target.get("averageUtilization")
        if stated is None and resource == "memory":
            return "is of type Utilization and has no averageUtilization, which the HPA of memory needs"
        number = integer(stated)
        return f"has averageUtilization {number}, expected at least 1" if number is not None and number < 1 else ""
    if kind == "AverageValue":
        if (stated := target.get("averageValue")) is None:
            return "is of type AverageValue and has no averageValue, which the HPA of memory needs"
        amount = quantity(stated)
        return f"has averageValue {stated}, expected more than 0" if amount is not None and amount <= 0 else ""
    if kind == "Value":
        return "is of type Value, which KServe does not pass on to an HPA: use Utilization or AverageValue"
    return ""


@KSERVE.rule(f"{_VALIDATION}, validateCollocationStorageURI", fields=("containers",))
def storage_uri_of_transformer(service: Service) -> Iterator[Violation]:
    for keys, container in each(service.predictor.get("containers"), ("spec", "predictor", "containers")):
        if container.get("name") == "transformer-container":
            for at, variable in each(container.get("env"), (*keys, "env")):
                if variable.get("name") == "STORAGE_URI":
                    yield Violation(
                        at,
                        f"{path(keys)}: the transformer-container must not have STORAGE_URI; the kserve-container has it",
                    )


@KSERVE.rule(f"{_V1BETA1}/predictor_custom.go, validateCustomProtocol", fields=("containers",))
def custom_protocol(service: Service) -> Iterator[Violation]:
    if any(service.predictor.get(name) is not None for name in _PREDICTORS):
        return
    for keys, container in each(service.predictor.get("containers"), ("spec", "predictor", "containers")):
        for at, variable in each(container.get("env"), (*keys, "env")):
            if variable.get("name") == "PROTOCOL" and variable.get("value") not in ("v1", "v2"):
                yield Violation(
                    (*at, "value"),
                    f"{path(at)}: PROTOCOL {variable.get('value')!r} is rejected; a custom predictor has v1 or v2",
                )
        return


@KSERVE.rule(
    f"{_V1BETA1}/predictor_custom.go, GetContainer: nothing is deployed without a kserve-container",
    versions=">=0.15",
    fields=("containers",),
)
def kserve_container_is_named(service: Service) -> Iterator[Violation]:
    containers = service.predictor.get("containers")
    if (
        any(service.predictor.get(name) is not None for name in _PREDICTORS)
        or not isinstance(containers, list)
        or len(containers) < 2
    ):
        return
    names = [mapping(container).get("name") for container in containers]
    if names[0] and "kserve-container" not in names:
        keys = ("spec", "predictor", "containers")
        yield Violation(
            keys,
            f"none of the predictor's containers {', '.join(map(str, names))} is named kserve-container, which is the one that serves",
        )


@KSERVE.rule(
    "pkg/controller/v1beta1/inferenceservice/components/predictor.go, buildPredictorResources: Containers[0]",
    versions=">=0.15",
    fields=("containers",),
)
def kserve_container_is_first(service: Service) -> Iterator[Violation]:
    if any(service.predictor.get(name) is not None for name in _PREDICTORS):
        return
    names = [one.get("name") for _, one in each(service.predictor.get("containers"), ())]
    if "kserve-container" in names[1:] and names[0] and names[0] != "kserve-container":
        keys = ("spec", "predictor", "containers", names.index("kserve-container"))
        yield Violation(
            keys,
            f"kserve-container is not the first of the predictor's containers: KServe replaces {names[0]} by it, and has it twice",
        )


@KSERVE.rule(f"{_COMPONENT}, validateStorageSpec; explainer.go, Validate", fields=EXPLAINERS)
def explainer_storage(service: Service) -> Iterator[Violation]:
    for kind in explainers(service):
        keys = ("spec", "explainer", kind)
        implementation = mapping(mapping(service.spec.get("explainer")).get(kind))
        uri = implementation.get("storageUri")
        if (
            isinstance(implementation.get("storage"), dict)
            and isinstance(uri, str)
            and not uri.startswith(("s3://", "hdfs://", "webhdfs://"))
        ):
            yield Violation(
                (*keys, "storageUri"),
                f"{path(keys)} has storage, so its storageUri must be s3://, hdfs:// or webhdfs://",
            )


@KSERVE.rule(
    "pkg/controller/v1beta1/inferenceservice/components/predictor.go: only one of storageUri and storage.path",
    fields=("storage",),
)
def one_place_of_the_model(service: Service) -> Iterator[Violation]:
    for name in _PREDICTORS:
        model = service.predictor.get(name)
        if (
            isinstance(model, dict)
            and model.get("storageUri") is not None
            and mapping(model.get("storage")).get("path") is not None
        ):
            keys = ("spec", "predictor", name, "storage", "path")
            yield Violation(
                keys, f"spec.predictor.{name} has storageUri and storage.path: KServe deploys nothing with both"
            )


@KSERVE.rule(
    "config/runtimes: --model_dir=/mnt/models, MLSERVER_MODEL_URI; python/huggingfaceserver: --model_id, --model_dir"
)
def model_is_given(service: Service) -> Iterator[Violation]:
    """Of runtimes of KServe's release, which load the model from the directory that the storage initializer fills, or get TrainedModels."""
    for container in (one for pod in service.pods for one in pod.containers if one.merged):
        runtime, model = runtime_of(service, container), container.spec
        if runtime is None or runtime is not (shipped(service) or {}).get(runtime.name) or _has_trained_models(service):
            continue
        fetched = any(model.get(name) for name in ("storageUri", "storage")) or service.predictor.get("storageUris")
        mounts = [text(mount.get("mountPath")) for _, mount in container.each("volumeMounts")]
        stated = [text(variable.get("name")) for _, variable in container.each("env")]
        stated += [text(word) for name in ("args", "command") for word in _items(model.get(name))]
        if not (
            fetched or any(one.startswith("/mnt/models") for one in mounts) or any(map(_OF_A_MODEL.search, stated))
        ):
            yield Violation(
                container.keys,
                f"{path(container.keys)} has no storageUri: the runtime {runtime.name} finds no model",
                "TrainedModels that name the service: put them among the paths",
            )


_OF_A_MODEL = re.compile(
    r"model.?(id|dir|uri|path|store|repository|base.path)|storage.?uri|^--model(=|$)|[$\s]", re.IGNORECASE
)
"""What an argument or a variable says of a model's place, and commands of which nothing is known."""


def _has_trained_models(service: Service) -> bool:
    name = service.metadata.get("name")
    return any(
        kind == "TrainedModel" and mapping(one.document.get("spec")).get("inferenceService") == name
        for (kind, _), found in service.platform.resources.items()
        for one in found
    )


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


@KSERVE.rule(
    "pkg/credentials/service_account_credentials.go, CreateStorageSpecSecretEnvs: MissingBucket", fields=("storage",)
)
def storage_bucket(service: Service) -> Iterator[Violation]:
    """Where the parameters name the type, KServe does not read the storage key for the bucket."""
    for name in _PREDICTORS:
        storage = mapping(mapping(service.predictor.get(name)).get("storage"))
        parameters = mapping(storage.get("parameters"))
        keys = ("spec", "predictor", name, "storage")
        if parameters.get("type") == "s3" and not parameters.get("bucket") and storage.get("path"):
            yield Violation(
                (*keys, "parameters"),
                f"{path(keys)}.parameters has the type s3 and no bucket, which KServe then reads nowhere else",
            )


@KSERVE.rule(
    "pkg/credentials/service_account_credentials.go, CreateStorageSpecSecretEnvs: parameters.type is the scheme of the URI; "
    "python/kserve/kserve/storage/storage.py, Storage.download",
    fields=("storage",),
)
def storage_type(service: Service) -> Iterator[Violation]:
    prefixes = service.stack.settings["serving"]["storage"]["prefixes"]
    schemes = sorted({"file", "http", "https", *(prefix.partition("://")[0] for prefix in prefixes)})
    for name in _PREDICTORS:
        keys = ("spec", "predictor", name, "storage", "parameters", "type")
        storage = mapping(mapping(service.predictor.get(name)).get("storage"))
        kind = text(mapping(storage.get("parameters")).get("type"))
        if kind and kind not in schemes and storage.get("path"):
            yield Violation(
                keys,
                f"{path(keys)} {kind!r} makes a URI {kind}://, and KServe's storage initializer fetches {', '.join(schemes)}",
                "the image of storageInitializer in the ConfigMap inferenceservice-config",
            )


@KSERVE.rule(
    "pkg/credentials/service_account_credentials.go, CreateStorageSpecSecretEnvs: type and bucket are put before the path",
    fields=("storage",),
)
def storage_path(service: Service) -> Iterator[Violation]:
    for name in _PREDICTORS:
        keys = ("spec", "predictor", name, "storage", "path")
        stated = text(mapping(mapping(service.predictor.get(name)).get("storage")).get("path"))
        if "://" in stated:
            below = stated.partition("://")[2].partition("/")[2]
            advice = f": write {below!r}, below the bucket" if below else ""
            yield Violation(
                keys,
                f"{path(keys)} {stated!r} is a URI, and KServe puts the type and bucket of the storage key before it{advice}",
            )


@KSERVE.rule("python/artexplainer/artserver/model.py: Invalid adversary type", fields=("art",))
def art_type(service: Service) -> Iterator[Violation]:
    art = mapping(mapping(service.spec.get("explainer")).get("art"))
    kind = text(art.get("type"))
    if kind and kind.lower() != "squareattack" and not art.get("image"):
        yield Violation(
            ("spec", "explainer", "art", "type"),
            f"KServe's ART explainer has the type SquareAttack only, not {kind!r}",
            "the image of explainers.art in the ConfigMap inferenceservice-config",
        )


@KSERVE.rule(
    "python/alibiexplainer/alibiexplainer/parser.py, parse_args: a subcommand per type",
    versions="<0.13",
    fields=("alibi",),
)
def alibi_type(service: Service) -> Iterator[Violation]:
    alibi = mapping(mapping(service.spec.get("explainer")).get("alibi"))
    kind = text(alibi.get("type"))
    if kind and kind not in _ALIBI_TYPES and not alibi.get("image"):
        yield Violation(
            ("spec", "explainer", "alibi", "type"),
            f"KServe's Alibi explainer has the types {', '.join(_ALIBI_TYPES)}, not {kind!r}",
            "the image of explainers.alibi in the ConfigMap inferenceservice-config",
        )


_ALIBI_TYPES = ("AnchorTabular", "AnchorText", "AnchorImages")


@KSERVE.rule(
    "pkg/webhook/admission/pod/storage_initializer_injector.go, InjectModelcar; config/configmap/inferenceservice.yaml, enableModelcar",
    versions="<0.16",
    fields=("storageUri",),
)
def image_as_model(service: Service) -> Iterator[Violation]:
    for name in _PREDICTORS:
        if text(mapping(service.predictor.get(name)).get("storageUri")).startswith("oci://"):
            yield Violation(
                ("spec", "predictor", name, "storageUri"),
                f"spec.predictor.{name}.storageUri oci:// is not fetched without enableModelcar",
                "enableModelcar in storageInitializer of the ConfigMap inferenceservice-config, which is false by default",
            )


@KSERVE.rule("pkg/batcher/handler.go, ServeHTTP: only paths that end in :predict are batched", fields=("batcher",))
def batcher_protocol(service: Service) -> Iterator[Violation]:
    model = mapping(service.predictor.get("model"))
    if service.predictor.get("batcher") is not None and model.get("protocolVersion") in ("v2", "grpc-v2", "grpc-v1"):
        yield Violation(
            ("spec", "predictor", "batcher"),
            f"spec.predictor.batcher has no effect with protocolVersion {model['protocolVersion']}: it "
            "batches requests of v1 (:predict) only",
        )


@KSERVE.rule(
    "pkg/batcher/handler.go, Consume: a value that is not positive is replaced by the default", fields=("batcher",)
)
def batcher_values(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        for name in ("maxBatchSize", "maxLatency"):
            number = integer(mapping(settings.get("batcher")).get(name))
            if number is not None and number <= 0:
                yield Violation(
                    (*keys, "batcher", name), f"{path(keys)}.batcher.{name} {number} is ignored: it must be positive"
                )


@KSERVE.rule(f"{_VALIDATION}, validatePredictor", versions=">=0.16")
def name_of_model_container(service: Service) -> Iterator[Violation]:
    for name in _PREDICTORS:
        if mapping(service.predictor.get(name)).get("name"):
            yield Violation(
                ("spec", "predictor", name, "name"),
                f"spec.predictor.{name}.name is rejected: KServe names the container itself",
            )


@KSERVE.rule("pkg/validation/env_policy.go, DefaultBlockedEnvVars", versions=">=0.18", fields=("env",))
def blocked_environment(service: Service) -> Iterator[Violation]:
    for container in service.admitted_containers:
        for keys, variable in container.each("env"):
            if variable.get("name") == "PYTHONPATH":
                yield Violation(keys, f"{path(container.keys)} sets PYTHONPATH, which KServe blocks")


@KSERVE.rule(
    "config/crd/serving.kserve.io_inferenceservices.yaml of 0.12.1 and config/crd/full/serving.kserve.io_inferenceservices.yaml of 0.13.1: "
    "service of grpc is no null and has no default; "
    "k8s.io/api core/v1/types.go, GRPCAction: no omitempty, so that the webhook writes a null",
    versions="<0.14",
    fields=("grpc",),
)
def service_of_a_grpc_probe(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        for kind in PROBES:
            action = mapping(container.spec.get(kind)).get("grpc")
            if isinstance(action, dict) and action.get("service") is None:
                keys = (*container.keys, kind, "grpc")
                yield Violation(
                    keys,
                    f"{path(keys)} has no service, and KServe writes a null, which the API rejects: write service: ''",
                )


@KSERVE.rule(
    "pkg/apis/serving/v1beta1/predictor.go: WorkerSpec, which nothing in pkg/controller uses",
    versions="<0.15",
    fields=("workerSpec",),
)
def worker_spec_without_workers(service: Service) -> Iterator[Violation]:
    if service.predictor.get("workerSpec") is not None:
        yield Violation(
            ("spec", "predictor", "workerSpec"), "spec.predictor.workerSpec has no effect before KServe 0.15"
        )


@KSERVE.rule(f"{_VALIDATION}, validateMultiNodeVariables", versions=">=0.15", fields=("workerSpec",))
def worker_spec(service: Service) -> Iterator[Violation]:
    worker = service.predictor.get("workerSpec")
    if not isinstance(worker, dict):
        return
    keys = ("spec", "predictor", "workerSpec")
    if isinstance(worker.get("containers"), list) and len(worker["containers"]) > 1:
        yield Violation(
            (*keys, "containers"), f"workerSpec has {len(worker['containers'])} containers, and KServe admits one"
        )
    for name in ("pipelineParallelSize", "tensorParallelSize"):
        if (number := integer(worker.get(name))) is not None and number < 1:
            yield Violation((*keys, name), f"workerSpec.{name} {number} is less than 1")
    for at, container in each(worker.get("containers"), (*keys, "containers")):
        if (named := container.get("name")) and named != _WORKER:
            yield Violation(
                (*at, "name"),
                f"{path(at)}.name is {named!r}, expected {_WORKER}: KServe finds no container of workers and makes nothing of it",
            )
        yield from unknown_gpus(service.annotations, at, container)
    # A framework beside a model replaces it before the webhook looks (inference_service_defaults.go, setPredictorModelDefaults).
    served = next((one for one in (*FRAMEWORKS, "model") if isinstance(service.predictor.get(one), dict)), "")
    if served:
        yield from _multi_node_model(service, ("spec", "predictor", served), service.predictor[served])


_WORKER = "worker-container"
"""kserve 0.20.0 pkg/constants/constants.go, WorkerContainerName; utils.go, AddEnvVarToPodSpec, fails without it."""


def _multi_node_model(service: Service, keys: Keys, model: Any) -> Iterator[Violation]:
    for at, variable in each(model.get("env"), (*keys, "env")):
        if variable.get("name") in ("PIPELINE_PARALLEL_SIZE", "TENSOR_PARALLEL_SIZE"):
            yield Violation(at, f"{variable['name']} is set from workerSpec, and KServe rejects it in env")
    yield from unknown_gpus(service.annotations, keys, model)
    uri = model.get("storageUri")
    if uri is None:
        yield Violation(keys, "a model with workerSpec must have a storageUri")
    elif isinstance(uri, str) and uri.partition("://")[0] not in _MULTI_NODE_URIS:
        yield Violation(
            (*keys, "storageUri"), f"a model with workerSpec must have a storageUri of pvc:// or oci://, not {uri!r}"
        )
    scaler = service.annotations.get("serving.kserve.io/autoscalerClass")
    if scaler != "none":
        stated = f"not {scaler!r}" if scaler else "which it lacks"
        yield Violation(
            ("metadata", "annotations", "serving.kserve.io/autoscalerClass"),
            f"a service with workerSpec must have the annotation serving.kserve.io/autoscalerClass: none, {stated}",
        )


def unknown_gpus(annotations: Mapping[str, Any], keys: Keys, container: Mapping[str, Any]) -> Iterator[Violation]:
    """Resources of a container of several nodes that are no GPU to KServe (0.20.0 pkg/utils/utils.go, HasUnknownGpuResourceType)."""
    if annotations.get("serving.kserve.io/gpu-resource-types"):
        return
    resources = mapping(container.get("resources"))
    for list_name in ("requests", "limits"):
        for name, amount in mapping(resources.get(list_name)).items():
            if (
                amount is not None
                and name not in (*_BASIC_RESOURCES, *DEVICES)
                and not str(name).startswith("nvidia.com/mig")
            ):
                yield Violation(
                    (*keys, "resources", list_name, name),
                    f"{path(keys)}: KServe does not know the GPU resource {name}; annotate serving.kserve.io/gpu-resource-types",
                )


@KSERVE.rule(
    f"{_VALIDATION}, validateMultipleStorageURIs, validateStorageURISpec", versions=">=0.16", fields=("storageUris",)
)
def storage_uris(service: Service) -> Iterator[Violation]:
    for component, settings in service.components:
        listed = settings.get("storageUris")
        if not isinstance(listed, list):
            continue
        implementations = [settings[name] for name in (*_PREDICTORS, "art") if isinstance(settings.get(name), dict)]
        if any(each_one.get("storageUri") is not None for each_one in implementations):
            yield Violation(
                (*component, "storageUris"),
                f"{path(component)} has storageUri and storageUris, and KServe admits one of them",
            )
        fetched: list[str] = []
        claimed: list[str] = []
        for keys, entry in each(listed, (*component, "storageUris")):
            mount = entry.get("mountPath", "/mnt/models")
            if not isinstance(mount, str):
                continue
            if mount == "/" or ".." in mount or not mount.startswith("/"):
                yield Violation(
                    (*keys, "mountPath"),
                    f"{path(keys)}.mountPath {mount!r} must be an absolute path below / without '..'",
                )
            (claimed if text(entry.get("uri")).startswith("pvc://") else fetched).append(mount)
        at = (*component, "storageUris")
        if len(fetched) > 1 and len({mount.strip("/").split("/")[0] for mount in fetched}) > 1:
            yield Violation(at, f"{path(at)}: {', '.join(fetched)} have no common parent directory but /")
        if len(fetched) > 1 and len(set(claimed)) < len(claimed):
            yield Violation(at, f"{path(at)}: claims must have different mount paths")


@KSERVE.rule(
    f"{_VALIDATION}, validateConfidential; pkg/validation/confidential.go", versions=">=0.20", fields=("confidential",)
)
def confidential(service: Service) -> Iterator[Violation]:
    for name in _PREDICTORS:
        model = mapping(service.predictor.get(name))
        settings = mapping(model.get("confidential"))
        keys = ("spec", "predictor", name, "confidential")
        if settings.get("enabled") is not True:
            continue
        if not model.get("storageUri"):
            yield Violation(keys, f"{path(keys)} needs a storageUri")
        resource = settings.get("resourceId")
        if isinstance(resource, str) and resource and not _KBS.fullmatch(resource):
            yield Violation(
                (*keys, "resourceId"), f"{path(keys)}.resourceId {resource!r} is not kbs:///<repository>/<type>/<tag>"
            )


@KSERVE.rule(f"{_VALIDATION}, validateCanarySpecs", versions=">=0.20", fields=("canary",))
def canary(service: Service) -> Iterator[Violation]:
    listed = service.spec.get("canary")
    if not isinstance(listed, list) or not listed:
        return
    at = ("spec", "canary")
    stated = service.annotations.get("serving.kserve.io/deploymentMode")
    if service.mode and service.mode != STANDARD:
        yield Violation(at, f"spec.canary is admitted in Standard mode only, not in {stated or service.mode}")
    if service.predictor.get("model") is None:
        yield Violation(at, "spec.canary needs a stable spec.predictor.model")
    names: list[str] = []
    total = 0
    for keys, entry in each(listed, at):
        settings = mapping(entry.get("predictor"))
        name = text(settings.get("name"))
        if not name:
            yield Violation((*keys, "predictor"), f"{path(keys)}.predictor has no name")
        elif name in names:
            yield Violation((*keys, "predictor", "name"), f"two canaries are named {name!r}")
        elif name == service.predictor.get("name"):
            yield Violation((*keys, "predictor", "name"), f"the canary {name!r} has the name of the stable predictor")
        names.append(name)
        percent = integer(entry.get("trafficPercent")) or 0
        total += percent
        if not 0 <= percent <= 100:
            yield Violation((*keys, "trafficPercent"), f"{path(keys)}.trafficPercent {percent} is not from 0 to 100")
        for field in ("workerSpec", "maxReplicas", "scaleTarget", "scaleMetric", "autoScaling"):
            if settings.get(field) is not None and (settings[field] or field != "maxReplicas"):
                yield Violation(
                    (*keys, "predictor", field),
                    f"{path(keys)}.predictor.{field} is rejected: a canary has fixed replicas",
                )
        least, stable = integer(settings.get("minReplicas")), integer(service.predictor.get("minReplicas", 1))
        if least is not None and stable is not None and least > stable:
            yield Violation(
                (*keys, "predictor", "minReplicas"),
                f"{path(keys)}.predictor.minReplicas {least} is more than the stable predictor's {stable}",
            )
    if total > 100:
        yield Violation(at, f"the canaries' trafficPercent sum up to {total}, more than 100")


@KSERVE.rule(
    f"{_VALIDATION}, validateCanarySpecs: validateExactlyOneImplementation", versions=">=0.20", fields=("canary",)
)
def canary_has_one_implementation(service: Service) -> Iterator[Violation]:
    for keys, entry in each(service.spec.get("canary"), ("spec", "canary")):
        settings = mapping(entry.get("predictor"))
        yield from _implementations_of_predictor(service, (*keys, "predictor"), settings)


@KSERVE.rule(
    "pkg/controller/v1beta1/inferenceservice/reconcilers/ingress/domain.go, GenerateDomainName; kube_ingress_reconciler.go, Reconcile; "
    "kserve/kserve#3485, #4807",
    modes=(STANDARD,),
)
def host_label(service: Service) -> Iterator[Violation]:
    """KServe's default template of a host is ``{name}-{namespace}.{domain}``; an ingress has the component ``{name}-predictor`` too."""
    name, namespace = text(service.metadata.get("name")), text(service.metadata.get("namespace"))
    if not name or not namespace:
        return
    local = mapping(service.metadata.get("labels")).get("networking.kserve.io/visibility") == "cluster-local"
    local = local or service.platform.ingress_domain == "svc.cluster.local"
    labels = [(f"{name}-{namespace}", "domainTemplate")]
    if not local:
        labels += [
            (f"{name}-{keys[-1]}-{namespace}", "domainTemplate and disableIngressCreation")
            for keys, _ in service.components
        ]
    for label, settings in labels:
        if len(label) > 63:
            yield Violation(
                ("metadata", "name"),
                f"name and namespace are too long together: the host label {label} has {len(label)} characters, and 63 are allowed",
                f"{settings} under ingress of the ConfigMap inferenceservice-config",
            )
            return
