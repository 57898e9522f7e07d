"""kfp → kserve: the InferenceService that the deploying step applies. Static: no cluster is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import (
    MUST,
    SHOULD,
    Finding,
    Keys,
    Manifest,
    PlatformConfig,
    Resource,
    Stack,
    contract,
    failed,
    inconclusive,
    not_applicable,
    passed,
    remembered,
)
from trivet.contracts.rules.rule import COMPONENTS, FRAMEWORKS, MODE_SETTING, deployment_mode, since
from trivet.contracts.rules.schema import (
    api_of,
    has_schema,
    kind_of,
    not_judged,
    schema_violations,
    unknown_fields,
    wrong_api,
)
from trivet.contracts.values import FILLED_LATER, has_placeholder, is_filled_later, mapping
from trivet.contracts.violation import Violation
from trivet.integration.inference_service import DEPLOYMENT_MODE, KNATIVE_MODES, STANDARD_MODES

SEAM = ("kfp", "kserve")

AUTOSCALER = "serving.kserve.io/autoscalerClass"
KNATIVE_CLASS = "autoscaling.knative.dev/class"
VERSIONS: Mapping[str, str] = {"kserve": ">=0.12"}
"""The oldest versions that these contracts were verified with, by reading or running them."""


@contract(
    title="An object must have an apiVersion and a kind that the cluster serves",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale="The API server has no such resource: the object is refused, and nothing is deployed.",
    remedy="Write the apiVersion and the kind as the message says; both are case-sensitive.",
    sources=(
        "the stack's api_schemas.json: served versions of KServe's CustomResourceDefinitions",
        "kserve 0.14.1 and 0.20.0 pkg/constants/constants.go, KServeAPIGroupName",
        "kserve 0.14.1 python/kserve/kserve/models/v1beta1_inference_service.py, to_dict: api_version",
    ),
)
def api_version_is_served(resource: Resource, stack: Stack) -> Iterator[Finding]:
    if wrong := wrong_api(resource.document, stack):
        yield failed(f"{wrong.message} (KServe {stack.components['kserve']})", location=resource.at(*wrong.keys))
    else:
        yield passed(
            f"{resource.document['apiVersion']} has {resource.kind} (KServe {stack.components['kserve']})",
            location=resource.at("apiVersion"),
        )


@contract(
    title="An object must use only fields that its API has",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe's Python client and `kubectl apply --validate=ignore` silently drop an unknown field: the setting keeps "
        "its default. kubectl's default is to refuse the object."
    ),
    remedy="Correct the name of the field, or move it to its place in the API.",
    sources=(
        "the stack's api_schemas.json: KServe's CustomResourceDefinitions and Kubernetes' OpenAPI",
        "Kubernetes: CRD structural schemas, field pruning",
    ),
)
def fields_are_known(resource: Resource, stack: Stack) -> Iterator[Finding]:
    if not has_schema(resource, stack):
        yield not_applicable(f"the stack has no schema of {kind_of(resource)}", location=resource.at("apiVersion"))
        return
    api, found = api_of(resource, stack), False
    for violation in unknown_fields(resource, stack):
        found = True
        yield failed(f"{violation.message} ({api})", location=resource.at(*violation.keys), fix=violation.fix)
    if not found:
        yield passed(f"every field is in the API of {api}", location=resource.at())


@contract(
    title="An object must have the fields that its API requires, with values that it allows",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "The API server or KServe's webhook refuses a value of another type, outside an enumeration or a range. What is "
        "missing in an InferenceService the webhook fills with an empty value, and then no pod can be made of it."
    ),
    remedy="Correct the value as the message says, or add the missing field.",
    sources=(
        "the stack's api_schemas.json: KServe's CustomResourceDefinitions and Kubernetes' OpenAPI",
        "k8s.io/apiextensions-apiserver pkg/apiserver/schema (defaulting, listtype); k8s.io/apimachinery "
        "pkg/api/resource/quantity.go, ParseQuantity",
        "kserve 0.14.1 and 0.20.0 pkg/apis/serving/v1beta1/*_custom.go, Default: the first container's name",
        "measured with Kubernetes 1.30.14 and KServe 0.14.1: dry runs of each rule",
    ),
)
def schema_is_met(resource: Resource, stack: Stack) -> Iterator[Finding]:
    if not has_schema(resource, stack):
        yield not_applicable(f"the stack has no schema of {kind_of(resource)}", location=resource.at("apiVersion"))
        return
    api, found = api_of(resource, stack), False
    for violation in schema_violations(resource, stack):
        found = True
        message, where = f"{violation.message} ({api})", resource.at(*violation.keys)
        if is_filled_later(resource.document, violation.keys):
            yield inconclusive(f"{message}: {FILLED_LATER}", location=where)
        else:
            yield failed(message, location=where)
    if not found:
        unjudged = not_judged(resource, stack)
        yield passed(f"every value is one that the API of {api} allows{unjudged}", location=resource.at())


@contract(
    title="An InferenceService must have a valid name",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe's webhook rejects other names, and the Service of a component cannot be created if its name is longer than a "
        "DNS label."
    ),
    remedy="Use lower case letters, digits and '-', beginning with a letter, of at most 53 characters, and 51 with a transformer.",
    sources=(
        "kserve 0.14.1 and 0.20.0 pkg/apis/serving/v1beta1/inference_service_validation.go, IsvcNameFmt",
        "kserve 0.14.1 pkg/constants/constants.go, PredictorServiceName; RFC 1123 (63 octets)",
    ),
)
def name_is_valid(manifest: Manifest) -> Iterator[Finding]:
    metadata = mapping(manifest.document.get("metadata"))
    name = metadata.get("name")
    where = manifest.at("metadata", "name")
    prefix = metadata.get("generateName")
    if not name and isinstance(prefix, str) and prefix and not re.fullmatch(r"[a-z][-a-z0-9]*", prefix):
        yield failed(
            f"KServe rejects the names that begin with {prefix!r}: they must match [a-z]([-a-z0-9]*[a-z0-9])?",
            location=manifest.at("metadata", "generateName"),
        )
    elif not name and isinstance(prefix, str) and len(prefix) > 48:
        yield failed(
            f"the generateName has {len(prefix)} characters, and a name 5 more: NAME-predictor is longer than the 63 of a DNS label",
            location=manifest.at("metadata", "generateName"),
        )
    elif not name and prefix:
        yield not_applicable("the API server generates the name", location=where)
    elif is_filled_later(manifest.document, ("metadata", "name")):
        yield inconclusive(f"the name is {name!r}: {FILLED_LATER}", location=where)
    elif not isinstance(name, str) or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield failed(f"KServe rejects the name {name!r}: it must match [a-z]([-a-z0-9]*[a-z0-9])?", location=where)
    elif too_long := [made for made in _service_names(manifest, name) if len(made) > 63]:
        yield failed(
            f"the name has {len(name)} characters: {too_long[0]} is longer than the 63 of a DNS label",
            location=where,
        )
    else:
        yield passed(f"KServe admits the name {name!r}", location=where)


def _service_names(manifest: Manifest, name: str) -> Iterator[str]:
    """The names of the Services that KServe makes: of each component, and of each canary."""
    spec = _spec(manifest)
    for component in COMPONENTS:
        if component == "predictor" or spec.get(component) is not None:
            stated = mapping(spec.get(component)).get("name") if component == "predictor" else None
            yield f"{name}-{stated}-{component}" if isinstance(stated, str) and stated else f"{name}-{component}"
    canaries = spec.get("canary")
    for canary in canaries if isinstance(canaries, list) else ():
        yield f"{name}-{mapping(mapping(canary).get('predictor')).get('name')}-predictor"


@contract(
    title="An InferenceService must have a deployment mode that KServe supports",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe ignores an unknown mode and uses the cluster's default: the service is deployed in another mode than its "
        "manifest states."
    ),
    remedy=(
        "Use one of the stack's modes. KServe calls Serverless Knative and RawDeployment Standard since 0.16; "
        "earlier ones know only the old names."
    ),
    sources=("kserve 0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice/utils/utils.go, GetDeploymentMode",),
)
def deployment_mode_is_supported(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    mode = _annotations(manifest).get(DEPLOYMENT_MODE)
    known = stack.settings["serving"]["deployment_modes"]
    where = manifest.at("metadata", "annotations", DEPLOYMENT_MODE)
    if mode is None:
        yield not_applicable("no deployment mode; the cluster's default applies", location=where)
    elif mode in known:
        yield passed(f"KServe supports the deployment mode {mode}", location=where)
    elif has_placeholder(mode):
        yield inconclusive(f"the deployment mode is {mode!r}: {FILLED_LATER}", location=where)
    else:
        default = platform.default_deployment_mode or "the platform's default"
        yield failed(
            f"deployment mode {mode!r} is unknown and ignored: {default} applies; use one of {', '.join(known)}",
            location=where,
        )


@contract(
    title="An autoscaler must work in the deployment mode",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Knative uses its own autoscaler whatever serving.kserve.io/autoscalerClass is: `hpa` is admitted there, and no "
        "HPA is created."
    ),
    remedy=(
        "State the deployment mode. For CPU or memory use RawDeployment (Standard), or annotate "
        "autoscaling.knative.dev/class: hpa.autoscaling.knative.dev; otherwise scale by concurrency or rps."
    ),
    sources=(
        "kserve 0.14.1 pkg/apis/serving/v1beta1/inference_service_validation.go, validateInferenceServiceAutoscaler,"
        " validateAutoScalingCompExtension",
        "kserve 0.14.1 and 0.20.0 reconcilers/knative/ksvc_reconciler.go: only autoscaling.knative.dev/class is read",
        "kserve 0.20.0 inference_service_validation.go, validateScalingKedaCompExtension; "
        "reconcilers/hpa/hpa_reconciler.go, getHPAMetrics",
    ),
)
def autoscaler_fits_deployment_mode(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    mode, stated = deployment_mode(manifest, stack, platform)
    if mode == "ModelMesh":
        yield not_applicable("ModelMesh scales its own pods", location=manifest.at())
        return
    found, depending = scaling_violations(manifest, stack, mode, stated)
    for violation in found:
        yield failed(violation.message, location=manifest.at(*violation.keys))
    if not found and depending:
        yield not_applicable("it depends on the deployment mode, which is not known", location=manifest.at())
    elif not found:
        yield passed(
            f"its scaling settings have an effect in {mode} mode"
            if mode
            else "its scaling settings have an effect in every mode",
            location=manifest.at(),
        )


def scaling_violations(
    manifest: Manifest, stack: Stack, mode: str, stated: bool
) -> tuple[list[Violation], list[Violation]]:
    """The scaling settings without an effect in ``mode``; where it is unknown those of every mode, and those of some mode."""
    if mode:
        return _scaling_violations(manifest, stack, mode, stated), []
    by_mode = {each: _scaling_violations(manifest, stack, each, True) for each in (KNATIVE_MODES[0], STANDARD_MODES[0])}
    everywhere = set.intersection(*({one.keys for one in found} for found in by_mode.values()))
    every = [violation for found in by_mode.values() for violation in found]
    certain = {one.keys: one for one in every if one.keys in everywhere}
    return list(certain.values()), [one for one in every if one.keys not in everywhere]


def _scaling_violations(manifest: Manifest, stack: Stack, mode: str, stated: bool) -> list[Violation]:
    return [*_class_violations(manifest, stack, mode, stated), *_metric_violations(manifest, stack, mode)]


def _class_violations(manifest: Manifest, stack: Stack, mode: str, stated: bool) -> Iterator[Violation]:
    annotations = _annotations(manifest)
    scaler = annotations.get(AUTOSCALER) or ("" if AUTOSCALER in annotations else None)  # a null is an empty text
    known = stack.settings["serving"]["autoscaler_classes"]
    where = ("metadata", "annotations", AUTOSCALER)
    if scaler is None:
        return
    if scaler not in known:
        yield Violation(where, f"KServe rejects the autoscaler class {scaler!r}; use one of {', '.join(known)}")
    elif mode in KNATIVE_MODES:
        because = f"in {mode} mode" if stated else f"without a deployment mode, since {mode} is the platform's default"
        yield Violation(
            where, f"autoscaler class {scaler!r} is ignored {because}: Knative's autoscaler scales the service"
        )


def _metric_violations(manifest: Manifest, stack: Stack, mode: str) -> Iterator[Violation]:
    annotations = _annotations(manifest)
    by_resource = mode in STANDARD_MODES or annotations.get(KNATIVE_CLASS) == "hpa.autoscaling.knative.dev"
    allowed = ("cpu", "memory") if by_resource else ("concurrency", "rps")
    external = annotations.get(AUTOSCALER) in ("external", "none", "keda")
    # Since 0.15 KServe's webhook looks at it for the class hpa only, and its controller takes another metric for CPU.
    by_cpu = mode in STANDARD_MODES and annotations.get(AUTOSCALER) != "hpa" and since(stack, "0.15")
    for component in COMPONENTS:
        settings = mapping(_spec(manifest).get(component))
        metric = settings.get("scaleMetric")
        where = ("spec", component, "scaleMetric")
        if metric is not None and mode in STANDARD_MODES and external:
            if annotations[AUTOSCALER] == "keda":
                yield Violation(
                    where, "KServe rejects scaleMetric with the autoscaler class keda: use autoScaling.metrics"
                )
        elif metric is not None and metric not in allowed and by_cpu:
            yield Violation(
                where,
                f"scaleMetric {metric!r} is ignored, and the HPA takes CPU utilization: in {mode} mode use cpu or memory",
            )
        elif metric is not None and metric not in allowed:
            yield Violation(where, f"scaleMetric {metric!r} does not work: in {mode} mode use {' or '.join(allowed)}")
        if "autoScaling" in settings and mode in KNATIVE_MODES:
            yield Violation(("spec", component, "autoScaling"), f"autoScaling is ignored in {mode} mode")


@contract(
    title="A model must have a protocolVersion that its runtime serves",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe assumes v1 for a model without protocolVersion when it selects the runtime; the runtime for MLflow models "
        "serves only v2, so KServe finds no runtime and deploys nothing."
    ),
    remedy="Set spec.predictor.model.protocolVersion: v2.",
    sources=(
        "kserve 0.14.1 and 0.20.0 pkg/apis/serving/v1beta1/predictor_model.go, GetProtocol, GetSupportingRuntimes; "
        "v1alpha1/servingruntime_types.go, IsProtocolVersionSupported",
        "kserve 0.14.1 and 0.20.0 inference_service_defaults.go, SetMlServerDefaults: v2 by default where the "
        "runtime is named",
        "kserve 0.14.1 and 0.20.0 config/runtimes/kserve-mlserver.yaml, protocolVersions",
    ),
)
def protocol_version_is_served(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    model = _served_model(manifest, stack, platform)
    if model is None:
        yield not_applicable(_NOT_OURS, location=manifest.at("spec", "predictor"))
        return
    serving = stack.settings["serving"]
    served = serving["protocol_versions"]
    protocol = model.get("protocolVersion")
    where = manifest.at("spec", "predictor", "model", "protocolVersion")
    if protocol in served:
        yield passed(f"{serving['runtime']} serves {protocol}", location=where)
    elif protocol == "":
        yield passed("KServe asks no runtime for a protocol that is empty", location=where)
    elif has_placeholder(protocol):
        yield inconclusive(f"protocolVersion is {protocol!r}: {FILLED_LATER}", location=where)
    elif protocol is not None:
        yield failed(
            f"protocolVersion {protocol!r} is not served by {serving['runtime']}: it serves {', '.join(served)}",
            location=where,
        )
    elif model.get("runtime"):
        yield passed(f"KServe sets {served[0]} for the runtime {serving['runtime']}, which is named", location=where)
    else:
        yield failed(
            f"without protocolVersion KServe looks for a runtime that serves v1; {serving['runtime']}, the one for "
            f"{serving['model_format']}, serves {', '.join(served)}",
            location=where,
        )


@contract(
    title="A first deployment should not have a canary percentage",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Without an earlier revision KServe sends all traffic to the new one: the model that should get a part of the "
        "traffic gets all of it."
    ),
    remedy=(
        "Omit canaryTrafficPercent when the service is created, and set it when it is patched. It has an effect only in "
        "Serverless (Knative) mode."
    ),
    sources=(
        "kserve 0.14.1 and 0.20.0 reconcilers/knative/ksvc_reconciler.go, createKnativeService: needs "
        "status.latestRolledoutRevision",
    ),
)
def no_canary_on_first_deployment(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    percentages = {
        component: settings["canaryTrafficPercent"]
        for component in COMPONENTS
        if "canaryTrafficPercent" in (settings := mapping(_spec(manifest).get(component)))
    }
    if not percentages:
        yield passed("no canary percentage", location=manifest.at())
    mode, _ = deployment_mode(manifest, stack, platform)
    for component, percent in percentages.items():
        where = manifest.at("spec", component, "canaryTrafficPercent")
        if not mode:
            yield inconclusive(
                f"canaryTrafficPercent {percent} has an effect in Knative (Serverless) mode only, and the mode is not known",
                location=where,
                remedy=MODE_SETTING,
            )
        elif mode not in KNATIVE_MODES:
            yield failed(
                f"canaryTrafficPercent {percent} is ignored in {mode} mode: all traffic goes to the new pods",
                location=where,
            )
        elif percent == 100:
            yield passed("all traffic goes to the new revision, with or without an earlier one", location=where)
        elif (earlier := _earlier_revision(manifest, component)) is None:
            yield inconclusive(
                f"on a first deployment canaryTrafficPercent {percent} is ignored, and the file does not show whether this is one",
                location=where,
            )
        elif earlier:
            yield passed(f"{percent} % for the canary, the rest for the earlier revision {earlier}", location=where)
        else:
            yield failed(
                f"canaryTrafficPercent {percent} is ignored: no earlier revision has been rolled out", location=where
            )


def _earlier_revision(manifest: Manifest, component: str) -> str | None:
    """The revision that has traffic; empty if there is certainly none, None if the file does not show it."""
    metadata = mapping(manifest.document.get("metadata"))
    if "status" in manifest.document:
        components = mapping(mapping(manifest.document["status"]).get("components"))
        return str(mapping(components.get(component)).get("latestRolledoutRevision") or "")
    return "" if "generateName" in metadata and "name" not in metadata else None


@contract(
    title="The readiness of a service must depend on the readiness of its model",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "MLServer listens before it loads the model, and KServe's runtime for it has no readiness probe: the "
        "InferenceService is Ready while every request gets HTTP 400, traffic moves to a revision that serves nothing, and "
        "a model that cannot be loaded looks deployed. Measured after Ready=True: 59 of 101 requests failed over 11.8 s without "
        "the probe, and none with it (scenario ready_not_loaded.answers_not_ready)."
    ),
    remedy="Add spec.predictor.model.readinessProbe with httpGet on /v2/models/<name of the service>/ready, port 8080.",
    sources=(
        "kserve 0.14.1 and 0.20.0 config/runtimes/kserve-mlserver.yaml: no readinessProbe; "
        "test/e2e/predictor/test_mlflow.py sets one",
        "MLServer 1.5.0 and 1.7.1 mlserver/server.py, start: servers first, then models",
        "MLServer 1.5.0 and 1.7.1 mlserver/handlers/dataplane.py, ready: all registered models, and a model is registered "
        "before it loads (mlserver/registry.py, _load_model)",
        "measured with KServe 0.14.1: HTTP 400 after Ready=True without the probe, 344 requests without failure with"
        " it",
    ),
)
def model_readiness_is_probed(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    model = _served_model(manifest, stack, platform)
    if model is None:
        yield not_applicable(_NOT_OURS, location=manifest.at("spec", "predictor"))
        return
    name = mapping(manifest.document.get("metadata")).get("name")
    probe = mapping(model.get("readinessProbe"))
    get = mapping(probe.get("httpGet"))
    path, port = get.get("path"), get.get("port")
    where = manifest.at("spec", "predictor", "model", "readinessProbe")
    asked = re.fullmatch(r"/v2/models/([^/]+)(/versions/[^/]+)?/ready/?", path) if isinstance(path, str) else None
    if not probe:
        yield failed(
            "the model has no readinessProbe: the service is Ready as soon as MLServer listens", location=where
        )
    elif "tcpSocket" in probe or path in ("/v2/health/live", "/v2", "/"):
        yield failed(
            f"the readinessProbe checks whether MLServer listens ({path or 'tcpSocket'}), not whether the model is loaded",
            location=where,
        )
    elif asked and name and asked[1] != name and not _renamed(model):
        yield failed(
            f"the readinessProbe requests the model {asked[1]!r}, but its name in MLServer is {name!r}", location=where
        )
    elif not asked and path != "/v2/health/ready":
        yield inconclusive(f"the meaning of the readinessProbe is unknown: {path or ', '.join(probe)}", location=where)
    elif str(port) != str(stack.settings["serving"]["http_port"]) and not _is_port_name(port):
        yield inconclusive(
            f"the readinessProbe uses port {port}, but {stack.settings['serving']['runtime']} serves HTTP on "
            f"{stack.settings['serving']['http_port']}",
            location=where,
        )
    else:
        yield passed(f"the readinessProbe requests {path}", location=where)


def _is_port_name(port: Any) -> bool:
    return isinstance(port, str) and not port.isdigit()


@contract(
    title="A model format version must be one that the runtime declares",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe selects the runtime by the format version if there is one; it is a label of the runtime, not MLflow's "
        "version, and for a version that no runtime declares nothing is deployed."
    ),
    remedy="Omit spec.predictor.model.modelFormat.version, or use one that the runtime declares.",
    sources=(
        'kserve 0.14.1 and 0.20.0 config/runtimes/kserve-mlserver.yaml, supportedModelFormats: mlflow "1" and "2"',
    ),
)
def format_version_is_served(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    model = mapping(_served_model(manifest, stack, platform))
    serving = stack.settings["serving"]
    form = mapping(model.get("modelFormat"))
    version, known = form.get("version"), serving["model_format_versions"]
    where = manifest.at("spec", "predictor", "model", "modelFormat", "version")
    if form.get("name") != serving["model_format"]:
        yield not_applicable(_NOT_OURS, location=manifest.at("spec", "predictor"))
    elif model.get("runtime"):
        yield not_applicable("the manifest names the runtime, so KServe does not select one", location=where)
    elif version is None:
        yield passed(f"no version of {serving['model_format']} is required", location=where)
    elif str(version) in known:
        yield passed(f"{serving['runtime']} declares {serving['model_format']} {version}", location=where)
    elif has_placeholder(version):
        yield inconclusive(f"modelFormat.version is {version!r}: {FILLED_LATER}", location=where)
    else:
        yield failed(
            f"no runtime is found for {serving['model_format']} {version}: {serving['runtime']} declares "
            f"{', '.join(known)}",
            location=where,
        )


@contract(
    title="A predictor should set CPU and memory resources",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Omitted values come from the runtime or from KServe's configuration (1 CPU and 2 GiB by default), whatever the "
        "model needs; too little memory causes an OOM kill."
    ),
    remedy="Set resources.requests and resources.limits with cpu and memory on the predictor.",
    sources=(
        "kserve 0.14.1 pkg/apis/serving/v1beta1/inference_service_defaults.go, setResourceRequirementDefaults",
        "kserve 0.14.1 and 0.20.0 config/runtimes/*.yaml, resources",
    ),
)
def resources_are_set(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    if deployment_mode(manifest, stack, platform)[0] == "ModelMesh":
        yield not_applicable("ModelMesh sizes the runtime's pods, not the model's", location=manifest.at())
        return
    containers = list(_containers(manifest))
    if not containers:
        yield not_applicable(
            "the manifest describes no container of the predictor", location=manifest.at("spec", "predictor")
        )
    for keys, container in containers:
        resources = mapping(container.get("resources"))
        stated = {*mapping(resources.get("requests")), *mapping(resources.get("limits"))}
        missing = [name for name in ("cpu", "memory") if name not in stated]
        where = manifest.at(*keys, "resources")
        if missing:
            yield failed(f"{'.'.join(map(str, keys))} sets no {' and no '.join(missing)}", location=where)
        else:
            yield passed(f"{'.'.join(map(str, keys))} sets cpu and memory", location=where)


_NOT_OURS = "the stack's runtime for MLflow models does not serve this model"


@remembered
def _served_model(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Mapping[str, Any] | None:
    """``spec.predictor.model`` if the stack's runtime serves it: by name, or selected by KServe for the format.

    Beside an older field, such as ``sklearn``, KServe drops it (kserve 0.14.1 pkg/apis/serving/v1beta1/inference_service_defaults.go,
    setPredictorModelDefaults).
    """
    serving = stack.settings["serving"]
    if deployment_mode(manifest, stack, platform)[0] == "ModelMesh":
        return None
    predictor = mapping(_spec(manifest).get("predictor"))
    if any(isinstance(predictor.get(name), dict) for name in FRAMEWORKS):
        return None
    model = mapping(predictor.get("model"))
    runtime = model.get("runtime")
    chosen = runtime == serving["runtime"] or (
        runtime is None and mapping(model.get("modelFormat")).get("name") == serving["model_format"]
    )
    return model if chosen else None


def _renamed(model: Mapping[str, Any]) -> bool:
    env = model.get("env")
    return isinstance(env, list) and any(mapping(item).get("name") == "MLSERVER_MODEL_NAME" for item in env)


def _containers(manifest: Manifest) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """The container that serves the model: of the model or framework spec, or of a custom predictor."""
    predictor = mapping(_spec(manifest).get("predictor"))
    for name in (*FRAMEWORKS, "model"):
        if isinstance(predictor.get(name), dict):
            yield ("spec", "predictor", name), predictor[name]
            return
    containers = predictor.get("containers")
    if isinstance(containers, list) and containers:
        named = [i for i, each in enumerate(containers) if mapping(each).get("name") == "kserve-container"]
        index = named[0] if named else 0
        yield ("spec", "predictor", "containers", index), mapping(containers[index])


def _annotations(manifest: Manifest) -> Mapping[str, Any]:
    return mapping(mapping(manifest.document.get("metadata")).get("annotations"))


def _spec(manifest: Manifest) -> Mapping[str, Any]:
    return mapping(manifest.document.get("spec"))
