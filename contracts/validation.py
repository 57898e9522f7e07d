"""kfp → kserve: what the chain behind an InferenceService refuses: webhooks, controllers, Kubernetes. Static: no cluster is needed.

Each contract stands for one link of the chain and judges by rules, which are listed with their sources by ``trivet explain``.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
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
)
from trivet.contracts.manifests import scaling_violations
from trivet.contracts.rules.companions import COMPANIONS
from trivet.contracts.rules.credentials import CREDENTIALS
from trivet.contracts.rules.effects import EFFECTS
from trivet.contracts.rules.knative import DROPPED, REVISION
from trivet.contracts.rules.kserve import KSERVE
from trivet.contracts.rules.llm import LLM
from trivet.contracts.rules.pods import PODS
from trivet.contracts.rules.podspec import POD_FIELDS
from trivet.contracts.rules.rule import (
    KNATIVE,
    MODE_SETTING,
    MODELMESH,
    STANDARD,
    Companion,
    Rules,
    Service,
    judged,
    service_of,
    undecided,
)
from trivet.contracts.rules.runtimes import (
    Runtime,
    Wanted,
    candidates,
    is_multi_node,
    is_of_its_nodes,
    selected,
    wanted,
)
from trivet.contracts.values import FILLED_LATER, each, has_placeholder, mapping, text

SEAM = ("kfp", "kserve")

VERSIONS: Mapping[str, str] = {"kserve": ">=0.12"}
"""The oldest version that these contracts were verified with, by reading and by the API server's dry run."""

SERVICE_RULES: tuple[Rules, ...] = (KSERVE, REVISION, DROPPED, PODS, POD_FIELDS, CREDENTIALS)


@contract(
    title="An InferenceService must keep the rules of KServe's webhook and controller",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "The schema admits what the webhook then rejects, and what the webhook admits the controller may "
        "refuse later: kubectl says created, "
        "and nothing is deployed."
    ),
    remedy="Change the field as the message says.",
    sources=KSERVE.sources,
)
def kserve_admits_the_service(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    if service.mode == MODELMESH:
        yield not_applicable("ModelMesh deploys it by rules of its own", location=manifest.at())
        return
    yield from judged((KSERVE,), service, f"it keeps the {len(KSERVE.rules)} rules of KServe")


@contract(
    title="An InferenceService in Knative mode must keep the rules of Knative's webhook",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe makes a Knative Service of each component, and Knative admits less than Kubernetes does. The "
        "InferenceService is admitted, and the "
        "reconciliation fails for good."
    ),
    remedy="Change the field as the message says, or deploy in Standard (RawDeployment) mode.",
    sources=REVISION.sources,
)
def knative_admits_the_revision(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    if reason := _without_knative(service):
        yield not_applicable(reason, location=manifest.at())
        return
    yield from judged((REVISION,), service, f"it keeps the {len(REVISION.rules)} rules of Knative")


@contract(
    title="A field that Knative does not have should not be set in Knative mode",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe copies the field into a Knative Service, whose CustomResourceDefinition does not have it: the API server drops it. The "
        "service is deployed and serves, without the grace period, hook or setting that the manifest shows."
    ),
    remedy="Remove the field, or deploy in Standard (RawDeployment) mode, where it has effect.",
    sources=DROPPED.sources,
)
def knative_keeps_the_fields(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    if reason := _without_knative(service):
        yield not_applicable(reason, location=manifest.at())
        return
    yield from judged((DROPPED,), service, "Knative has every field that it sets")


@contract(
    title="A setting should have an effect",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe admits a misspelt annotation, and one in another place than it reads it from, and a deployment mode ignores what another "
        "has: the service is deployed and serves, and not as its manifest shows."
    ),
    remedy="Write the setting as the message says, or remove it.",
    sources=EFFECTS.sources,
)
def settings_have_effect(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    if service.mode == MODELMESH:
        yield not_applicable("ModelMesh reads other settings", location=manifest.at())
        return
    yield from judged((EFFECTS,), service, "KServe reads every setting that these rules know")


@contract(
    title="The pods of an InferenceService must keep the rules of Kubernetes",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale="KServe passes most fields of a pod on unchecked: what Kubernetes then refuses shows in a ReplicaSet's events only.",
    remedy="Change the field as the message says.",
    sources=(*PODS.sources, *POD_FIELDS.sources),
)
def kubernetes_admits_the_pods(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    number = len(PODS.rules) + len(POD_FIELDS.rules)
    yield from judged((PODS, POD_FIELDS), service, f"its pods keep the {number} rules of Kubernetes")


@contract(
    title="An object beside an InferenceService must keep the rules of KServe and Kubernetes",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale="A runtime, graph, Secret or claim that is rejected, or admitted and unusable, shows first in "
    "a service that never becomes ready.",
    remedy="Change the field as the message says.",
    sources=(*COMPANIONS.sources, *LLM.sources),
)
def companion_is_admitted(resource: Resource, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    if resource.kind == "InferenceService":
        yield not_applicable("it is the InferenceService itself", location=resource.at())
        return
    companion = Companion(resource=resource, stack=stack, platform=platform)
    yield from judged((COMPANIONS, LLM), companion, f"the {resource.kind} keeps the rules for it")


@contract(
    title="The storage initializer must get its credentials",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe reads credentials by fixed keys from the Secrets that the service's ServiceAccount lists, or "
        "from a storage key. A Secret that it "
        "does not recognise is skipped in silence, and the download fails in every pod."
    ),
    remedy="List the Secret in the ServiceAccount's secrets, with the keys that KServe reads, and name "
    "the ServiceAccount in the component.",
    sources=CREDENTIALS.sources,
)
def credentials_reach_the_initializer(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    if service.mode == MODELMESH:
        yield not_applicable("ModelMesh pulls models itself", location=manifest.at())
        return
    yield from judged((CREDENTIALS,), service, "nothing among the paths shows that credentials are missing")


@contract(
    title="An object that a service names should be there under that name",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A ServiceAccount, Secret, ConfigMap or claim of another name or namespace than the applied one keeps "
        "the pods from being created, or the "
        "model from being fetched."
    ),
    remedy="Write the name, and namespace, of the object that is applied with the service.",
    sources=(
        "kserve 0.12.1, 0.13.1, 0.14.1 and 0.20.0 pkg/credentials/service_account_credentials.go; "
        "pkg/webhook/admission/pod/storage_initializer_injector.go",
        "k8s.io/kubernetes pkg/kubelet: a container with a missing Secret or ConfigMap is not started",
    ),
)
def named_objects_are_applied(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    yield from _named_elsewhere(_references(service), manifest, service.metadata, "service", platform)


@contract(
    title="An object that another one names should be there under that name",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A ServiceAccount with a misspelt Secret leaves the storage initializer without credentials, and a graph or TrainedModel with a "
        "misspelt InferenceService waits for it for good. Nothing rejects either."
    ),
    remedy="Write the name, and namespace, of the object that is applied with it.",
    sources=(
        "kserve 0.12.1, 0.13.1, 0.14.1 and 0.20.0 pkg/credentials/service_account_credentials.go, CreateSecretVolumeAndEnv: "
        "skips a missing Secret",
        "kserve 0.12.1, 0.13.1, 0.14.1 and 0.20.0 pkg/controller/v1alpha1/inferencegraph/controller.go; "
        "pkg/controller/v1alpha1/trainedmodel/controller.go",
        "k8s.io/kubernetes pkg/kubelet: a container with a missing Secret or ConfigMap is not started",
    ),
)
def companions_name_applied_objects(resource: Resource, platform: PlatformConfig) -> Iterator[Finding]:
    if resource.kind == "InferenceService":
        yield not_applicable("another contract judges it", location=resource.at())
        return
    metadata = mapping(resource.document.get("metadata"))
    yield from _named_elsewhere(_companion_references(resource), resource, metadata, resource.kind, platform)


def _named_elsewhere(
    references: Iterator[tuple[Keys, str, str]],
    subject: Manifest | Resource,
    metadata: Mapping[str, Any],
    what: str,
    platform: PlatformConfig,
) -> Iterator[Finding]:
    namespace = metadata.get("namespace")
    found = False
    named = list(references)
    for keys, kind, name in named:
        same_kind = platform.of_kind(kind)
        if not same_kind or platform.find(kind, name, namespace if isinstance(namespace, str) else ""):
            continue
        elsewhere = platform.find(kind, name)
        others = {other for _, _, other in named}
        close = _nearest(name, [one for one in same_kind if one not in others and not _are_siblings(one, name)])
        if elsewhere:
            found = True
            yield failed(
                f"the {kind} {name} is applied in the namespace {elsewhere.namespace}, and the {what} in {namespace}",
                location=subject.at(*keys),
            )
        elif close:
            found = True
            yield failed(f"no {kind} {name!r} is among the paths{close}", location=subject.at(*keys))
    if not found:
        yield passed("no object that it names is applied under another name or namespace", location=subject.at())


_STAGES = frozenset({"dev", "test", "qa", "stage", "staging", "prod", "production"})
"""Words of names by which the objects of one platform differ from those of another."""


def _are_siblings(name: str, other: str) -> bool:
    """Whether two names differ in their last letter or number or in a stage only: ``iris-a`` and ``iris-b``, or ``iris-dev`` and
    ``iris-prod``, are two objects, and no typing error."""
    words, other_words = (re.split(r"[-.]", one) for one in (name, other))
    differing = [pair for pair in itertools.zip_longest(words, other_words) if pair[0] != pair[1]]
    if len(differing) == 1 and set(differing[0]) <= _STAGES:
        return True
    stem, other_stem = (re.sub(r"-[a-z]?\d*$", "", one) for one in (name, other))
    same_digits = len(name) == len(other) and name.rstrip("0123456789") == other.rstrip("0123456789")
    return stem == other_stem or same_digits


def _companion_references(resource: Resource) -> Iterator[tuple[Keys, str, str]]:
    """The objects that a companion names: place, kind and name."""
    spec = mapping(resource.document.get("spec"))
    if resource.kind == "ServiceAccount":
        for field in ("secrets", "imagePullSecrets"):
            for keys, entry in each(resource.document.get(field), (field,)):
                yield (*keys, "name"), "Secret", text(entry.get("name"))
    elif resource.kind == "TrainedModel":
        yield ("spec", "inferenceService"), "InferenceService", text(spec.get("inferenceService"))
    elif resource.kind == "InferenceGraph":
        for node, settings in mapping(spec.get("nodes")).items():
            for keys, step in each(mapping(settings).get("steps"), ("spec", "nodes", node, "steps")):
                if name := text(step.get("serviceName")):
                    yield (*keys, "serviceName"), "InferenceService", name


def _references(service: Service) -> Iterator[tuple[Keys, str, str]]:
    """The objects that a service names: place, kind and name."""
    for pod in service.pods:
        if account := text(pod.settings.get("serviceAccountName")):
            yield (*pod.keys, "serviceAccountName"), "ServiceAccount", account
        for keys, volume in pod.each("volumes"):
            for source, field, kind in _VOLUMES:
                if name := text(mapping(volume.get(source)).get(field)):
                    yield (*keys, source, field), kind, name
        for container in (*pod.containers, *pod.init_containers):
            uri = text(container.spec.get("storageUri"))
            if uri.startswith("pvc://") and (claim := uri.removeprefix("pvc://").partition("/")[0]):
                yield (*container.keys, "storageUri"), "PersistentVolumeClaim", claim
            for keys, variable in container.each("env"):
                for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
                    if name := text(mapping(mapping(variable.get("valueFrom")).get(field)).get("name")):
                        yield (*keys, "valueFrom", field, "name"), kind, name


_VOLUMES = (
    ("secret", "secretName", "Secret"),
    ("configMap", "name", "ConfigMap"),
    ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
)


@contract(
    title="What a manifest leaves to the platform should be known",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "Whether a field is admitted can depend on the default deployment mode, on Knative's features or on "
        "runtimes of the platform's own: lint "
        "names what it cannot decide instead of assuming it."
    ),
    remedy=MODE_SETTING,
    sources=(
        "kserve 0.12.1, 0.13.1, 0.14.1 and 0.20.0 config/configmap/inferenceservice.yaml, data.deploy",
        "knative serving 0.42.2 and 0.48.1 pkg/apis/config/features.go",
    ),
)
def platform_is_known(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    found = False
    if service.mode != MODELMESH:
        for finding in (*undecided(SERVICE_RULES, service), *_unknown_runtime(service), *_scaling(service)):
            found = True
            yield finding
    if not found:
        yield passed("nothing in it depends on what is not known of the platform", location=manifest.at())


@contract(
    title="A model must have a serving runtime",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KServe takes the runtime that the service names, or one that declares format, version and protocol. "
        "Without one the InferenceService is "
        "admitted, and nothing is deployed (NoSupportingRuntime, RuntimeNotRecognized)."
    ),
    remedy="Use a format, version and protocol that a runtime declares, or put the ServingRuntime among the paths.",
    sources=(
        "kserve 0.12.1, 0.13.1, 0.14.1 and 0.20.0 pkg/apis/serving/v1beta1/predictor_model.go, GetSupportingRuntimes, RuntimeSupportsModel",
        "kserve 0.12.1, 0.13.1, 0.14.1 and 0.20.0 pkg/controller/v1beta1/inferenceservice/components/predictor.go",
        "kserve 0.12.1, 0.13.1, 0.14.1 and 0.20.0 config/runtimes",
    ),
)
def runtime_serves_the_model(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    asked = wanted(service)
    if asked is None:
        yield not_applicable("KServe selects no runtime for it", location=manifest.at("spec", "predictor"))
        return
    if has_placeholder(stated := asked.model.get("modelFormat")):
        yield inconclusive(
            f"modelFormat is {stated!r}: {FILLED_LATER}", location=manifest.at(*asked.keys, "modelFormat")
        )
        return
    if asked.runtime == "":
        yield failed(
            "spec.predictor.model.runtime is empty, and KServe looks for a runtime with that name: name one, or remove the field",
            location=manifest.at(*asked.keys, "runtime"),
        )
        return
    if not asked.format:
        yield failed(
            "spec.predictor.model has no modelFormat with a name, and no runtime serves a model without: write modelFormat: {name: …}",
            location=manifest.at(*asked.keys),
        )
        return
    for field, value in (
        ("runtime", asked.runtime),
        ("modelFormat", asked.format),
        ("modelFormat", asked.version),
        ("protocolVersion", asked.protocol),
    ):
        if has_placeholder(value):
            yield inconclusive(f"{field} is {value!r}: {FILLED_LATER}", location=manifest.at(*asked.keys, field))
            return
    found, complete = candidates(service)
    if asked.runtime is not None:
        yield from _named(manifest, asked, asked.runtime, found, service)
        return
    runtime = selected(service, asked, found)
    where = manifest.at(*asked.keys, "modelFormat")
    if runtime:
        yield passed(f"{runtime.name} declares {_format(asked)} for {asked.protocol}", location=where)
    elif not complete or _is_the_stacks(stack, asked):
        yield not_applicable(
            "other contracts judge it, or a runtime of the platform's own may serve it", location=where
        )
    else:
        yield failed(_no_runtime(asked, found, service), location=where)


def _is_the_stacks(stack: Stack, asked: Wanted) -> bool:
    """Whether manifests.protocol_version_is_served and format_version_is_served judge it."""
    return asked.keys[-1] == "model" and asked.format == stack.settings["serving"]["model_format"]


def _format(asked: Wanted) -> str:
    return f"{asked.format} {asked.version}" if asked.version else asked.format


def _no_runtime(asked: Wanted, found: list[Runtime], service: Service) -> str:
    declaring = [one for one in found if one.declares(asked.format, None, named=False)]
    formats = sorted({form.name for one in found for form in one.formats or () if form.automatic})
    if not declaring:
        named = [one for one in found if one.declares(asked.format, None, named=True)]
        hint = _nearest(asked.format, formats) or f"; declared are {', '.join(formats)}"
        if named:
            hint = f"; {_each(named, 'has', 'have')} it where the service names the runtime"
        if not found:
            hint = ": the platform has no runtimes"
        return f"no runtime declares the model format {asked.format!r}{hint}"
    versions = sorted(
        {form.version for one in declaring for form in one.formats or () if form.name == asked.format and form.version}
    )
    if asked.version and asked.version not in versions:
        declared = f"is the version {versions[0]}" if len(versions) == 1 else f"are the versions {', '.join(versions)}"
        return f"no runtime declares {_format(asked)}; declared {declared}"
    usable = [one for one in declaring if not one.disabled and not one.multi_model]
    fitting = [one for one in usable if is_of_its_nodes(one, service)]
    if usable and not fitting:
        several = is_multi_node(service)
        nodes = "for a single node, and the service has" if several else "for several nodes, and the service has no"
        return f"{_each(usable, 'declares', 'declare')} {_format(asked)} only {nodes} workerSpec"
    if not usable:
        or_several = "and is disabled or serves" if len(declaring) == 1 else "and are disabled or serve"
        return f"{_each(declaring, 'declares', 'declare')} {_format(asked)}, {or_several} several models"
    served = sorted({protocol for one in fitting for protocol in one.protocols})
    return f"no runtime for {_format(asked)} serves protocol {asked.protocol}; {_each(fitting, 'serves', 'serve')} {', '.join(served)}"


def _each(runtimes: Sequence[Runtime], of_one: str, of_several: str) -> str:
    """The names of runtimes and the verb that goes with so many."""
    return f"{' and '.join(one.name for one in runtimes)} {of_one if len(runtimes) == 1 else of_several}"


def _named(manifest: Manifest, asked: Wanted, name: str, found: list[Runtime], service: Service) -> Iterator[Finding]:
    where = manifest.at(*asked.keys, "runtime")
    named = [one for one in found if one.name == name]
    own = service.platform.runtimes
    if not named and name not in own and (own or service.platform.runtimes_are_known):
        names = [*own, *(one.name for one in found)]
        yield failed(f"the platform has no runtime {name!r}{_nearest(name, names)}", location=where)
        return
    if not named:
        yield not_applicable(f"nothing is known of the runtime {name} but its name", location=where)
        return
    problems = [_problem_of(asked, one, service) for one in named]
    if None in problems or problems[0] is None:
        yield passed(f"{name} declares {_format(asked)}", location=where)
    else:
        key, message = problems[0]
        yield failed(message, location=manifest.at(*asked.keys, key))


def _problem_of(asked: Wanted, runtime: Runtime, service: Service) -> tuple[str, str] | None:
    """Why a runtime that the service names does not serve it, and of which field that is; None if it does."""
    stated = asked.model.get("protocolVersion")
    if runtime.disabled:
        return "runtime", f"the runtime {runtime.name} is disabled"
    if stated and not runtime.serves(str(stated)) and runtime.name != service.stack.settings["serving"]["runtime"]:
        return "protocolVersion", (
            f"the runtime {runtime.name} does not serve protocol {stated}, only {', '.join(runtime.protocols)}"
        )
    if not runtime.declares(asked.format, asked.version, named=True):
        declared = sorted(
            {f"{form.name} {form.version}" if form.version else form.name for form in runtime.formats or ()}
        )
        return "runtime", (
            f"the runtime {runtime.name} does not declare {_format(asked)}; it declares {', '.join(declared)}"
        )
    return None


def _scaling(service: Service) -> Iterator[Finding]:
    """Of scaling settings that have no effect in one mode, where the mode is not known."""
    if not service.mode:
        for violation in scaling_violations(service.manifest, service.stack, "", False)[1]:
            yield inconclusive(violation.message, location=service.manifest.at(*violation.keys), remedy=MODE_SETTING)


RUNTIMES_SETTING = "put the ServingRuntime among the paths, or list its name under `[tool.trivet.lint] runtimes`"


def _unknown_runtime(service: Service) -> Iterator[Finding]:
    """Of a runtime that is neither KServe's nor among the objects applied with the service, where the platform's own are not known."""
    asked = wanted(service)
    if asked is None or not asked.runtime or service.platform.runtimes:
        return
    names = [one.name for one in candidates(service)[0]]
    if asked.runtime in names:
        return
    kserve = f"KServe {service.stack.components['kserve']}"
    where = service.manifest.at(*asked.keys, "runtime")
    message = f"the runtime {asked.runtime!r} is neither of {kserve} nor among the paths"
    elsewhere = [one.namespace for one in service.platform.resources.get(("ServingRuntime", asked.runtime), ())]
    if elsewhere:
        namespace = service.metadata.get("namespace")
        yield failed(
            f"the ServingRuntime {asked.runtime} is applied in the namespace {' and '.join(elsewhere)}, and the service in {namespace}",
            location=where,
        )
    elif close := _nearest(asked.runtime, names):
        yield failed(message + close, location=where, remedy=RUNTIMES_SETTING)
    else:
        yield inconclusive(message, location=where, remedy=RUNTIMES_SETTING)


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, 1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


@contract(
    title="A canary of spec.canary must get traffic",
    level=MUST,
    seam=SEAM,
    versions={"kserve": ">=0.20,<0.21"},
    rationale=(
        "KServe 0.20.0 admits spec.canary in Standard mode, deploys its pods and reports trafficPercent in the "
        "status, and its ingress refers to the "
        "stable predictor only: the canary is Ready and no request reaches it."
    ),
    remedy=(
        "Deploy in Knative mode with canaryTrafficPercent, or deploy the new model as an InferenceService of its "
        "own, and split the traffic before both."
    ),
    sources=(
        "kserve 0.20.0 pkg/controller/v1beta1/inferenceservice/components/predictor.go, "
        "reconcileCanaryDeployments; nothing under reconcilers/ingress "
        "reads Spec.Canary",
        "kserve/kserve#5912, merged after 0.20.0, adds weighted backends for canaries to reconcilers/ingress/httproute_reconciler.go",
    ),
)
def canary_gets_traffic(manifest: Manifest, stack: Stack, platform: PlatformConfig) -> Iterator[Finding]:
    service = service_of(manifest, stack, platform)
    listed = service.spec.get("canary")
    where = manifest.at("spec", "canary")
    if not isinstance(listed, list) or not listed:
        yield passed("there is no spec.canary", location=manifest.at())
    elif service.mode not in (STANDARD, ""):
        yield not_applicable(f"KServe rejects spec.canary in {service.mode} mode", location=where)
    else:
        yield failed(
            f"KServe {stack.components['kserve']} deploys spec.canary and routes no traffic to it, whatever trafficPercent says",
            location=where,
        )


def _without_knative(service: Service) -> str:
    """Why Knative's rules do not apply to a service; empty if they do."""
    if service.mode == KNATIVE:
        return ""
    return f"in {service.mode} mode Knative is not used" if service.mode else "the deployment mode is not known"
