"""What Kubernetes refuses of the names, labels and pods that KServe makes of an InferenceService.

Read at Kubernetes 1.30.14 and 1.34; KServe's resource, which the API server validates first, holds the same fields.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from trivet.authoring import Keys, Resource
from trivet.contracts.quantities import SMALLEST_MEMORY, near_device, over_limit, quantity
from trivet.contracts.rules.names import (
    data_key_problem,
    env_problem,
    image_problem,
    label_problem,
    label_value_problem,
    port_name_problem,
    qualified_problem,
    relaxed_env_problem,
    subdomain_problem,
)
from trivet.contracts.rules.rule import KNATIVE, STANDARD, Container, Pod, Rules, Service
from trivet.contracts.rules.runtimes import has_no_ports, merged_resources, runtime_beside, runtime_of
from trivet.contracts.rules.selectors import requirement_problems, selector_problems
from trivet.contracts.rules.uris import MODEL_MOUNT
from trivet.contracts.values import each, integer, mapping, path, text
from trivet.contracts.violation import Violation

PODS = Rules("kubernetes", "kubernetes")

_VALIDATION = "pkg/apis/core/validation/validation.go"
_META = "apimachinery pkg/api/validation/objectmeta.go"
_LISTS = "kserve config/crd/full/serving.kserve.io_inferenceservices.yaml, x-kubernetes-list-map-keys"

_STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_HUGE_PAGES = "hugepages-"
_FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_RESOURCE_FIELDS = tuple(f"{kind}.{name}" for kind in ("limits", "requests") for name in _STANDARD_RESOURCES)
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
"""Without fileKeyRef, which the API server drops up to 1.34: before it has no such field, and 1.34 needs the feature gate EnvFiles."""
_LABELS_BY_KSERVE = ("serving.kserve.io/inferenceservice", "component")
"""Labels that KServe gives every pod (0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice/components/*.go); a Deployment's has
``app`` too (reconcilers/deployment/deployment_reconciler.go)."""
_HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")
_HEADER = re.compile(r"[-A-Za-z0-9]+")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


@PODS.rule(
    f"{_META}, ValidateObjectMetaAccessor: labels and annotations; apimachinery pkg/apis/meta/v1/validation, ValidateLabels",
    fields=("labels", "annotations"),
)
def labels_and_annotations(service: Service) -> Iterator[Violation]:
    places = [(("metadata",), service.metadata), *((pod.keys, pod.settings) for pod in service.pods)]
    for keys, holder in places:
        for kind in ("labels", "annotations"):
            for key, value in mapping(holder.get(kind)).items():
                at = (*keys, kind, key)
                name = str(key).lower() if kind == "annotations" else str(key)
                if why := qualified_problem(name):
                    yield Violation(at, f"{kind[:-1]} {key!r} has no valid key: {why}")
                elif (
                    kind == "labels"
                    and keys != ("metadata",)
                    and isinstance(value, str)
                    and (why := label_value_problem(value))
                ):
                    yield Violation(at, f"label {key}: {value!r} is not valid: {why}")


@PODS.rule(f"{_META}, ValidateObjectMetaAccessor: namespace; ValidateNamespaceName", fields=("namespace",))
def namespace(service: Service) -> Iterator[Violation]:
    name = service.metadata.get("namespace")
    if isinstance(name, str) and (why := label_problem(name)):
        yield Violation(("metadata", "namespace"), f"the namespace {name!r} is not valid: {why}")


@PODS.rule(
    f"{_VALIDATION}, ValidatePodSpec: names of other objects; pkg/apis/core/v1/conversion.go: serviceAccount is an alias",
    fields=(
        "serviceAccountName",
        "serviceAccount",
        "priorityClassName",
        "runtimeClassName",
        "imagePullSecrets",
        "volumes",
    ),
)
def names_of_other_objects(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        names = [
            ((*pod.keys, field), pod.settings.get(field))
            for field in ("serviceAccountName", "priorityClassName", "runtimeClassName")
        ]
        if service.mode == STANDARD and not pod.settings.get("serviceAccountName"):
            names.append(((*pod.keys, "serviceAccount"), pod.settings.get("serviceAccount")))
        names += [((*keys, "name"), secret.get("name")) for keys, secret in pod.each("imagePullSecrets")]
        for keys, volume in pod.each("volumes"):
            for source, field in (
                ("secret", "secretName"),
                ("configMap", "name"),
                ("persistentVolumeClaim", "claimName"),
            ):
                if isinstance(volume.get(source), dict):
                    names.append(((*keys, source, field), volume[source].get(field)))
                    if not volume[source].get(field):
                        yield Violation((*keys, source), f"{path(keys)}.{source} has no {field}")
            size = quantity(mapping(volume.get("emptyDir")).get("sizeLimit"))
            if size is not None and size < 0:
                yield Violation((*keys, "emptyDir", "sizeLimit"), f"{path(keys)}.emptyDir.sizeLimit is negative")
        for keys, name in names:
            if isinstance(name, str) and name and (why := subdomain_problem(name)):
                yield Violation(keys, f"{path(keys)} {name!r} is no name of an object: {why}")


@PODS.rule(f"{_VALIDATION}, validateContainers; {_LISTS}")
def container_names(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        own = [one for one in (*pod.containers, *pod.init_containers) if not one.merged]
        names = [(one.keys, _container_name(service, pod, one)) for one in own]
        merged = [(one.keys, text(one.spec.get("name")) or None) for one in pod.containers if one.of_a_runtime]
        for keys, name in (*merged, *names):
            if not name and service.mode == KNATIVE:
                continue  # Knative names it
            if name is not None and (why := label_problem(name)):
                yield Violation((*keys, "name"), f"the container name {name!r} is not valid: {why}")
        completed = [
            (one.keys, text(one.spec.get("name")) or _name_by_kserve(pod)) for one in pod.containers if one.merged
        ][:1]  # a second one, and a kserve-container beside a model, are refused as a second implementation
        replaces = completed and pod.keys[-1] != "workerSpec"
        beside = {one.keys for one in pod.containers if replaces and one.spec.get("name") == "kserve-container"}
        own_names = [(keys, name or "") for keys, name in names if keys not in beside]
        yield from _duplicates([*completed, *own_names], "containers are named")


def _name_by_kserve(pod: Pod) -> str:
    """The name of the container that KServe completes (0.20.0 pkg/constants, InferenceServiceContainerName, WorkerContainerName)."""
    return "worker-container" if pod.keys[-1] == "workerSpec" else "kserve-container"


def _container_name(service: Service, pod: Pod, container: Container) -> str | None:
    """The name that KServe's defaulting webhook leaves a container; None if it is no text.

    It names the first one kserve-container (pkg/apis/serving/v1beta1/*_custom.go, Default), since 0.15 only an unnamed or a single one.
    """
    name = container.spec.get("name")
    own = [one for one in pod.containers if not one.merged]
    first = bool(own) and container.keys == own[0].keys and len(pod.keys) == 2 and own == list(pod.containers)
    if first and (not name or len(own) == 1 or not service.since("0.15")):
        return "kserve-container"
    return name if isinstance(name, str) else None


@PODS.rule(f"{_VALIDATION}, ValidateVolumes; {_LISTS}", fields=("volumes",))
def volume_names(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        volumes = list(pod.each("volumes"))
        for keys, volume in volumes:
            if isinstance(volume.get("name"), str) and (why := label_problem(volume["name"])):
                yield Violation((*keys, "name"), f"the volume name {volume['name']!r} is not valid: {why}")
            sources = [name for name in volume if name != "name"]
            if len(sources) > 1:
                yield Violation(
                    keys, f"{path(keys)} has {len(sources)} sources, {' and '.join(sources)}, and Kubernetes admits one"
                )
        yield from _duplicates([(keys, text(volume.get("name"))) for keys, volume in volumes], "volumes are named")


def _duplicates(names: list[tuple[Any, str]], what: str) -> Iterator[Violation]:
    counts = Counter(name for _, name in names if name)
    seen: set[str] = set()
    for keys, name in names:
        if counts[name] > 1 and name in seen:
            yield Violation((*keys, "name"), f"{counts[name]} {what} {name!r}, and a name must be unique")
        seen.add(name)


@PODS.rule(f"{_VALIDATION}, ValidateEnv: names", versions="<1.32", fields=("env",))
def environment_names(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        for keys, variable in container.each("env"):
            name = variable.get("name")
            if isinstance(name, str) and (why := env_problem(name)):
                yield Violation((*keys, "name"), f"the environment variable {name!r} has no valid name: {why}")


@PODS.rule(
    f"{_VALIDATION}, ValidateEnv, ValidateEnvFrom; apimachinery pkg/util/validation, IsRelaxedEnvVarName",
    versions=">=1.32",
    fields=("env", "envFrom"),
)
def relaxed_environment_names(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        for keys, variable in container.each("env"):
            name = variable.get("name")
            if isinstance(name, str) and (why := relaxed_env_problem(name)):
                yield Violation((*keys, "name"), f"the environment variable {name!r} has no valid name: {why}")
        for keys, source in container.each("envFrom"):
            prefix = source.get("prefix")
            if isinstance(prefix, str) and prefix and (why := relaxed_env_problem(prefix)):
                yield Violation(
                    (*keys, "prefix"), f"{path(keys)}.prefix {prefix!r} begins no name of a variable: {why}"
                )


@PODS.rule(
    f"{_VALIDATION}, validateEnvVarValueFrom, validateSecretKeySelector, validateObjectFieldSelector",
    fields=("env", "envFrom"),
)
def environment_sources(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        for keys, variable in container.each("env"):
            source = variable.get("valueFrom")
            if isinstance(source, dict):
                yield from _environment_source(service, (*keys, "valueFrom"), variable, source)
        for keys, source in container.each("envFrom"):
            given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
            if len(given) != 1:
                yield Violation(
                    keys,
                    f"{path(keys)} must have one of configMapRef and secretRef, not {' and '.join(given) or 'none'}",
                )
            prefix = source.get("prefix")
            strict = not service.since("1.32", "kubernetes")
            if strict and isinstance(prefix, str) and prefix and (why := env_problem(prefix)):
                yield Violation(
                    (*keys, "prefix"), f"{path(keys)}.prefix {prefix!r} begins no name of a variable: {why}"
                )
            for name in given:
                if not mapping(source[name]).get("name"):
                    yield Violation((*keys, name), f"{path((*keys, name))} has no name")
                else:
                    yield from _reference((*keys, name), _without_last_dash(source[name]))


def _without_last_dash(reference: Mapping[str, Any]) -> Mapping[str, Any]:
    """ValidateSecretName takes the name for a prefix here, which may end in a dash."""
    name = text(reference.get("name"))
    return {"name": f"{name[:-1]}a"} if len(name) > 1 and name.endswith("-") else reference


def _environment_source(
    service: Service, keys: Any, variable: Mapping[str, Any], source: Mapping[str, Any]
) -> Iterator[Violation]:
    given = [name for name in _SOURCES if source.get(name) is not None]
    of_a_file = source.get("fileKeyRef") is not None and service.since("1.35", "kubernetes")
    if not given and not of_a_file:
        yield Violation(keys, f"{path(keys)} must have one of {', '.join(_SOURCES)}")
    elif variable.get("value"):
        yield Violation(keys, f"{path(keys)} stands beside a value, and Kubernetes admits one of them")
    elif len(given) > 1:
        yield Violation(keys, f"{path(keys)} has {' and '.join(given)}, and Kubernetes admits one of them")
    for name in ("configMapKeyRef", "secretKeyRef"):
        reference = source.get(name)
        if isinstance(reference, dict):
            at = (*keys, name)
            yield from _reference(at, reference)
            key = reference.get("key")
            if not key or (isinstance(key, str) and data_key_problem(key)):
                yield Violation(
                    (*at, "key"),
                    f"{path(at)}.key {key!r} is no key: {data_key_problem(str(key or '')) if key else 'it is empty'}",
                )
    field = text(mapping(source.get("fieldRef")).get("fieldPath"))
    if field and field not in _FIELD_PATHS and not field.startswith(("metadata.labels['", "metadata.annotations['")):
        yield Violation(
            (*keys, "fieldRef", "fieldPath"),
            f"{path(keys)}.fieldRef.fieldPath {field!r} is not one of {', '.join(_FIELD_PATHS)}",
        )
    resource = text(mapping(source.get("resourceFieldRef")).get("resource"))
    if resource and resource not in _RESOURCE_FIELDS and ".hugepages-" not in resource:
        yield Violation(
            (*keys, "resourceFieldRef", "resource"),
            f"{path(keys)}.resourceFieldRef.resource {resource!r} is not one of {', '.join(_RESOURCE_FIELDS)}",
        )


def _reference(keys: Any, reference: Any) -> Iterator[Violation]:
    """Of a reference to a Secret or ConfigMap by name."""
    kind = "Secret" if keys[-1].startswith("secret") else "ConfigMap"
    name = mapping(reference).get("name")
    if not name:
        yield Violation(keys, f"{path(keys)} names no {kind}")
    elif isinstance(name, str) and (why := subdomain_problem(name)):
        yield Violation((*keys, "name"), f"{path(keys)}.name {name!r} is no name of a {kind}: {why}")


@PODS.rule(
    "pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables; pkg/volume/secret and configmap, MakePayload: no such key",
    fields=("valueFrom", "volumes"),
)
def keys_of_references(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        yield from missing_keys(container.each("env"), service.applied)
    for pod in service.pods:
        for keys, volume in pod.each("volumes"):
            for source, field, kind in (("secret", "secretName", "Secret"), ("configMap", "name", "ConfigMap")):
                settings = mapping(volume.get(source))
                for at, item in each(settings.get("items"), (*keys, source, "items")):
                    reference = {"name": settings.get(field), **settings, "key": item.get("key")}
                    yield from _missing_key((*at, "key"), kind, reference, service.applied)


def missing_keys(
    variables: Iterable[tuple[Any, Mapping[str, Any]]], applied: Callable[[str, str], Resource | None]
) -> Iterator[Violation]:
    """The keys that environment variables take from Secrets and ConfigMaps that are applied, and have no such key."""
    for keys, variable in variables:
        for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            reference = mapping(mapping(variable.get("valueFrom")).get(field))
            yield from _missing_key((*keys, "valueFrom", field, "key"), kind, reference, applied)


def _missing_key(
    keys: Any, kind: str, reference: Mapping[str, Any], applied: Callable[[str, str], Resource | None]
) -> Iterator[Violation]:
    name, key = text(reference.get("name")), text(reference.get("key"))
    found = applied(kind, name) if name and key and reference.get("optional") is not True else None
    if found is None:
        return
    given = [
        each_one for field in ("data", "stringData", "binaryData") for each_one in mapping(found.document.get(field))
    ]
    if given and key not in given:
        yield Violation(keys, f"the {kind} {name} has no key {key!r}; it has {', '.join(map(str, given))}")


@PODS.rule(f"{_VALIDATION}, validateContainerPorts; {_LISTS}", fields=("ports",))
def container_ports(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        names: list[tuple[Any, str]] = []
        for keys, port in container.each("ports"):
            name, number = port.get("name"), integer(port.get("containerPort"))
            if isinstance(name, str) and name and (why := port_name_problem(name)):
                yield Violation((*keys, "name"), f"the port name {name!r} is not valid: {why}")
            by_default = number == 0 and service.mode == KNATIVE and container.keys[-2] != "initContainers"  # 8080
            if number is not None and not 1 <= number <= 65535 and not by_default:
                yield Violation((*keys, "containerPort"), f"{path(keys)}.containerPort {number} is not from 1 to 65535")
            if port.get("protocol") not in (None, "", "TCP", "UDP", "SCTP"):
                yield Violation(
                    (*keys, "protocol"), f"{path(keys)}.protocol {port['protocol']!r} is not TCP, UDP or SCTP"
                )
            names.append((keys, text(name)))
        yield from _duplicates(names, "ports are named")


@PODS.rule(
    f"{_VALIDATION}, validateContainerCommon: image; pkg/kubelet/images/image_manager.go: InvalidImageName",
    fields=("containers", "initContainers", "image"),
)
def images(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        image = container.spec.get("image")
        if image is None and not container.merged:
            yield Violation(container.keys, f"{path(container.keys)} has no image")
        elif isinstance(image, str) and (image or not container.merged) and (why := image_problem(image)):
            yield Violation(
                (*container.keys, "image"), f"{path(container.keys)}.image {image!r} is no reference of an image: {why}"
            )


@PODS.rule(
    f"{_VALIDATION}, validateProbe, validateHandler, validateLivenessProbe, validateHTTPGetAction; "
    "pkg/probe/util.go, ResolveContainerPort; knative.dev/serving pkg/reconciler/revision/resources/deploy.go, rewriteUserLivenessProbe",
    fields=_PROBES,
)
def probes(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for container in pod.containers:
            serves = len(pod.containers) == 1 or not has_no_ports(service, container)
            yield from _probes(service, container, serves=serves)
        for container in pod.init_containers:
            yield from _probes(service, container, serves=False)


def _probes(service: Service, container: Container, *, serves: bool) -> Iterator[Violation]:
    """``serves``: whether it is the container that serves, if Knative runs the pod."""
    for kind in _PROBES:
        probe = container.spec.get(kind)
        if not isinstance(probe, dict):
            continue
        yield from _probe((*container.keys, kind), kind, probe, container, service.mode, serves=serves)
        for handler in ("httpGet", "tcpSocket"):
            action = probe.get(handler)
            if (
                isinstance(action, dict)
                and action.get("port") is None
                and not (service.mode == KNATIVE and _gets_a_port(kind))
                and not _brings(service, container, kind)
            ):
                keys = (*container.keys, kind, handler)
                unknown = not service.mode and _gets_a_port(kind)
                yield Violation(keys, f"{path(keys)} has no port", _MODE_OF_PROBES if unknown else "")
        if not any(probe.get(name) is not None for name in _HANDLERS) and not _brings(service, container, kind):
            yield Violation(
                (*container.keys, kind), f"{path(container.keys)}.{kind} has none of {', '.join(_HANDLERS)}"
            )


def _gets_a_port(kind: str) -> bool:
    """Whether Knative gives such a probe a port of its own for none and for 0."""
    return kind != "startupProbe"


def _replaced_by_knative(kind: str, number: int) -> bool:
    """Whether Knative probes the port of the container that serves in place of ``number``, at which nobody looks."""
    return kind == "livenessProbe" or (number == 0 and _gets_a_port(kind))


def _brings(service: Service, container: Container, kind: str) -> bool:
    """Whether a runtime may bring the handler of a probe, or Knative does, which probes the port for readiness by default."""
    if service.mode != STANDARD and kind == "readinessProbe":
        return True
    runtime = runtime_of(service, container)
    return container.of_a_runtime and (runtime is None or kind in runtime.probes)


def _probe(
    keys: Any, kind: str, probe: Mapping[str, Any], container: Container, mode: str, *, serves: bool
) -> Iterator[Violation]:
    handlers = [name for name in _HANDLERS if probe.get(name) is not None]
    where = path(keys)
    if len(handlers) > 1:
        yield Violation(keys, f"{where} has {' and '.join(handlers)}, and Kubernetes admits one of them")
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        if (number := integer(probe.get(name))) is not None and number < 0:
            yield Violation((*keys, name), f"{where}.{name} {number} is negative")
    grace, of_grace = probe.get("terminationGracePeriodSeconds"), (*keys, "terminationGracePeriodSeconds")
    if mode == STANDARD and kind == "readinessProbe" and grace is not None:
        yield Violation(of_grace, f"{path(of_grace)} is for livenessProbe and startupProbe only")
    elif mode == STANDARD and (number := integer(grace)) is not None and number <= 0:
        yield Violation(of_grace, f"{path(of_grace)} {number} is not positive")
    if kind != "readinessProbe" and (integer(probe.get("successThreshold")) or 1) != 1:
        yield Violation((*keys, "successThreshold"), f"{where}.successThreshold must be 1, as of every {kind}")
    names = {text(port.get("name")) for _, port in container.each("ports")}
    if isinstance(probe.get("exec"), dict) and not probe["exec"].get("command"):
        yield Violation((*keys, "exec"), f"{where}.exec has no command")
    number = integer(mapping(probe.get("grpc")).get("port"))
    if number is not None and not 1 <= number <= 65535:
        yield Violation((*keys, "grpc", "port"), f"{where}.grpc.port {number} is not from 1 to 65535")
    for at, header in each(mapping(probe.get("httpGet")).get("httpHeaders"), (*keys, "httpGet", "httpHeaders")):
        if not _HEADER.fullmatch(text(header.get("name"))):
            yield Violation((*at, "name"), f"{path(at)}.name {header.get('name')!r} is no name of an HTTP header")
    for handler in ("httpGet", "tcpSocket"):
        action = probe.get(handler)
        if not isinstance(action, dict):
            continue
        at = (*keys, handler, "port")
        port = action.get("port")
        if (number := integer(port)) is not None and not 1 <= number <= 65535:
            replaced = serves and _replaced_by_knative(kind, number)
            if not replaced or mode != KNATIVE:
                setting = _MODE_OF_PROBES if replaced and not mode else ""
                yield Violation(at, f"{path(at)} {number} is not from 1 to 65535", setting)
        elif isinstance(port, str) and port.isdigit():
            yield Violation(
                at, f"{path(at)} is the text {port!r}, which Kubernetes takes for a name: write it without quotes"
            )
        elif isinstance(port, str) and port and (why := port_name_problem(port)):
            yield Violation(at, f"{path(at)} {port!r} is no name of a port: {why}")
        elif isinstance(port, str) and port and names and port not in names:
            named = ", ".join(sorted(names - {""})) or "which have no names"
            yield Violation(at, f"{path(at)} {port!r} is none of the container's ports {named}")
        if handler == "httpGet" and action.get("scheme") not in (None, "HTTP", "HTTPS"):
            yield Violation(
                (*keys, handler, "scheme"), f"{where}.httpGet.scheme {action['scheme']!r} is not HTTP or HTTPS"
            )


@PODS.rule(f"{_VALIDATION}, ValidateVolumeMounts")
def volume_mounts(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        volumes = {text(volume.get("name")) for _, volume in pod.each("volumes")}
        runtime, are_known = runtime_beside(service, pod)
        others = runtime.volumes if runtime else ()
        for container in pod.containers:
            if brought := runtime_of(service, container):
                for name in sorted(set(brought.mounts) - {*brought.volumes, *volumes, *_OF_KSERVE, ""}):
                    yield Violation(
                        container.keys,
                        f"the runtime {brought.name} mounts {name!r}, and neither it nor {path(pod.keys)} has such a volume",
                    )
        for container in (*pod.containers, *pod.init_containers):
            seen: set[str] = set()
            for keys, mount in container.each("volumeMounts"):
                name, where = text(mount.get("name")), mount.get("mountPath")
                if (
                    name
                    and are_known
                    and name not in volumes
                    and name not in others
                    and name not in (_OF_RUNTIMES if container.of_a_runtime else _OF_KSERVE)
                ):
                    known = ", ".join(sorted(map(str, volumes))) or "none"
                    yield Violation(
                        (*keys, "name"),
                        f"{path(keys)} mounts {name!r}, and the pod has no such volume (volumes: {known})",
                    )
                if where == "":
                    yield Violation((*keys, "mountPath"), f"{path(keys)}.mountPath is empty")
                if isinstance(where, str) and where:
                    if where in seen:
                        yield Violation((*keys, "mountPath"), f"{path(container.keys)} mounts two volumes at {where}")
                    seen.add(where)
                for field in ("subPath", "subPathExpr"):
                    below = text(mount.get(field))
                    if below.startswith("/") or ".." in below.split("/"):
                        yield Violation(
                            (*keys, field), f"{path(keys)}.{field} {below!r} must be relative, without '..'"
                        )


@PODS.rule(
    "kserve pkg/webhook/admission/pod/storage_initializer_injector.go, InjectStorageInitializer: a mount of its own at /mnt/models; "
    "pkg/apis/serving/v1beta1/predictor_custom.go, Default, GetStorageUri; "
    f"{_VALIDATION}, ValidateVolumeMounts: must be unique",
    fields=("volumeMounts",),
)
def mounts_over_the_model(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        if any(one.spec.get("name") == "storage-initializer" for one in pod.init_containers):
            continue  # KServe injects no other
        served = [one for one in pod.containers if _is_served(pod, one)]
        uris = [uri for one in served if (uri := _storage_uri(one)) and not uri.startswith("oci")]
        beside = [
            one for one in pod.containers if one.spec.get("name") == "transformer-container" and one not in served
        ]
        for container in (*served, *beside) if uris else ():
            for keys, mount in container.each("volumeMounts"):
                if mount.get("mountPath") == MODEL_MOUNT and mount.get("name") not in _OF_KSERVE:
                    yield Violation(
                        (*keys, "mountPath"),
                        f"{path(keys)} mounts {mount.get('name')!r} at {MODEL_MOUNT}, where KServe mounts the model from {uris[0]}",
                    )


def _is_served(pod: Pod, container: Container) -> bool:
    """Whether it is the pod's kserve-container: so KServe names a model, the first container of a transformer and an explainer, and that
    of a predictor if it is the only one or has no name."""
    name = container.spec.get("name")
    first = container is pod.containers[0] and (pod.keys[-1] != "predictor" or not name or len(pod.containers) == 1)
    return container.merged or name == "kserve-container" or first


def _storage_uri(container: Container) -> str:
    """The URI that KServe reads from a kserve-container: a model's field, or a custom container's variable."""
    if container.merged:
        return text(container.spec.get("storageUri"))
    stated = [one.get("value") for _, one in container.each("env") if one.get("name") == "STORAGE_URI"]
    return text(stated[0]) if stated else ""


_MODE_OF_PROBES = (
    "the deployment mode, since Knative gives these probes a port: annotate it, or set default_deployment_mode"
)

_OF_KSERVE = ("kserve-provision-location", "kserve-pvc-source")
"""Volumes that KServe adds to every pod with a model."""

_OF_RUNTIMES = (*_OF_KSERVE, "devshm", "shm")
"""Those and the volumes of KServe's runtimes, 0.14.1 and 0.20.0 config/runtimes."""


@PODS.rule(
    f"{_VALIDATION}, ValidateResourceRequirements, validateContainerResourceName, ValidateResourceQuantityValue",
    fields=("resources",),
)
def resources(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        stated = mapping(container.spec.get("resources"))
        for kind in ("requests", "limits"):
            keys = (*container.keys, "resources", kind)
            for name, value in _stated(stated.get(kind)).items():
                at = (*keys, name)
                if why := _resource_name_problem(str(name)):
                    yield Violation(at, f"{path(at)}: {name!r} is no resource of a container: {why}")
                    continue
                yield from _quantity_problems(at, value)
                number = quantity(value)
                if number is not None and (kind, name) == ("limits", "memory") and 0 < number < SMALLEST_MEMORY:
                    yield Violation(at, f"{path(at)} {value} is {float(number):.12g} bytes, with which nothing starts")


def _stated(quantities: Any) -> Mapping[str, Any]:
    """The resources of a list that are not null."""
    return {name: value for name, value in mapping(quantities).items() if value is not None}


def _quantity_problems(keys: Keys, value: Any) -> Iterator[Violation]:
    """What Kubernetes refuses of the quantity of a resource, whose name is the last key."""
    name, number = str(keys[-1]), quantity(value)
    if number is None:
        return
    if number < 0:
        yield Violation(keys, f"{path(keys)} {value} is negative")
    elif _is_extended(name) and number.denominator != 1:
        yield Violation(keys, f"{path(keys)} {value} is not an integer, as an extended resource must be")
    elif name.startswith(_HUGE_PAGES):
        page = quantity(name.removeprefix(_HUGE_PAGES))
        if not page or number % page:
            yield Violation(keys, f"{path(keys)} {value} is no multiple of the size of the pages")


def _lonely_huge_pages(names: Iterable[Any]) -> str:
    """The first resource of huge pages among ``names``, if neither cpu nor memory is there; else empty."""
    stated = [str(name) for name in names]
    huge = next((name for name in stated if name.startswith(_HUGE_PAGES)), "")
    return "" if {"cpu", "memory"}.intersection(stated) else huge


def _is_extended(name: str) -> bool:
    """Whether a resource is none of Kubernetes' own (pkg/apis/core/v1/helper/helpers.go, IsNativeResource)."""
    return "/" in name and "kubernetes.io/" not in name


@PODS.rule(
    f"{_VALIDATION}, validateOverhead, ValidateContainerResourceRequirements", modes=(STANDARD,), fields=("overhead",)
)
def overhead(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        stated, keys = _stated(pod.settings.get("overhead")), (*pod.keys, "overhead")
        if huge := _lonely_huge_pages(stated):
            yield Violation(keys, f"{path(keys)} has {huge}, which needs cpu or memory beside it")
        for name, value in stated.items():
            at = (*keys, name)
            if why := _resource_name_problem(str(name)):
                yield Violation(at, f"{path(at)}: {name!r} is no resource: {why}")
            else:
                yield from _quantity_problems(at, value)


@PODS.rule(
    f"{_VALIDATION}, validatePodResources, validateResourceRequirements; before 1.34 the API server drops the field",
    versions=">=1.34",
    modes=(STANDARD,),
    fields=("resources",),
)
def resources_of_a_pod(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        stated, at = mapping(pod.settings.get("resources")), (*pod.keys, "resources")
        if stated.get("claims"):
            yield Violation((*at, "claims"), f"{path(at)}.claims is for containers only")
        requests, limits = _stated(stated.get("requests")), _stated(stated.get("limits"))
        for kind, quantities in (("requests", requests), ("limits", limits)):
            for name, value in quantities.items():
                where = (*at, kind, name)
                if name not in ("cpu", "memory") and not str(name).startswith(_HUGE_PAGES):
                    yield Violation(
                        where, f"{path(where)}: a pod has no resource {name!r}, only cpu, memory and hugepages"
                    )
                else:
                    yield from _quantity_problems(where, value)
        if huge := _lonely_huge_pages([*requests, *limits]):
            yield Violation(at, f"{path(at)} has {huge}, which needs cpu or memory beside it")
        for name, request in requests.items():
            where, asked, most = (*at, "requests", name), quantity(request), quantity(limits.get(name))
            if not str(name).startswith(_HUGE_PAGES) or asked is None or asked < 0:
                continue
            if name not in limits:
                yield Violation(where, f"{path(where)}: {name} needs a limit too, equal to the request {request}")
            elif most is not None and asked != most >= 0:
                yield Violation(
                    where, f"{path(where)}: the request {request} of {name} must equal its limit {limits[name]}"
                )
        for name in over_limit(requests, limits):
            if str(name).startswith(_HUGE_PAGES):
                continue
            where = (*at, "requests", name)
            yield Violation(
                where, f"{path(where)}: the request of {requests[name]} {name} is over the limit of {limits[name]}"
            )


@lru_cache(maxsize=1024)
def _resource_name_problem(name: str) -> str:
    prefix, slash, _ = name.rpartition("/")
    if why := qualified_problem(name):
        return why
    if device := near_device(name):
        return f"no node has it; did you mean {device}?"
    if not slash:
        fits = name in _STANDARD_RESOURCES or name.startswith(_HUGE_PAGES)
        return (
            ""
            if fits
            else f"without a domain there are only {', '.join(_STANDARD_RESOURCES)} and hugepages; a GPU is nvidia.com/gpu"
        )
    return f"{prefix} is reserved" if prefix.startswith("requests.") else ""


@PODS.rule(f"{_VALIDATION}, ValidateResourceRequirements: requests and limits", fields=("resources",))
def requests_within_limits(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        first = True
        for container in (*pod.containers, *pod.init_containers):
            added, whose, setting = merged_resources(service, pod, container, first=first)
            first = False
            yield from _requests_within_limits(container, added, whose, setting)


def _requests_within_limits(
    container: Container, added: Mapping[str, Mapping[str, Any]], whose: str, setting: str
) -> Iterator[Violation]:
    stated = mapping(container.spec.get("resources"))
    requests, limits = mapping(stated.get("requests")), mapping(stated.get("limits"))
    all_requests, all_limits = {**added.get("requests", {}), **requests}, {**added.get("limits", {}), **limits}
    stated_or_added = {**requests, **limits, **all_requests, **all_limits}
    huge = _lonely_huge_pages(stated_or_added)
    if huge and (added or not container.of_a_runtime):
        at = (*container.keys, "resources")
        yield Violation(at, f"{path(at)} has {huge}, which needs cpu or memory beside it")
    over = set(over_limit(all_requests, all_limits))
    for name in {**requests, **limits}:
        at = (*container.keys, "resources", "requests" if name in requests else "limits", name)
        request, limit = all_requests.get(name), all_limits.get(name)
        asked, most = quantity(request), quantity(limit)
        if (most is not None and most < 0) or (asked is not None and asked < 0):
            continue
        of_request = "" if name in requests or name not in added.get("requests", {}) else f" {whose}"
        of_limit = "" if name in limits or limit is None else f" {whose}"
        if _is_extended(str(name)) or str(name).startswith(_HUGE_PAGES):
            if request is not None and limit is None:
                yield Violation(
                    at, f"{path(at)}: the extended resource {name} needs a limit too, equal to the request {request}"
                )
            elif asked is not None and most is not None and asked != most:
                yield Violation(
                    at,
                    f"{path(at)}: the request {request} of the extended resource {name} must equal its limit {limit}",
                )
        elif name in over:
            yield Violation(
                at,
                f"{path(at)}: the request of {request} {name}{of_request} is over the limit of {limit}{of_limit}",
                setting if of_request or of_limit else "",
            )


@PODS.rule(f"{_VALIDATION}, ValidateTolerations, validateTaintEffect", fields=("tolerations",))
def tolerations(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for keys, toleration in pod.each("tolerations"):
            yield from toleration_violations(keys, toleration)


def toleration_violations(keys: Keys, toleration: Mapping[str, Any]) -> Iterator[Violation]:
    """What Kubernetes refuses of a toleration of a pod."""
    operator, effect = toleration.get("operator") or "Equal", toleration.get("effect") or ""
    where = path(keys)
    if isinstance(key := toleration.get("key"), str) and key and (why := qualified_problem(key)):
        yield Violation((*keys, "key"), f"{where}.key {key!r} is no label: {why}")
    value = text(toleration.get("value"))
    if operator == "Equal" and (why := label_value_problem(value)):
        yield Violation((*keys, "value"), f"{where}.value {value!r} is no value of a label: {why}")
    if operator not in ("Equal", "Exists", "Lt", "Gt"):
        yield Violation((*keys, "operator"), f"{where}.operator {operator!r} is not Equal or Exists")
    elif operator == "Exists" and toleration.get("value"):
        yield Violation((*keys, "value"), f"{where} has a value, which the operator Exists excludes")
    elif not toleration.get("key") and operator != "Exists":
        yield Violation(keys, f"{where} has no key, so its operator must be Exists")
    if effect and effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        yield Violation(
            (*keys, "effect"), f"{where}.effect {effect!r} is not NoSchedule, PreferNoSchedule or NoExecute"
        )
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        yield Violation((*keys, "tolerationSeconds"), f"{where}.tolerationSeconds needs the effect NoExecute")


@PODS.rule(f"{_VALIDATION}, ValidatePodSpec: nodeSelector", fields=("nodeSelector",))
def node_selector(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for key, value in mapping(pod.settings.get("nodeSelector")).items():
            why = qualified_problem(str(key)) or (label_value_problem(value) if isinstance(value, str) else "")
            if why:
                yield Violation(
                    (*pod.keys, "nodeSelector", key),
                    f"{path(pod.keys)}.nodeSelector {key}: {value!r} is no label: {why}",
                )


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "dnsPolicy": ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"),
    "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
    "terminationMessagePolicy": ("File", "FallbackToLogsOnError"),
    "preemptionPolicy": ("PreemptLowerPriority", "Never"),
}


@PODS.rule(f"{_VALIDATION}, validateDNSPolicy, validatePullPolicy, validateContainerCommon", fields=tuple(_CHOICES))
def choices(service: Service) -> Iterator[Violation]:
    holders = [(pod.keys, pod.settings) for pod in service.pods] + [(one.keys, one.spec) for one in service.containers]
    for keys, holder in holders:
        for name, allowed in _CHOICES.items():
            value = holder.get(name)
            if isinstance(value, str) and value and value not in allowed:
                yield Violation((*keys, name), f"{path(keys)}.{name} {value!r} is not one of {', '.join(allowed)}")


@PODS.rule("pkg/volume/emptydir/empty_dir.go, SetUpAt: unknown storage medium", modes=(STANDARD,), fields=("emptyDir",))
def empty_dir_medium(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for keys, volume in pod.each("volumes"):
            medium = mapping(volume.get("emptyDir")).get("medium")
            if isinstance(medium, str) and medium not in ("", "Memory") and not medium.startswith("HugePages"):
                yield Violation(
                    (*keys, "emptyDir", "medium"), f"{path(keys)}.emptyDir.medium {medium!r} is not Memory or HugePages"
                )


_OF_A_DEPLOYMENT: Mapping[str, Callable[[Any], bool]] = {
    "restartPolicy": lambda value: value in ("", "Always"),
    "activeDeadlineSeconds": lambda value: False,
    "terminationGracePeriodSeconds": lambda value: (integer(value) or 0) >= 0,
}


@PODS.rule(
    "pkg/apis/apps/validation/validation.go, ValidatePodTemplateSpecForReplicaSet",
    modes=(STANDARD,),
    fields=tuple(_OF_A_DEPLOYMENT),
)
def pod_of_a_deployment(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for name, admits in _OF_A_DEPLOYMENT.items():
            value = pod.settings.get(name)
            if value is not None and not admits(value):
                yield Violation((*pod.keys, name), f"{path(pod.keys)}.{name} {value!r} is not admitted in a Deployment")


@PODS.rule(
    f"{_VALIDATION}, validateContainers: restartPolicy; since 1.34 the API server drops the field",
    versions="<1.34",
    modes=(STANDARD,),
    fields=("restartPolicy",),
)
def restart_policy_of_a_container(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        if container.keys[-2] != "initContainers" and container.spec.get("restartPolicy"):
            where = (*container.keys, "restartPolicy")
            yield Violation(where, f"{path(where)} is for init containers only")


@PODS.rule(
    "pkg/apis/apps/validation/validation.go, ValidateRollingUpdateDeployment",
    modes=(STANDARD,),
    fields=("deploymentStrategy",),
)
def rolling_update(service: Service) -> Iterator[Violation]:
    if not service.since("0.13"):  # which drops the field
        return
    for pod in service.pods:
        strategy = mapping(pod.settings.get("deploymentStrategy"))
        if strategy.get("type") not in (None, "", "RollingUpdate", "Recreate"):
            where = (*pod.keys, "deploymentStrategy", "type")
            yield Violation(where, f"{path(where)} {strategy['type']!r} is not RollingUpdate or Recreate")
        rolling = mapping(strategy.get("rollingUpdate"))
        keys = (*pod.keys, "deploymentStrategy", "rollingUpdate")
        for name in ("maxSurge", "maxUnavailable"):
            value = rolling.get(name)
            if isinstance(value, str) and not re.fullmatch(r"\d+%", value):
                yield Violation((*keys, name), f"{path(keys)}.{name} {value!r} is no percentage such as 25%")
            elif (number := integer(value)) is not None and number < 0:
                yield Violation((*keys, name), f"{path(keys)}.{name} {number} is negative")
        most = rolling.get("maxUnavailable")
        if isinstance(most, str) and re.fullmatch(r"\d+%", most) and int(most[:-1]) > 100:
            yield Violation((*keys, "maxUnavailable"), f"{path(keys)}.maxUnavailable {most} is over 100%")
        if all(rolling.get(name) in (0, "0%") for name in ("maxSurge", "maxUnavailable")):
            yield Violation(keys, f"{path(keys)}: maxSurge and maxUnavailable may not both be 0")


@PODS.rule(
    "kserve pkg/controller/v1beta1/inferenceservice/reconcilers/deployment: the label app is isvc.NAME-COMPONENT",
    modes=(STANDARD,),
)
def label_of_a_deployment(service: Service) -> Iterator[Violation]:
    name = text(service.metadata.get("name"))
    for keys, _ in service.components:
        label = f"isvc.{name}-{keys[-1]}"
        if len(label) > 63:
            yield Violation(
                ("metadata", "name"),
                f"the name is too long: the label {label} of its pods has {len(label)} characters, and 63 are allowed",
            )
            return


@PODS.rule(
    f"{_VALIDATION}, validatePodSpecSecurityContext; pkg/kubelet/kuberuntime/security_context.go, verifyRunAsNonRoot",
    fields=("securityContext",),
)
def security_contexts(service: Service) -> Iterator[Violation]:
    holders = [(pod.keys, pod.settings) for pod in service.pods] + [(one.keys, one.spec) for one in service.containers]
    for keys, holder in holders:
        context = mapping(holder.get("securityContext"))
        at = (*keys, "securityContext")
        for name in ("runAsUser", "runAsGroup", "fsGroup"):
            if (number := integer(context.get(name))) is not None and not 0 <= number <= 2**31 - 1:
                yield Violation((*at, name), f"{path(at)}.{name} {number} is not from 0 to {2**31 - 1}")
        profile = mapping(context.get("seccompProfile"))
        kind = profile.get("type")
        if kind == "Localhost" and not profile.get("localhostProfile"):
            yield Violation(
                (*at, "seccompProfile"), f"{path(at)}.seccompProfile of type Localhost has no localhostProfile"
            )
        elif isinstance(kind, str) and kind not in ("Localhost", "RuntimeDefault", "Unconfined"):
            yield Violation(
                (*at, "seccompProfile", "type"),
                f"{path(at)}.seccompProfile.type {kind!r} is not Localhost, RuntimeDefault or Unconfined",
            )
    for pod in service.pods:
        for container in (*pod.containers, *pod.init_containers):
            yield from _root(service, pod, container)
            yield from _privileged(service, container)


def _privileged(service: Service, container: Container) -> Iterator[Violation]:
    """Of a container that does not escalate and has what needs it: what a model does not state is its runtime's (utils/utils.go,
    MergeRuntimeContainers; a list replaces another). Knative drops or refuses ``privileged`` before, of what is merged too."""
    own, runtime = mapping(container.spec.get("securityContext")), runtime_of(service, container)
    at = (*container.keys, "securityContext")
    theirs = runtime.security if runtime else {}
    for name, needs in _NEED_ESCALATION.items():
        field = name.partition(".")[0]
        may_be_merged = field != "privileged" or service.mode == STANDARD
        given, stated = needs(own), own.get("allowPrivilegeEscalation")
        whole = theirs if may_be_merged else {}
        needed = needs(whole) if given is None else given
        escalates = whole.get("allowPrivilegeEscalation") if stated is None else stated
        if not needed or escalates is not False:
            continue
        has = f"which the container of the runtime {runtime.name} has" if runtime else ""
        if given and stated is False:
            yield Violation((*at, field), f"{path(at)}: {name} excludes allowPrivilegeEscalation: false")
        elif given:
            yield Violation((*at, field), f"{path(at)}.{name} excludes allowPrivilegeEscalation: false, {has}")
        elif stated is False:
            where = (*at, "allowPrivilegeEscalation")
            yield Violation(where, f"{path(where)} false excludes {name}, {has}")
        else:
            yield Violation(
                container.keys, f"{path(container.keys)}: {name} excludes allowPrivilegeEscalation: false, {has}"
            )


def _added_capabilities(context: Mapping[str, Any]) -> bool | None:
    added = mapping(context.get("capabilities")).get("add")
    return "CAP_SYS_ADMIN" in added if isinstance(added, list) and added else None


_NEED_ESCALATION: Mapping[str, Callable[[Mapping[str, Any]], bool | None]] = {
    "privileged": lambda context: None if context.get("privileged") is None else context["privileged"] is True,
    "capabilities.add CAP_SYS_ADMIN": _added_capabilities,
}
"""What Kubernetes refuses beside allowPrivilegeEscalation: false (ValidateSecurityContext, 1.30.14 and 1.34.4): whether a securityContext
has it, and None if it does not say."""


def _root(service: Service, pod: Pod, container: Container) -> Iterator[Violation]:
    """Of a container that runs as root against runAsNonRoot: what a model does not state is its runtime's (utils/utils.go,
    MergeRuntimeContainers), and what neither states its pod's. Of a runtime that is not known only a model that states both is judged."""
    own, of_pod = (mapping(holder.get("securityContext")) for holder in (container.spec, pod.settings))
    runtime = runtime_of(service, container)
    holders: list[tuple[Mapping[str, Any], Keys]] = [(own, container.keys)]
    if runtime is not None and runtime.formats is not None:
        holders.append((runtime.security, ()))
    if len(holders) > 1 or not container.of_a_runtime:
        holders.append((of_pod, pod.keys))
    users = [one for one in holders if one[0].get("runAsUser") is not None]
    of_non_root = [one for one in holders if one[0].get("runAsNonRoot") is not None]
    if not users or not of_non_root or users[0][0]["runAsUser"] != 0 or of_non_root[0][0]["runAsNonRoot"] is not True:
        return
    theirs = f" of the runtime {runtime.name}" if runtime else ""
    places = [
        (*keys, "securityContext", field)
        for (_, keys), field in ((users[0], "runAsUser"), (of_non_root[0], "runAsNonRoot"))
        if keys
    ]
    user, non_root = ("" if keys else theirs for _, keys in (users[0], of_non_root[0]))
    yield Violation(
        places[0] if places else container.keys,
        f"{path(container.keys)}: runAsUser 0{user} is root, which runAsNonRoot{non_root} excludes: "
        "the kubelet does not start the container",
    )


_NODE_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_PREFERRED, _REQUIRED = (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("preferred", "required"))


@PODS.rule(
    f"{_VALIDATION}, ValidateNodeSelector, ValidatePreferredSchedulingTerms, validatePodAffinityTerm",
    fields=("affinity",),
)
def affinity(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        stated, at = mapping(pod.settings.get("affinity")), (*pod.keys, "affinity")
        yield from _node_affinity((*at, "nodeAffinity"), mapping(stated.get("nodeAffinity")))
        for kind in ("podAffinity", "podAntiAffinity"):
            yield from _pod_affinity((*at, kind), mapping(stated.get(kind)))


def _node_affinity(keys: Any, affinity: Mapping[str, Any]) -> Iterator[Violation]:
    required = affinity.get(_REQUIRED)
    at = (*keys, _REQUIRED, "nodeSelectorTerms")
    listed = mapping(required).get("nodeSelectorTerms")
    if listed == []:
        yield Violation(at, f"{path(at)} is empty, and must have at least one term")
    terms = list(each(listed, at))
    for where, weighted in each(affinity.get(_PREFERRED), (*keys, _PREFERRED)):
        yield from _weight(where, weighted)
        terms.append(((*where, "preference"), mapping(weighted.get("preference"))))
    for where, term in terms:
        for expression_keys, expression in each(term.get("matchExpressions"), (*where, "matchExpressions")):
            yield from requirement_problems(expression_keys, expression, _NODE_OPERATORS)


def _pod_affinity(keys: Any, affinity: Mapping[str, Any]) -> Iterator[Violation]:
    for at, weighted in each(affinity.get(_PREFERRED), (*keys, _PREFERRED)):
        yield from _weight(at, weighted)
    for at, term in _affinity_terms(keys, affinity):
        if why := qualified_problem(text(term.get("topologyKey"))):
            yield Violation(
                (*at, "topologyKey"), f"{path(at)}.topologyKey {term.get('topologyKey')!r} is no label: {why}"
            )
        for name in ("labelSelector", "namespaceSelector"):
            yield from selector_problems((*at, name), term.get(name))
        names = term.get("namespaces")
        for index, name in enumerate(names if isinstance(names, list) else ()):
            if isinstance(name, str) and (why := label_problem(name)):
                yield Violation((*at, "namespaces", index), f"{path(at)}.namespaces: {name!r} is no namespace: {why}")


def _affinity_terms(keys: Keys, affinity: Mapping[str, Any]) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """The terms of an affinity between pods, required and preferred."""
    yield from each(affinity.get(_REQUIRED), (*keys, _REQUIRED))
    for at, weighted in each(affinity.get(_PREFERRED), (*keys, _PREFERRED)):
        yield (*at, "podAffinityTerm"), mapping(weighted.get("podAffinityTerm"))


def _weight(keys: Any, weighted: Mapping[str, Any]) -> Iterator[Violation]:
    if (weight := integer(weighted.get("weight"))) is not None and not 1 <= weight <= 100:
        yield Violation((*keys, "weight"), f"{path(keys)}.weight {weight} is not from 1 to 100")


@PODS.rule(
    f"{_VALIDATION}, ValidateMatchLabelKeysAndMismatchLabelKeys; before 1.31 the API server drops the fields",
    versions=">=1.31",
    fields=("matchLabelKeys", "mismatchLabelKeys"),
)
def label_keys_of_affinity(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        stated, at = mapping(pod.settings.get("affinity")), (*pod.keys, "affinity")
        for kind in ("podAffinity", "podAntiAffinity"):
            for keys, term in _affinity_terms((*at, kind), mapping(stated.get(kind))):
                yield from _label_keys(keys, term, "matchLabelKeys")
                yield from _label_keys(keys, term, "mismatchLabelKeys")
                yield from _merged_label_keys(service, pod, keys, term)
                excluded = {key for _, key in _texts(term.get("mismatchLabelKeys"), ())}
                for at_key, key in _texts(term.get("matchLabelKeys"), (*keys, "matchLabelKeys")):
                    if key in excluded:
                        yield Violation(at_key, f"{path(keys)} has {key!r} in matchLabelKeys and mismatchLabelKeys")


@PODS.rule(
    f"{_VALIDATION}, ValidateMatchLabelKeysInTopologySpread; since 1.34 ValidateMatchLabelKeysAndMismatchLabelKeys",
    fields=("matchLabelKeys",),
)
def label_keys_of_topology_spread(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for keys, constraint in pod.each("topologySpreadConstraints"):
            yield from _label_keys(keys, constraint, "matchLabelKeys")
            if service.since("1.34", "kubernetes"):
                yield from _merged_label_keys(service, pod, keys, constraint)
            else:
                selected = {*_selected_labels(constraint)}
                for at, key in _texts(constraint.get("matchLabelKeys"), (*keys, "matchLabelKeys")):
                    if key in selected:
                        yield _in_the_selector_too(at, key)


def _label_keys(keys: Keys, holder: Mapping[str, Any], field: str) -> Iterator[Violation]:
    at = (*keys, field)
    listed = list(_texts(holder.get(field), at))
    if listed and holder.get("labelSelector") is None:
        yield Violation(at, f"{path(at)} needs a labelSelector beside it")
        return
    for where, key in listed:
        if why := qualified_problem(key):
            yield Violation(where, f"{path(at)}: {key!r} is no label: {why}")


def _merged_label_keys(service: Service, pod: Pod, keys: Keys, holder: Mapping[str, Any]) -> Iterator[Violation]:
    """Of ``matchLabelKeys`` whose key the selector has too.

    The API server first adds an expression to the selector for each of the keys that the pod has as a label, and refuses an expression
    whose key the selector has already (pkg/registry/core/pod/strategy.go, applyLabelKeysToLabelSelector).
    """
    selected, labels = _selected_labels(holder), _labels_of(service, pod)
    for at, key in _texts(holder.get("matchLabelKeys"), (*keys, "matchLabelKeys")):
        repeated = selected.count(key) > 1  # a key stands in matchLabels once, so an expression repeats it
        if repeated or (key in selected and key in labels):
            yield _in_the_selector_too(at, key)


def _in_the_selector_too(keys: Keys, key: str) -> Violation:
    return Violation(
        keys, f"{path(keys[:-1])}: {key!r} is in labelSelector too, and Kubernetes admits it in one of them"
    )


def _selected_labels(holder: Mapping[str, Any]) -> list[str]:
    """The keys of a labelSelector, as often as they stand there."""
    selector = mapping(holder.get("labelSelector"))
    expressions = each(selector.get("matchExpressions"), ())
    return [*mapping(selector.get("matchLabels")), *(text(one.get("key")) for _, one in expressions)]


def _labels_of(service: Service, pod: Pod) -> set[str]:
    """The labels that a pod certainly has: the service's, its component's and KServe's; its runtime can bring more."""
    of_component = service.predictor if pod.keys[-1] == "workerSpec" else pod.settings
    stated = [mapping(holder.get("labels")) for holder in (service.metadata, of_component)]
    own = {key for labels in stated for key, value in labels.items() if value is not None}
    return {*own, *_LABELS_BY_KSERVE, *(("app",) if service.mode == STANDARD else ())}


def _texts(value: Any, keys: Keys) -> Iterator[tuple[Keys, str]]:
    """The texts in a list, with their places."""
    if isinstance(value, list):
        yield from (((*keys, index), one) for index, one in enumerate(value) if isinstance(one, str))


@PODS.rule(f"{_VALIDATION}, validateTopologySpreadConstraints", fields=("topologySpreadConstraints",))
def topology_spread(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for keys, constraint in pod.each("topologySpreadConstraints"):
            for name in ("maxSkew", "minDomains"):
                if (number := integer(constraint.get(name))) is not None and number < 1:
                    yield Violation((*keys, name), f"{path(keys)}.{name} {number} is less than 1")
            when, key = constraint.get("whenUnsatisfiable"), constraint.get("topologyKey")
            if isinstance(when, str) and when not in ("DoNotSchedule", "ScheduleAnyway"):
                yield Violation(
                    (*keys, "whenUnsatisfiable"),
                    f"{path(keys)}.whenUnsatisfiable {when!r} is not DoNotSchedule or ScheduleAnyway",
                )
            elif when == "ScheduleAnyway" and constraint.get("minDomains") is not None:
                yield Violation((*keys, "minDomains"), f"{path(keys)}.minDomains needs whenUnsatisfiable DoNotSchedule")
            if key == "":
                yield Violation((*keys, "topologyKey"), f"{path(keys)}.topologyKey is empty")
            for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
                if isinstance(constraint.get(name), str) and constraint[name] not in ("Honor", "Ignore"):
                    yield Violation((*keys, name), f"{path(keys)}.{name} {constraint[name]!r} is not Honor or Ignore")
            yield from selector_problems((*keys, "labelSelector"), constraint.get("labelSelector"))
