"""What Knative's webhook refuses of the Knative Service that KServe makes of a component in Knative (Serverless) mode, and what its
CustomResourceDefinition drops.

Read at Knative Serving 0.42.2 (Knative 1.15) and 0.48.1 (Knative 1.21); what differs carries the version in which it came. KServe's own
containers are injected into the pods, which Knative's webhook does not see.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import Keys, Replacement
from trivet.contracts.quantities import quantity
from trivet.contracts.rules.rule import KNATIVE, Container, Rules, Service
from trivet.contracts.rules.runtimes import has_no_ports, runtime_beside, runtime_of
from trivet.contracts.values import each, integer, mapping, parsed_integer, path, text
from trivet.contracts.violation import Violation

REVISION = Rules("knative", "knative serving")
DROPPED = Rules("knative", "knative serving")
"""Fields that Knative's CustomResourceDefinition does not have: the API server drops them, and the service is deployed without them."""

_SPEC = "pkg/apis/serving/k8s_validation.go"
_MASK = "pkg/apis/serving/fieldmask.go"
_CRD = "config/core/300-resources/service.yaml, spec.template.spec"
_ANNOTATIONS = "pkg/apis/autoscaling/annotation_validation.go"
_MODES = (KNATIVE,)

_FEATURES_MAP = "config-features"

_NEVER = (
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "nodeName",
    "hostname",
    "subdomain",
    "priority",
    "readinessGates",
    "overhead",
    "preemptionPolicy",
    "setHostnameAsFQDN",
    "os",
    "hostUsers",
    "hostnameOverride",
    "resources",
    "schedulingGates",
    "resourceClaims",
    "serviceAccount",
)
"""Fields of a pod that Knative's CRD does not have (config/core/300-resources/service.yaml): the API server drops them."""

_OPTIONAL = (
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "priority",
    "preemptionPolicy",
    "setHostnameAsFQDN",
    "os",
    "hostUsers",
    "hostnameOverride",
    "resources",
)
"""Those of them that are a pointer in Go: KServe passes on a zero value too."""

_ON_REQUEST = {
    "affinity": "kubernetes.podspec-affinity",
    "topologySpreadConstraints": "kubernetes.podspec-topologyspreadconstraints",
    "hostAliases": "kubernetes.podspec-hostaliases",
    "nodeSelector": "kubernetes.podspec-nodeselector",
    "runtimeClassName": "kubernetes.podspec-runtimeclassname",
    "tolerations": "kubernetes.podspec-tolerations",
    "securityContext": "kubernetes.podspec-securitycontext",
    "shareProcessNamespace": "kubernetes.podspec-shareprocessnamespace",
    "priorityClassName": "kubernetes.podspec-priorityclassname",
    "schedulerName": "kubernetes.podspec-schedulername",
    "initContainers": "kubernetes.podspec-init-containers",
    "dnsPolicy": "kubernetes.podspec-dnspolicy",
    "dnsConfig": "kubernetes.podspec-dnsconfig",
}
"""Fields of a pod that Knative admits when an administrator enables the feature, which none is by default."""

_SECURE_DEFAULTS = "secure-pod-defaults"
"""The feature that admits a pod's securityContext too, as far as ValidatePodSecurityContext goes."""

_NOT_EVEN_EMPTY = ("affinity", "dnsConfig", "shareProcessNamespace", "runtimeClassName", "securityContext")
"""Those of them that Knative rejects as empty mappings, as false or as an empty text too: KServe passes these on."""

_HOST = {
    "hostIPC": "kubernetes.podspec-hostipc",
    "hostPID": "kubernetes.podspec-hostpid",
    "hostNetwork": "kubernetes.podspec-hostnetwork",
}
"""The same since Knative 1.16; before it, they are dropped."""

_VOLUMES = {
    "persistentVolumeClaim": ("kubernetes.podspec-persistent-volume-claim", "0"),
    "hostPath": ("kubernetes.podspec-volumes-hostpath", "1.17"),
    "csi": ("kubernetes.podspec-volumes-csi", "1.18"),
    "image": ("kubernetes.podspec-volumes-image", "1.19"),
}
"""Volumes beyond those that are always admitted: feature, and the version of Knative that has it."""

_RESERVED_PORTS = (8008, 8012, 8013, 8022, 9090, 9091)
_RESERVED_ENVIRONMENT = ("PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION")
_RESERVED_PATHS = ("/", "/dev", "/dev/log")

_DURATION = re.compile(r"([+-]?)((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+|0")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GROUP = "autoscaling.knative.dev"


def _setting(service: Service, feature: str) -> str | None:
    """What would settle whether a feature is enabled; None if it is, empty if it is not."""
    found = service.platform.find("ConfigMap", _FEATURES_MAP, "knative-serving")
    if found is None:
        return (
            f"the feature {feature} in the ConfigMap {_FEATURES_MAP} of Knative, which is disabled by default: "
            "put the ConfigMap among the paths"
        )
    value = mapping(found.document.get("data")).get(feature)
    return None if str(value).lower() in ("enabled", "allowed") else ""


def _on_request(service: Service, keys: Any, what: str, feature: str) -> Iterator[Violation]:
    setting = _setting(service, feature)
    if setting is not None:
        yield Violation(keys, f"Knative rejects {what} without the feature {feature}", setting)


@DROPPED.rule(_CRD, modes=_MODES, fields=(*_NEVER, *_HOST))
def dropped_pod_fields(service: Service) -> Iterator[Violation]:
    host = () if service.since("1.16", "knative") else tuple(_HOST)
    for pod in service.pods:
        given = {name: pod.settings.get(name) for name in _NEVER}
        names = [name for name, value in given.items() if value or (value is not None and name in _OPTIONAL)]
        names += [name for name in host if pod.settings.get(name)]
        for name in names:
            yield Violation((*pod.keys, name), f"Knative has no field for {path(pod.keys)}.{name}: it is dropped")


@REVISION.rule(f"{_MASK}, PodSpecMask", modes=_MODES, fields=("automountServiceAccountToken",))
def pod_fields(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        if pod.settings.get("automountServiceAccountToken") is True:
            yield Violation(
                (*pod.keys, "automountServiceAccountToken"),
                f"Knative admits {path(pod.keys)}.automountServiceAccountToken only as false",
            )


@REVISION.rule(
    f"{_MASK}, PodSpecMask: features; pkg/apis/config/features.go", modes=_MODES, fields=(*_ON_REQUEST, *_HOST)
)
def pod_fields_on_request(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for name, feature in (_ON_REQUEST | (_HOST if service.since("1.16", "knative") else {})).items():
            value = pod.settings.get(name)
            if isinstance(value, dict):
                value = {
                    key: member for key, member in value.items() if member is not None
                }  # the API server drops a null
            if value is None or (not value and name not in _NOT_EVEN_EMPTY):
                continue
            if name == "securityContext" and _setting(service, _SECURE_DEFAULTS) is None:
                continue
            yield from _on_request(service, (*pod.keys, name), f"{path(pod.keys)}.{name}", feature)


@REVISION.rule(f"{_MASK}, VolumeSourceMask", modes=_MODES, fields=("volumes",))
def volumes(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        runtime, known = runtime_beside(service, pod)
        mounted = {
            text(mount.get("name"))
            for container in (*pod.containers, *pod.init_containers)
            for _, mount in container.each("volumeMounts")
        }
        mounted.update(runtime.mounts if runtime else ())
        for keys, volume in pod.each("volumes"):
            for source in volume:
                if source in ("name", "secret", "configMap", "projected", "emptyDir"):
                    continue
                where = f"a volume of {source} ({path(keys)})"
                feature, since = _VOLUMES.get(source, ("", ""))
                if feature and service.since(since, "knative"):
                    yield from _on_request(service, (*keys, source), where, feature)
                else:
                    yield Violation((*keys, source), f"Knative rejects {where}")
            if not any(value is not None for source, value in volume.items() if source != "name"):
                yield Violation(keys, f"Knative rejects {path(keys)}, which has no source such as emptyDir")
            claim = volume.get("persistentVolumeClaim")
            if isinstance(claim, dict) and claim.get("readOnly") is not True:
                yield from _on_request(
                    service,
                    (*keys, "persistentVolumeClaim"),
                    f"a claim that is not readOnly ({path(keys)})",
                    "kubernetes.podspec-persistent-volume-write",
                )
            medium = mapping(volume.get("emptyDir")).get("medium")
            if medium not in (None, "", "Memory"):
                yield Violation((*keys, "emptyDir", "medium"), f"{path(keys)}.emptyDir.medium {medium!r} is not Memory")
            if known and text(volume.get("name")) not in mounted:
                yield Violation(
                    (*keys, "name"), f"Knative rejects the volume {volume.get('name')!r}, which no container mounts"
                )


@REVISION.rule(
    f"{_SPEC}, validateProjectedVolumeSource; {_MASK}, VolumeProjectionMask", modes=_MODES, fields=("projected",)
)
def projected_sources(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for volume, settings in pod.each("volumes"):
            sources = mapping(settings.get("projected")).get("sources")
            for keys, source in each(sources, (*volume, "projected", "sources")):
                if not any(source.get(name) is not None for name in _PROJECTED):
                    given = " and ".join(source) or "nothing"
                    yield Violation(
                        keys, f"Knative rejects {path(keys)} of {given}: it must have one of {', '.join(_PROJECTED)}"
                    )


_PROJECTED = ("secret", "configMap", "serviceAccountToken", "downwardAPI")


@REVISION.rule(
    "config/core/300-resources/service.yaml: x-kubernetes-list-map-keys of imagePullSecrets",
    versions=">=1.16",
    modes=_MODES,
    fields=("imagePullSecrets",),
)
def unique_pull_secrets(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        seen: set[str] = set()
        for keys, secret in pod.each("imagePullSecrets"):
            name = text(secret.get("name"))
            if name in seen:
                yield Violation(
                    (*keys, "name"), f"{path(keys[:-1])} has two secrets named {name!r}, and Knative admits one"
                )
            seen.add(name)


@REVISION.rule(f"{_SPEC}, validateVolumeMounts", modes=_MODES, fields=("volumeMounts",))
def volume_mounts(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        sources = {text(volume.get("name")): volume for _, volume in pod.each("volumes")}
        for container in (*pod.containers, *pod.init_containers):
            for keys, mount in container.each("volumeMounts"):
                if re.sub(r"(?<=.)/+$", "", text(mount.get("mountPath"))) in _RESERVED_PATHS:
                    yield Violation(
                        (*keys, "mountPath"), f"{path(keys)}.mountPath {mount['mountPath']!r} is reserved by Knative"
                    )
                elif text(mount.get("mountPath")) and not mount["mountPath"].startswith("/"):
                    yield Violation(
                        (*keys, "mountPath"), f"{path(keys)}.mountPath {mount['mountPath']!r} is not absolute"
                    )
                claim = mapping(mapping(sources.get(text(mount.get("name")))).get("persistentVolumeClaim"))
                if claim.get("readOnly") is True and mount.get("readOnly") is not True:
                    yield Violation(keys, f"{path(keys)} must be readOnly, since the claim of {mount['name']!r} is")


@REVISION.rule(
    f"{_MASK}, VolumeMountMask; {_SPEC}, validateVolumeMounts",
    versions=">=1.18",
    modes=_MODES,
    fields=("mountPropagation",),
)
def mount_propagation(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        for keys, mount in container.each("volumeMounts"):
            at = (*keys, "mountPropagation")
            if mount.get("mountPropagation") is not None:
                yield from _on_request(service, at, path(at), "kubernetes.podspec-volumes-mount-propagation")


@REVISION.rule(
    f"{_SPEC}, validateContainersPorts, validateContainerPorts, validateContainerPortBasic; {_MASK}, ContainerPortMask",
    modes=_MODES,
)
def ports(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        listed = [(keys, port) for container in pod.containers for keys, port in container.each("ports")]
        if len(listed) > 1:
            yield Violation(
                listed[1][0], f"{path(pod.keys)} has {len(listed)} container ports, and Knative admits one in a pod"
            )
        without_ports = not listed and all(has_no_ports(service, one) for one in pod.containers)
        if without_ports and len(pod.containers) > 1:
            yield Violation(
                (*pod.keys, "containers"),
                f"{path(pod.keys)} has {len(pod.containers)} containers and no port: Knative needs one to know which serves",
            )
        for keys, port in listed:
            yield from _port(keys, port)
        for container in pod.containers:
            yield from _ports_of_the_runtime(service, container, [port for _, port in listed])


def _ports_of_the_runtime(
    service: Service, container: Container, stated: list[Mapping[str, Any]]
) -> Iterator[Violation]:
    """Of the ports that a runtime brings: those of its container, merged by number with the model's, and those of its other containers."""
    runtime = runtime_of(service, container)
    numbers = [port.get("containerPort") for port in stated]
    brought = [port for port in runtime.ports if port.get("containerPort") not in numbers] if runtime else []
    if runtime is None or not brought:
        return
    if (total := len(stated) + len(brought)) > 1:
        yield Violation(
            container.keys,
            f"with the runtime {runtime.name} {path(container.keys[:2])} has {total} container ports, and Knative admits one in a pod",
        )
    for port in brought:
        for violation in _port((), port):
            yield Violation(container.keys, f"of the runtime {runtime.name}: {violation.message}")


def _port(keys: Any, port: Mapping[str, Any]) -> Iterator[Violation]:
    name, number = port.get("name"), integer(port.get("containerPort"))
    if isinstance(name, str) and name not in ("", "h2c", "http1"):
        yield Violation(
            (*keys, "name"), f"the port name {name!r} is rejected by Knative: use h2c (gRPC, HTTP/2), http1 or none"
        )
    if port.get("protocol") not in (None, "", "TCP"):
        yield Violation(
            (*keys, "protocol"),
            f"{path(keys)}.protocol {port['protocol']!r} is rejected by Knative: only TCP is admitted",
        )
    if number in _RESERVED_PORTS:
        yield Violation(
            (*keys, "containerPort"),
            f"port {number} is reserved by Knative, as are {', '.join(map(str, _RESERVED_PORTS))}",
        )
    for field in ("hostPort", "hostIP"):
        if port.get(field):
            yield Violation((*keys, field), f"Knative rejects {path(keys)}.{field}")


_NEVER_OF_A_CONTAINER = (
    *("lifecycle", "stdin", "stdinOnce", "tty", "volumeDevices", "resizePolicy"),
    *("restartPolicy", "restartPolicyRules"),
)
_NEVER_OF_A_MOUNT = ("subPathExpr", "recursiveReadOnly")
_NEVER_OF_A_CONTEXT = ("seLinuxOptions", "procMount", "windowsOptions", "appArmorProfile")


def _fields_beyond_knative(service: Service, container: Container) -> Iterator[Keys]:
    """Fields of a container that Knative does not have; its CustomResourceDefinition has ``privileged`` since 1.17, ``mountPropagation``
    since 1.18."""
    context = (*_NEVER_OF_A_CONTEXT, *(() if service.since("1.17", "knative") else ("privileged",)))
    for name in _NEVER_OF_A_CONTAINER:
        value = container.spec.get(name)
        if value or (value is not None and name in ("lifecycle", "restartPolicy")):
            yield (*container.keys, name)
    for name in context:
        if mapping(container.spec.get("securityContext")).get(name) is not None:
            yield (*container.keys, "securityContext", name)
    for keys, variable in container.each("env"):
        if mapping(variable.get("valueFrom")).get("fileKeyRef") is not None:
            yield (*keys, "valueFrom", "fileKeyRef")
    for keys, mount in container.each("volumeMounts"):
        for name in (*_NEVER_OF_A_MOUNT, *(() if service.since("1.18", "knative") else ("mountPropagation",))):
            value = mount.get(name)
            if value or (value is not None and name != "subPathExpr"):
                yield (*keys, name)


@DROPPED.rule(_CRD, modes=_MODES, fields=("terminationGracePeriodSeconds",))
def dropped_grace_periods(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for container in pod.containers:
            for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
                if mapping(container.spec.get(kind)).get("terminationGracePeriodSeconds") is not None:
                    at = (*container.keys, kind, "terminationGracePeriodSeconds")
                    yield Violation(at, f"Knative has no field for {path(at)}: it is dropped")


@DROPPED.rule(_CRD, modes=_MODES, fields=(*_NEVER_OF_A_CONTAINER, "securityContext", "volumeMounts", "fileKeyRef"))
def dropped_container_fields(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for container in pod.containers:
            for at in _fields_beyond_knative(service, container):
                yield Violation(at, f"Knative has no field for {path(at)}: it is dropped")


@REVISION.rule(
    f"{_MASK}, ContainerMask, SecurityContextMask, VolumeMountMask",
    modes=_MODES,
    fields=("initContainers", "claims", "privileged"),
)
def container_fields(service: Service) -> Iterator[Violation]:
    """The CustomResourceDefinition keeps every field of an init container, so that the webhook sees and rejects them."""
    for pod in service.pods:
        for container in pod.init_containers:
            for at in _fields_beyond_knative(service, container):
                yield Violation(at, f"Knative rejects {path(at)}")
        for container in (*pod.containers, *pod.init_containers):
            if mapping(container.spec.get("resources")).get("claims"):
                at = (*container.keys, "resources", "claims")
                yield Violation(at, f"Knative rejects {path(at)}")
            at = (*container.keys, "securityContext", "privileged")
            privileged = mapping(container.spec.get("securityContext")).get("privileged")
            if privileged is True and service.since("1.17", "knative"):
                yield Violation(at, f"Knative admits {path(at)} only as false")


@REVISION.rule(f"{_SPEC}, validate: reserved names; validateEnvVar", modes=_MODES)
def reserved_names(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        if container.spec.get("name") == "queue-proxy":
            yield Violation((*container.keys, "name"), "the container name queue-proxy is reserved by Knative")
        for keys, variable in container.each("env"):
            if variable.get("name") in _RESERVED_ENVIRONMENT:
                yield Violation((*keys, "name"), f"Knative sets {variable['name']} itself and rejects it in env")
            source = mapping(variable.get("valueFrom"))
            for kind in ("fieldRef", "resourceFieldRef"):
                if kind in source:
                    yield from _on_request(
                        service,
                        (*keys, "valueFrom", kind),
                        f"env from {kind} ({path(keys)})",
                        "kubernetes.podspec-fieldref",
                    )


@REVISION.rule(
    "pkg/apis/serving/k8s_validation.go, validate: image; github.com/google/go-containerregistry pkg/name",
    modes=_MODES,
    fields=("image",),
)
def images(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        image = container.spec.get("image")
        if isinstance(image, str) and image and not _is_image(image):
            yield Violation(
                (*container.keys, "image"),
                f"{path(container.keys)}.image {image!r} is no reference of an image to Knative",
            )


def _is_image(reference: str) -> bool:
    """Whether name.ParseReference with WeakValidation accepts it: [registry/]repository[:tag][@digest]."""
    name, at, digest = reference.partition("@")
    if at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        return False
    base, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        if not re.fullmatch(r"[-\w.]{1,128}", tag, re.ASCII):
            return False
        name = base
    first, slash, rest = name.partition("/")
    repository = rest if slash and ("." in first or ":" in first or first == "localhost") else name
    return re.fullmatch(r"[-a-z0-9_./]{2,255}", repository) is not None


@REVISION.rule(
    f"{_SPEC}, validateProbe, validateReadinessProbe, validateSidecarContainer",
    modes=_MODES,
    fields=("livenessProbe", "readinessProbe"),
)
def probes(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        stated = [port for container in pod.containers for _, port in container.each("ports")]
        brought = [one.ports for container in pod.containers if (one := runtime_of(service, container))]
        whole = pod.whole or bool(stated) or any(brought)
        for container in pod.containers:
            runtime = runtime_of(service, container)
            known = not container.of_a_runtime or (runtime is not None and runtime.formats is not None)
            listed = [*stated, *(runtime.ports if runtime else ())]
            name = (text(listed[-1].get("name")) if listed else "") or "http"
            sidecar = len(pod.containers) > 1 and has_no_ports(service, container)
            for kind in ("livenessProbe", "readinessProbe"):
                probe = container.spec.get(kind)
                keys = (*container.keys, kind)
                if not isinstance(probe, dict):
                    continue
                if sidecar and whole and not _is_allowed_beside(kind, probe):
                    yield from _on_request(
                        service, keys, f"{path(keys)} of a container without ports", "multi-container-probing"
                    )
                if sidecar and whole:
                    continue
                yield from _probe(keys, kind, probe, name if stated or known else "")
                if kind == "readinessProbe" and not (
                    container.of_a_runtime and (runtime is None or kind in runtime.probes)
                ):
                    yield from _without_period(keys, probe)


def _is_allowed_beside(kind: str, probe: Mapping[str, Any]) -> bool:
    """Whether Knative admits a probe of a container without ports: an empty one, to which no default is added (revision_defaults.go)."""
    return kind == "livenessProbe" and all(value in (None, 0) for value in probe.values())


def _probe(keys: Any, kind: str, probe: Mapping[str, Any], port_name: str) -> Iterator[Violation]:
    for handler in ("httpGet", "tcpSocket"):
        port = mapping(probe.get(handler)).get("port")
        if isinstance(port, str) and port and port_name and port != port_name:
            yield Violation(
                (*keys, handler, "port"),
                f"{path(keys)}.{handler}.port {port!r} is not the container's port, which is named {port_name}",
            )


def _without_period(keys: Keys, probe: Mapping[str, Any]) -> Iterator[Violation]:
    """Knative's own probe, of which only Knative sets the other numbers, is one without a period (revision_defaults.go)."""
    for name in ("failureThreshold", "timeoutSeconds") if not probe.get("periodSeconds") else ():
        if probe.get(name):
            yield Violation(
                (*keys, name),
                f"{path(keys)}.{name} is rejected by Knative with periodSeconds 0 or none: set periodSeconds",
            )


@REVISION.rule(f"{_SPEC}, validateInitContainer", modes=_MODES, fields=("initContainers",))
def init_containers(service: Service) -> Iterator[Violation]:
    for pod in service.pods:
        for container in pod.init_containers:
            for name in ("livenessProbe", "readinessProbe", "startupProbe"):
                if name in container.spec:
                    yield Violation(
                        (*container.keys, name), f"Knative rejects {path(container.keys)}.{name} in an init container"
                    )


@REVISION.rule(
    "pkg/apis/serving/v1/revision_validation.go, validateTimeoutSeconds; "
    "pkg/apis/serving/metadata_validation.go, ValidateContainerConcurrency",
    modes=_MODES,
    fields=("timeout", "containerConcurrency"),
)
def limits(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        for name, most, setting in (
            ("timeout", 600, "max-revision-timeout-seconds"),
            ("containerConcurrency", 1000, "container-concurrency-max-limit"),
        ):
            number = integer(settings.get(name))
            where = (*keys, name)
            if number is not None and number < 0 and name == "timeout":
                yield Violation(where, f"{path(where)} {number} is negative")
            elif number is not None and number > most:
                yield from _over_limit(service, where, number, most, setting)


@REVISION.rule(
    f"{_ANNOTATIONS}, validateTargets, validateMinMaxScale, on what KServe makes of the fields (ksvc_reconciler.go)",
    modes=_MODES,
    fields=("scaleTarget", "minReplicas", "maxReplicas"),
)
def scaling_fields(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        target = integer(settings.get("scaleTarget"))
        if target is not None and target < 1 and settings.get("scaleMetric") in (None, "concurrency"):
            where = (*keys, "scaleTarget")
            yield Violation(where, f"{path(where)} {target} is less than 0.01, and Knative rejects it as a target")
        for name in ("minReplicas", "maxReplicas"):
            number = integer(settings.get(name))
            if number is not None and number > 2**31 - 1:
                where = (*keys, name)
                yield Violation(where, f"{path(where)} {number} is over {2**31 - 1}, and Knative rejects it as a scale")


@REVISION.rule(
    "pkg/apis/serving/metadata_validation.go, ValidateRolloutDurationAnnotation; "
    "pkg/apis/serving/v1/revision_validation.go, validateProgressDeadlineAnnotation, validateQueueSidecarResourceAnnotations",
    modes=_MODES,
    fields=("annotations",),
)
def serving_annotations(service: Service) -> Iterator[Violation]:
    for keys, holder in service.annotated:
        for key, value in holder.items():
            group, _, name = str(key).rpartition("/")
            if not isinstance(value, str):
                continue
            why = ""
            if group == "serving.knative.dev" and name in _DURATIONS and value:
                why = _duration(0, float("inf"))(value)
            elif group == "queue.sidecar.serving.knative.dev" and name in ("resource-percentage", "resourcePercentage"):
                why = _number(0.1, 100)(value)
            elif group == "queue.sidecar.serving.knative.dev" and _SIDECAR_QUANTITY.fullmatch(name):
                why = "" if quantity(value) is not None else "is no quantity"
            if why:
                yield Violation((*keys, key), f"{key} {value!r} {why}")


_DURATIONS = ("rollout-duration", "rolloutDuration", "progress-deadline")
_SIDECAR_QUANTITY = re.compile(r"(cpu|memory|ephemeral-storage)-resource-(request|limit)")


@REVISION.rule(
    "pkg/apis/serving/v1/revision_validation.go, RevisionTemplateSpec.Validate; "
    "knative.dev/networking pkg/apis/networking/metadata_validation.go, ValidateAnnotations",
    versions=">=1.21",
    modes=_MODES,
    fields=("annotations",),
)
def networking_annotations(service: Service) -> Iterator[Violation]:
    for keys, holder in service.annotated:
        for key in holder:
            name = str(key).removeprefix(f"{_NETWORKING}/")
            if str(key).startswith(_NETWORKING) and name not in _NETWORKING_ANNOTATIONS:
                hint = " as an annotation: put it among the labels" if name == "visibility" else ""
                known = ", ".join(_NETWORKING_ANNOTATIONS)
                yield Violation(
                    (*keys, key),
                    f"Knative rejects {key}{hint or f': its annotations of {_NETWORKING} are {known}'}",
                )


_NETWORKING = "networking.knative.dev"
_NETWORKING_ANNOTATIONS = (
    *("ingress-class", "ingress.class", "certificate-class", "certificate.class", "http-protocol", "httpOption"),
    *("disable-external-domain-tls", "disable-auto-tls", "disableAutoTLS"),
)


@REVISION.rule(f"{_MASK}, CapabilitiesMask", modes=_MODES, fields=("capabilities",))
def added_capabilities(service: Service) -> Iterator[Violation]:
    for container in service.containers:
        added = mapping(mapping(container.spec.get("securityContext")).get("capabilities")).get("add")
        at = (*container.keys, "securityContext", "capabilities", "add")
        if added and not (added == ["NET_BIND_SERVICE"] and _setting(service, _SECURE_DEFAULTS) is None):
            yield from _on_request(service, at, path(at), "kubernetes.containerspec-addcapabilities")


@REVISION.rule(
    f"{_ANNOTATIONS}, validateInitialScale; pkg/autoscaler/config, allow-zero-initial-scale",
    modes=_MODES,
    fields=("autoscaling.knative.dev/initial-scale", "autoscaling.knative.dev/initialScale"),
)
def initial_scale(service: Service) -> Iterator[Violation]:
    found = service.platform.find("ConfigMap", "config-autoscaler", "knative-serving")
    allowed = found and str(mapping(found.document.get("data")).get("allow-zero-initial-scale")).lower() == "true"
    for keys, holder in service.annotated:
        for name in ("initial-scale", "initialScale"):
            key = f"{_GROUP}/{name}"
            if parsed_integer(text(holder.get(key))) == 0 and not allowed:
                setting = (
                    ""
                    if found
                    else (
                        "allow-zero-initial-scale in the ConfigMap config-autoscaler of Knative, false by default: "
                        "put the ConfigMap among the paths"
                    )
                )
                yield Violation((*keys, key), f"{key} 0 is rejected without allow-zero-initial-scale", setting)


@REVISION.rule(
    "pkg/apis/serving/v1/route_validation.go, validateTrafficList; kserve "
    "pkg/controller/v1beta1/inferenceservice/reconcilers/knative/ksvc_reconciler.go: from the second revision on",
    modes=_MODES,
    fields=("canaryTrafficPercent",),
)
def canary_percent(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        percent = integer(settings.get("canaryTrafficPercent"))
        if percent is not None and not 0 <= percent <= 100:
            where = (*keys, "canaryTrafficPercent")
            yield Violation(where, f"{path(where)} {percent} is not from 0 to 100")


def _over_limit(service: Service, keys: Any, number: int, most: int, setting: str) -> Iterator[Violation]:
    found = service.platform.find("ConfigMap", "config-defaults", "knative-serving")
    message = f"{path(keys)} {number} is over Knative's limit"
    if found is None:
        yield Violation(
            keys,
            f"{message} of {most}",
            f"{setting} in the ConfigMap config-defaults of Knative, {most} by default: put the ConfigMap among the paths",
        )
        return
    stated = str(mapping(found.document.get("data")).get(setting, most))
    limit = parsed_integer(stated)
    if limit is None or limit < 0 or number > limit:
        yield Violation(keys, f"{message} {setting} of {stated}")


@REVISION.rule(f"{_ANNOTATIONS}, ValidateAnnotations", modes=_MODES, fields=("annotations",))
def autoscaling_annotations(service: Service) -> Iterator[Violation]:
    every = [settings for _, settings in service.components]
    for (keys, holder), components in zip(service.annotated, [every, *([one] for one in every)], strict=True):
        given = {
            str(key).partition("/")[2]: (key, value)
            for key, value in holder.items()
            if str(key).startswith(f"{_GROUP}/") and isinstance(value, str)
        }
        if not given:
            continue
        overridden = _overridden(components)
        for names, check in _CHECKS.items():
            if given.keys().isdisjoint(names):
                continue
            read = next(
                (name for name in names if name in given or name in overridden), None
            )  # knative.dev/pkg kmap, KeyPriority
            if read in given and read not in overridden and (why := check(given[read][1])):
                key, value = given[read]
                yield Violation((*keys, key), f"{key} {value!r} {why}")
        if (
            (known := given.get("class"))
            and known[1].endswith(_GROUP)
            and known[1] not in (f"kpa.{_GROUP}", f"hpa.{_GROUP}")
        ):
            yield Violation((*keys, known[0]), f"{known[0]} {known[1]!r} is not kpa.{_GROUP} or hpa.{_GROUP}")
        metric, scaler = given.get("metric"), service.annotations.get(f"{_GROUP}/class", f"kpa.{_GROUP}")
        if (
            metric
            and "metric" not in overridden
            and given.get("class", ("", scaler))[1] == f"kpa.{_GROUP}"
            and metric[1] not in ("concurrency", "rps")
        ):
            yield Violation(
                (*keys, metric[0]),
                f"{metric[0]} {metric[1]!r} is rejected: Knative's own autoscaler has concurrency and rps",
            )
        for name, (key, _) in given.items():
            if name not in _KNOWN and (close := difflib.get_close_matches(name, _KNOWN, 2, cutoff=0.75)):
                certain = difflib.get_close_matches(name, _KNOWN, 2, cutoff=0.9) or close
                yield Violation(
                    (*keys, key),
                    f"Knative ignores {key}: it has no such annotation; did you mean {_GROUP}/{close[0]}?",
                    fix=Replacement(key, f"{_GROUP}/{certain[0]}") if len(certain) == 1 else None,
                )


def _overridden(components: list[Mapping[str, Any]]) -> set[str]:
    """The annotations that KServe overwrites in all of ``components``; it takes a maxReplicas of 0 for none."""
    found = {
        name
        for field, name in _OVERRIDING.items()
        if all(settings.get(field) is not None and settings.get(field) != _UNSET.get(field) for settings in components)
    }
    return {*found, "min-scale"}


_UNSET = {"maxReplicas": 0}


def _number(low: float, high: float = float("inf"), *, whole: bool = False, also: float | None = None) -> Any:
    bounds = f"at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
    kind = "an integer" if whole else "a number"

    def check(value: str) -> str:
        number = parsed_integer(value) if whole else _parsed_float(value)
        if number is None:
            return f"is not {kind} {bounds}"
        return "" if low <= number <= high or number == also else f"is not {kind} {bounds}"

    return check


def _parsed_float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _duration(low: float, high: float, *, seconds: bool = True) -> Any:
    def check(value: str) -> str:
        if not _DURATION.fullmatch(value):
            return "is not a duration such as 30s or 1m30s"
        total = sum(
            float(number) * _SECONDS[unit]
            for number, _, unit in re.findall(r"(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", value)
        )
        total = -total if value.startswith("-") else total
        if not low <= total <= high:
            return f"is not a duration from {low:g}s" + ("" if high == float("inf") else f" to {high:g}s")
        return "has a fraction of a second" if seconds and total != int(total) else ""

    return check


_OVERRIDING = {"maxReplicas": "max-scale", "scaleTarget": "target", "scaleMetric": "metric"}
"""Field of a component → annotation that KServe overwrites by it; min-scale it always overwrites (ksvc_reconciler.go)."""

_CHECKS: Mapping[tuple[str, ...], Any] = {
    ("max-scale", "maxScale"): _number(0, 2**31 - 1, whole=True),
    ("initial-scale", "initialScale"): _number(0, whole=True),
    ("activation-scale",): _number(2, 2**31 - 1, whole=True),
    ("target",): _number(0.01),
    ("target-utilization-percentage", "targetUtilizationPercentage"): _number(1, 100),
    ("target-burst-capacity", "targetBurstCapacity"): _number(0, also=-1),
    ("panic-window-percentage", "panicWindowPercentage"): _number(1, 100),
    ("panic-threshold-percentage", "panicThresholdPercentage"): _number(110, 1000),
    ("window",): _duration(6, 3600),
    ("scale-down-delay", "scaleDownDelay"): _duration(0, 3600),
    ("scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod"): _duration(0, 3600, seconds=False),
}
_KNOWN = {name for names in _CHECKS for name in names} | {
    "min-scale",
    "minScale",
    "class",
    "metric",
    "metric-aggregation-algorithm",
    "metricAggregationAlgorithm",
}
