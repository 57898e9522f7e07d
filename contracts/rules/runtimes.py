"""Which serving runtime KServe takes for a model: those of KServe's release, and those among the objects that are applied with it.

The tables hold ``config/runtimes`` of KServe 0.12.1, 0.13.1, 0.14.1 and 0.20.0 as far as its ``kustomization.yaml`` lists them. Every
container there that serves a single node requests and is limited to 1 CPU and 2 GiB. Helm's chart of 0.12.1 deviates: its
kserve-huggingfaceserver serves v2 only (charts/kserve-resources/templates/clusterservingruntimes.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from packaging.specifiers import SpecifierSet

from trivet.contracts.rules.rule import FRAMEWORKS, MODELMESH, Container, Pod, Service, once_per_service
from trivet.contracts.values import each, has_placeholder, mapping, text

ONE_CPU_TWO_GIB: Mapping[str, Mapping[str, Any]] = {
    "requests": {"cpu": "1", "memory": "2Gi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}
_MULTI_NODE: Mapping[str, Mapping[str, Any]] = {
    "requests": {"cpu": "2", "memory": "6Gi"},
    "limits": {"cpu": "4", "memory": "12Gi"},
}

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


class Format(NamedTuple):
    """A model format that a runtime declares; only those with ``automatic`` count where the service names no runtime."""

    name: str
    version: str | None
    automatic: bool = True


class Runtime(NamedTuple):
    """A serving runtime, as far as its selection depends on it.

    No ``protocols`` means all of them, and None for ``formats`` that nothing is known but the name. ``probes`` and ``security``,
    its securityContext, are those of the container into which KServe merges the model, ``ports`` and ``mounts`` (names of volumes) those of
    all of its containers, and ``volumes`` its own.
    Of KServe's release no runtime has ports, and all have the volumes that they mount.
    """

    name: str
    protocols: tuple[str, ...] = ()
    formats: tuple[Format, ...] | None = ()
    multi_node: bool = False
    multi_model: bool = False
    disabled: bool = False
    resources: Mapping[str, Mapping[str, Any]] = ONE_CPU_TWO_GIB
    probes: tuple[str, ...] = ()
    ports: tuple[Mapping[str, Any], ...] = ()
    mounts: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    security: Mapping[str, Any] = {}

    def declares(self, name: str, version: str | None, *, named: bool) -> bool:
        """Whether it declares the format; ``named`` if the service names the runtime."""
        for one in self.formats or ():
            if one.name == name and (named or one.automatic) and (version is None or one.version == version):
                return True
        return False

    def serves(self, protocol: str) -> bool:
        """Whether it serves the protocol; an empty one every runtime does (servingruntime_types.go, IsProtocolVersionSupported)."""
        return not protocol or not self.protocols or protocol in self.protocols


def _formats(declared: str) -> tuple[Format, ...]:
    """``sklearn:0 pytorch:1-`` as formats; a minus for those that are not selected automatically."""
    pairs = (one.partition(":") for one in declared.split())
    return tuple(Format(name, version.rstrip("-") or None, not version.endswith("-")) for name, _, version in pairs)


def _shipped(lines: str, *more: Runtime, secured: bool = False) -> Mapping[str, Runtime]:
    rows = [[cell.strip() for cell in line.split("|")] for line in lines.strip().splitlines()]
    shipped = [
        Runtime(
            name,
            tuple(protocols.split()),
            _formats(formats),
            probes=_PROBED.get(name, ()),
            security=_SECURED.get(name, _NON_ROOT) if secured else {},
        )
        for name, protocols, formats in rows
    ]
    return {runtime.name: runtime for runtime in (*shipped, *more)}


_PROBED = {"kserve-vllmserver": ("readinessProbe", "startupProbe")}
"""Runtimes of KServe's release whose container has probes."""

_NOT_PRIVILEGED: Mapping[str, Any] = {"allowPrivilegeEscalation": False}
_NON_ROOT: Mapping[str, Any] = {**_NOT_PRIVILEGED, "runAsNonRoot": True}
_AS_1000: Mapping[str, Any] = {**_NON_ROOT, "runAsUser": 1000}
_SECURED: Mapping[str, Mapping[str, Any]] = {
    "kserve-tensorflow-serving": _AS_1000,
    "kserve-torchserve": _AS_1000,
    "kserve-tritonserver": _AS_1000,
    "kserve-vllmserver": _NOT_PRIVILEGED,
}
"""What the containers of KServe's release state of users and privileges since 0.14, if it is not runAsNonRoot alone; before that none has a
securityContext."""

SHIPPED: Mapping[str, Mapping[str, Runtime]] = {
    ">=0.12,<0.14": _shipped(
        """
        kserve-huggingfaceserver   | v2 v1         | huggingface:1
        kserve-lgbserver           | v1 v2         | lightgbm:3
        kserve-mlserver            | v2            | sklearn:0 sklearn:1 xgboost:1 lightgbm:3 mlflow:1
        kserve-paddleserver        | v1 v2         | paddle:2
        kserve-pmmlserver          | v1 v2         | pmml:3 pmml:4
        kserve-sklearnserver       | v1 v2         | sklearn:1
        kserve-tensorflow-serving  | v1 grpc-v1    | tensorflow:1 tensorflow:2
        kserve-torchserve          | v1 v2 grpc-v2 | pytorch:1
        kserve-tritonserver        | v2 grpc-v2    | tensorrt:8 tensorflow:1 tensorflow:2 onnx:1 pytorch:1- triton:2
        kserve-xgbserver           | v1 v2         | xgboost:1
        """,
    ),
    ">=0.14,<0.15": _shipped(
        """
        kserve-huggingfaceserver   | v2 v1         | huggingface:1
        kserve-lgbserver           | v1 v2         | lightgbm:3
        kserve-mlserver            | v2            | sklearn:0 sklearn:1 xgboost:1 xgboost:2 lightgbm:3 lightgbm:4 mlflow:1 mlflow:2
        kserve-paddleserver        | v1 v2         | paddle:2
        kserve-pmmlserver          | v1 v2         | pmml:3 pmml:4
        kserve-sklearnserver       | v1 v2         | sklearn:1
        kserve-tensorflow-serving  | v1 grpc-v1    | tensorflow:1 tensorflow:2
        kserve-torchserve          | v1 v2 grpc-v2 | pytorch:1
        kserve-tritonserver        | v2 grpc-v2    | tensorrt:8 tensorflow:1 tensorflow:2 onnx:1 pytorch:1- triton:2
        kserve-xgbserver           | v1 v2         | xgboost:1
        """,
        secured=True,
    ),
    ">=0.20,<0.21": _shipped(
        """
        kserve-autogluonserver     | v1 v2         | autogluon:1
        kserve-huggingfaceserver   | v2 v1         | huggingface:1
        kserve-lgbserver           | v1 v2         | lightgbm:4
        kserve-mlserver            | v2            | sklearn:0 sklearn:1 xgboost:1 xgboost:2 lightgbm:3 lightgbm:4 mlflow:1 mlflow:2
        kserve-paddleserver        | v1 v2         | paddle:2
        kserve-pmmlserver          | v1 v2         | pmml:3 pmml:4
        kserve-predictiveserver    | v1 v2         | sklearn:1- xgboost:2- lightgbm:4-
        kserve-sklearnserver       | v1 v2         | sklearn:1
        kserve-tensorflow-serving  | v1 grpc-v1    | tensorflow:1 tensorflow:2
        kserve-torchserve          | v1 v2 grpc-v2 | pytorch:1
        kserve-tritonserver        | v2 grpc-v2    | tensorrt:8 tensorflow:1 tensorflow:2 onnx:1 pytorch:1- triton:2
        kserve-vllmserver          |               | vLLM:1
        kserve-xgbserver           | v1 v2         | xgboost:2
        """,
        Runtime(
            "kserve-huggingfaceserver-multinode",
            ("v2", "v1"),
            _formats("huggingface:1"),
            multi_node=True,
            resources=_MULTI_NODE,
            probes=PROBES,
        ),
        secured=True,
    ),
}

_MLSERVER = "kserve-mlserver"


def shipped(service: Service) -> Mapping[str, Runtime] | None:
    """The ClusterServingRuntimes of the stack's KServe release by name; None for a version whose table is missing."""
    return _table(service.stack.components["kserve"], service.stack.components.get("runtime", ""))


@lru_cache(maxsize=16)
def _table(version: str, mlserver: str) -> Mapping[str, Runtime] | None:
    """The table of a KServe. MLServer 1.5, which 0.14 is the first to name, comes with the kserve-mlserver of 0.14, beside an older KServe
    too: its own declares no MLflow 2."""
    table = _released(version)
    if table and mlserver and SpecifierSet(">=1.5").contains(mlserver) and SpecifierSet("<0.14").contains(version):
        return {**table, _MLSERVER: (_released("0.14.1") or table)[_MLSERVER]}
    return table


def _released(version: str) -> Mapping[str, Runtime] | None:
    return next(
        (table for versions, table in SHIPPED.items() if SpecifierSet(versions).contains(version, prereleases=True)),
        None,
    )


def applied(service: Service) -> Iterator[Runtime]:
    """The runtimes among the objects that are applied with the service, and those that the platform has by name only."""
    namespace = text(service.metadata.get("namespace"))
    for kind in ("ServingRuntime", "ClusterServingRuntime"):
        for found in service.platform.of_kind(kind).values():
            for one in found:
                if kind == "ClusterServingRuntime" or not namespace or one.namespace in ("", namespace):
                    yield _read(one.name, mapping(one.document.get("spec")))
    for name in service.platform.runtimes:
        yield Runtime(name, formats=None)


def _read(name: str, spec: Mapping[str, Any]) -> Runtime:
    formats = tuple(
        Format(
            text(one.get("name")),
            None if one.get("version") is None else str(one["version"]),
            one.get("autoSelect") is True,
        )
        for _, one in each(spec.get("supportedModelFormats"), ())
    )
    protocols = spec.get("protocolVersions")
    every = [one for _, one in each(spec.get("containers"), ())]
    containers = [one for one in every if one.get("name") == "kserve-container"]
    resources = mapping(containers[0].get("resources")) if containers else {}
    return Runtime(
        name,
        tuple(map(str, protocols)) if isinstance(protocols, list) else (),
        formats,
        multi_node=spec.get("workerSpec") is not None,
        multi_model=spec.get("multiModel") is True,
        disabled=spec.get("disabled") is True,
        resources={kind: mapping(resources.get(kind)) for kind in ("requests", "limits")},
        probes=tuple(kind for kind in PROBES if containers and containers[0].get(kind)),
        ports=tuple(port for one in every for _, port in each(one.get("ports"), ())),
        mounts=tuple(text(mount.get("name")) for one in every for _, mount in each(one.get("volumeMounts"), ())),
        volumes=tuple(text(volume.get("name")) for _, volume in each(spec.get("volumes"), ())),
        security=mapping(containers[0].get("securityContext")) if containers else {},
    )


class Wanted(NamedTuple):
    """What a service asks of a runtime: place, the fields of the model, format and version, protocol, and the runtime that it names.

    KServe tells an empty protocol and the empty name of a runtime from none (predictor_model.go, GetProtocol; predictor.go): no runtime is
    ``None``.
    """

    keys: tuple[str | int, ...]
    model: Mapping[str, Any]
    format: str
    version: str | None
    protocol: str
    runtime: str | None


_PROTOCOL_V2 = ("triton", "onnx", "huggingface")
"""Formats whose older fields KServe gives protocol v2 (inference_service_defaults.go); of ``model`` only triton."""


@once_per_service
def wanted(service: Service) -> Wanted | None:
    """What the predictor asks of a runtime; None for a custom predictor and in ModelMesh mode."""
    if service.mode == MODELMESH:
        return None
    for name in (*FRAMEWORKS, "model"):
        model = service.predictor.get(name)
        if not isinstance(model, dict):
            continue
        form = mapping(model.get("modelFormat"))
        kind = text(form.get("name")) if name == "model" else name
        version = None if name != "model" or form.get("version") is None else str(form["version"])
        default = "v2" if kind == "triton" or name in _PROTOCOL_V2 else "v1"
        stated, runtime = model.get("protocolVersion"), model.get("runtime")
        return Wanted(
            ("spec", "predictor", name),
            model,
            kind,
            version,
            default if stated is None else text(stated),
            runtime if name == "model" and isinstance(runtime, str) else None,
        )
    return None


@once_per_service
def candidates(service: Service) -> tuple[list[Runtime], bool]:
    """The runtimes to select from, those applied with the service first, and whether these are all. One of KServe's names that the platform
    lists is the platform's own, of which nothing else is known."""
    table: Mapping[str, Runtime] | None = {} if service.platform.runtimes_are_known else shipped(service)
    own = list(applied(service))
    if not own:
        return list((table or {}).values()), table is not None
    known = {runtime.name for runtime in own if runtime.formats is not None}
    names_only = [runtime for runtime in own if runtime.formats is None and runtime.name not in known]
    hidden = {*known, *(runtime.name for runtime in names_only)}
    return [
        *(runtime for runtime in own if runtime.formats is not None),
        *(runtime for name, runtime in (table or {}).items() if name not in hidden),
    ], table is not None and not names_only


def merged_resources(
    service: Service, pod: Pod, container: Container, *, first: bool
) -> tuple[Mapping[str, Mapping[str, Any]], str, str]:
    """The requests and limits that KServe adds to a container where it states none, whose they are, for a message, and the setting that
    they depend on.

    A runtime's container is merged into a model's; a custom component's first container, and art's, get KServe's defaults, 1 CPU and 2 GiB
    (inference_service_defaults.go, setResourceRequirementDefaults; configurable since KServe 0.15).
    """
    if pod.keys == ("spec", "predictor") and container.of_a_runtime:
        runtime = runtime_of(service, container)
        return (runtime.resources, f"of the runtime {runtime.name}", "") if runtime else ({}, "", "")
    if (
        first
        and not container.of_a_runtime
        and pod.keys[-1] in ("predictor", "transformer", "explainer")
        and len(pod.keys) == 2
    ):
        return ONE_CPU_TWO_GIB, "that KServe adds by default", _DEFAULTS if service.since("0.15") else ""
    return {}, "", ""


_DEFAULTS = "resource in the ConfigMap inferenceservice-config"


def runtime_of(service: Service, container: Container) -> Runtime | None:
    """The runtime whose container KServe merges into a predictor's ``container``; None if it is unknown."""
    asked = wanted(service)
    return None if asked is None or asked.keys != container.keys else _runtime_of_the_predictor(service)


def has_no_ports(service: Service, container: Container) -> bool:
    """Whether a container that lists no port has none: no placeholder stands for its ports, no runtime may bring one, and no null stands
    among them, which Go reads as a port without a number."""
    if has_placeholder(container.spec.get("ports")) or container.spec.get("ports"):
        return False
    runtime = runtime_of(service, container)
    return not container.of_a_runtime or (runtime is not None and runtime.formats is not None and not runtime.ports)


def runtime_beside(service: Service, pod: Pod) -> tuple[Runtime | None, bool]:
    """The runtime that brings volumes and mounts beside a pod's own, and whether all that it brings is known: of a runtime that the service
    names it is if its formats are."""
    brought = next((one for container in pod.containers if (one := runtime_of(service, container))), None)
    asked = wanted(service)
    known = pod.whole or not (asked and asked.runtime) or (brought is not None and brought.formats is not None)
    return brought, known


@once_per_service
def _runtime_of_the_predictor(service: Service) -> Runtime | None:
    asked = wanted(service)
    if asked is None:
        return None
    found, complete = candidates(service)
    if asked.runtime is not None:
        named = [one for one in found if one.name == asked.runtime]
        return named[0] if len(named) == 1 else None
    return selected(service, asked, found) if complete else None


def runtime_of_workers(service: Service, pod: Pod) -> Runtime | None:
    """The runtime of KServe's release whose container of workers KServe merges into that of a ``pod`` of workers; None for other pods and
    other runtimes, of whose workers nothing is known."""
    runtime = _runtime_of_the_predictor(service) if pod.keys[-1] == "workerSpec" else None
    return runtime if runtime is not None and runtime is (shipped(service) or {}).get(runtime.name) else None


def is_multi_node(service: Service) -> bool:
    """Whether the service has workers."""
    return isinstance(service.predictor.get("workerSpec"), dict)


def is_of_its_nodes(runtime: Runtime, service: Service) -> bool:
    """Whether KServe selects the runtime for as many nodes as the service has: one, or several. Before 0.15 it does not look at workers
    (predictor_model.go, GetSupportingRuntimes: IsMultiNodeRuntime)."""
    return not service.since("0.15") or runtime.multi_node == is_multi_node(service)


def selected(service: Service, asked: Wanted, found: list[Runtime]) -> Runtime | None:
    """The first runtime that KServe may select where the service names none."""
    for one in found:
        if (
            one.declares(asked.format, asked.version, named=False)
            and one.serves(asked.protocol)
            and is_of_its_nodes(one, service)
            and not (one.disabled or one.multi_model)
        ):
            return one
    return None
