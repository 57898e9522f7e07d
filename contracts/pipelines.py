"""kfp → mlflow: a step records its run on the configured tracking server, runs, and has resource limits."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any
from uuid import uuid4

from trivet.authoring import (
    MUST,
    SHOULD,
    CompiledPipeline,
    Finding,
    Handover,
    Keys,
    Outcome,
    PipelineClient,
    TrainerClient,
    UsageError,
    contract,
    evidence,
    failed,
    first_exception,
    inconclusive,
    not_applicable,
    passed,
)
from trivet.contracts.ir.backend import is_opened
from trivet.contracts.ir.credentials import credential_assigned_in, credential_in, is_credential, masked
from trivet.contracts.ir.dataflow import given_constants
from trivet.contracts.ir.messages import DEPLOYMENT, NEWEST, PLATFORM, SPEC, spec_violations
from trivet.contracts.ir.parts import (
    CLOUD,
    Step,
    component_of,
    components,
    definitions,
    executors,
    is_cloud_pipeline,
    platform_executors,
    steps,
    tasks,
)
from trivet.contracts.ir.platform import EXECUTORS, config_violations, refused_tolerations, unresolved
from trivet.contracts.ir.references import dangling, nearest, unfit_arguments
from trivet.contracts.ir.resources import PLACEHOLDER, effective, resource_violations
from trivet.contracts.ir.step_code import THIS_PYTHON, VARIABLE, syntax_error
from trivet.contracts.rules.names import image_problem
from trivet.contracts.values import mapping, path
from trivet.contracts.violation import Violation
from trivet.integration import TrackingApi, TrackingError, resolve_storage_uri

SEAM = ("kfp", "mlflow")

UNBEATABLE = 0.999
"""Weighted F1 of the version in production in ``gate_compares_with_production``: no candidate of the example reaches it."""

VERSIONS: Mapping[str, str] = {"kfp": ">=2.0"}
"""The oldest versions that these contracts were verified with, by reading or running them."""

LIVE_VERSIONS: Mapping[str, str] = {"kfp": ">=2.7", "mlflow": ">=2.12"}
"""Whole pipelines run locally since kfp 2.7 (sdk/RELEASE.md)."""


# -- static: the compiled pipeline ------------------------------------------------------------------------------------


@contract(
    title="The API server must be able to read the compiled pipeline",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "The API server refuses a pipeline with an unknown field or a value of another type when it is uploaded. Unknown fields of "
        "an executor are ignored silently: a limit or a variable with a misspelt name is not there when the step runs."
    ),
    remedy="Correct the field, or compile the pipeline again: the SDK writes no others.",
    sources=(
        "kfp-pipeline-spec 2.17.3 pipeline_spec.proto, PipelineSpec and PipelineDeploymentConfig",
        "kubeflow/pipelines 2.17.0 and 2.0.5 backend/src/apiserver/template/v2_template.go, NewV2SpecTemplate: protojson, schema 2.1.0, "
        "name, root",
        "kubeflow/pipelines 2.17.0 backend/src/v2/compiler/visitor.go, GetDeploymentConfig: DiscardUnknown",
    ),
)
def spec_is_valid(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    if is_cloud_pipeline(compiled_pipeline):
        yield not_applicable(CLOUD, location=compiled_pipeline.at())
        return
    sound = True
    document = compiled_pipeline.document
    newer = _is_newer(document.get("sdkVersion"))
    found = [(each, "the API server refuses the pipeline") for each in spec_violations(document, SPEC)]
    if isinstance(document.get("deploymentSpec"), dict):
        found += [
            (each, "KFP silently ignores it" if each.unknown else "KFP cannot run the pipeline")
            for each in spec_violations(document["deploymentSpec"], DEPLOYMENT, ("deploymentSpec",))
        ]
    for each, effect in found:
        sound = False
        name, where = ".".join(map(str, each.keys)), compiled_pipeline.at(*each.keys)
        if each.unknown and newer:
            yield inconclusive(
                f"{name} is not a field of KFP {'.'.join(map(str, NEWEST))}, and the pipeline is of {document['sdkVersion']}",
                location=where,
            )
        else:
            yield failed(f"{name} {each.message}: {effect}", location=where)
    for each in spec_violations(compiled_pipeline.platform, PLATFORM):
        sound = False
        yield failed(
            f"platform spec: {'.'.join(map(str, each.keys))} {each.message}: KFP silently ignores the whole document",
            location=compiled_pipeline.at_platform(*each.keys),
        )
    platforms = mapping(compiled_pipeline.platform.get("platforms"))
    if platforms and "kubernetes" not in platforms:  # backend/src/apiserver/template/v2_template.go
        sound = False
        yield failed(
            f"platform spec: platforms has {', '.join(map(str, platforms))} and no kubernetes: KFP silently ignores the whole document",
            location=compiled_pipeline.at_platform("platforms"),
        )
    for each in config_violations(compiled_pipeline):
        sound = False
        name, where = ".".join(map(str, each.keys[len(EXECUTORS) :])), compiled_pipeline.at_platform(*each.keys)
        if each.unknown and newer:
            yield inconclusive(
                f"platform spec: {name} is not a field of KFP {'.'.join(map(str, NEWEST))}", location=where
            )
        else:
            effect = "KFP silently ignores it" if each.unknown else "KFP cannot run the step"
            yield failed(f"platform spec: {name} {each.message}: {effect}", location=where)
    for violation in refused_tolerations(compiled_pipeline):
        sound = False
        yield failed(
            f"platform spec: {violation.message.removeprefix(f'{path(EXECUTORS)}.')}: Kubernetes refuses the pod",
            location=compiled_pipeline.at_platform(*violation.keys),
        )
    for keys, problem in _unusable_images(compiled_pipeline):
        sound = False
        yield failed(f"{problem}: the kubelet cannot pull it", location=compiled_pipeline.at(*keys))
    for keys, problem in _refused(document):
        sound = False
        yield failed(f"{problem}: the API server refuses the pipeline", location=compiled_pipeline.at(*keys))
    if sound:
        yield passed("every field is known and has a value of its type", location=compiled_pipeline.at())


def _unusable_images(pipeline: CompiledPipeline) -> Iterator[tuple[Keys, str]]:
    """Images that are no references; one that the driver fills in is not known."""
    for label, executor in executors(pipeline).items():
        image = mapping(executor.get("container")).get("image")
        if isinstance(image, str) and image and PLACEHOLDER not in image and (why := image_problem(image)):
            keys = ("deploymentSpec", "executors", label, "container", "image")
            yield keys, f"the image {image!r} of {label} is no reference of an image: {why}"


def _is_newer(sdk_version: object) -> bool:
    found = re.match(r"kfp-(\d+)\.(\d+)", str(sdk_version))
    return found is not None and (int(found[1]), int(found[2])) > NEWEST


def _refused(document: Mapping[str, Any]) -> Iterator[tuple[Keys, str]]:
    """What NewV2SpecTemplate asks of a pipeline beside its fields."""
    name, schema = mapping(document.get("pipelineInfo")).get("name"), document.get("schemaVersion")
    if not name:
        yield ("pipelineInfo",), "pipelineInfo.name is empty"
    elif isinstance(name, str) and not re.search("[a-z0-9]", name):
        yield (
            ("pipelineInfo", "name"),
            f"pipelineInfo.name is {name!r}, expected lower-case letters, digits, '-' and '.'",
        )
    if not document.get("root"):
        yield ("root",), "there is no root: no task would run"
    if str(schema) != "2.1.0":
        yield ("schemaVersion",), f"schemaVersion is {schema}, expected 2.1.0" if schema else "schemaVersion is missing"


@contract(
    title="Every component, task, executor and output that a pipeline refers to must exist",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KFP looks a reference up when the run is created or when the task starts. A reference to nothing fails there, after the "
        "steps before it have run, or leaves a task waiting for ever."
    ),
    remedy="Correct the name, or compile the pipeline again: the SDK writes references to what there is.",
    sources=(
        "kubeflow/pipelines 2.17.0 and 2.0.5 backend/src/v2/compiler/visitor.go, dfs: components and executors",
        "kubeflow/pipelines 2.17.0 backend/src/v2/compiler/argocompiler/dag.go, addImplicitDependencies: unknown producer task",
        "kubeflow/pipelines 2.17.0 backend/src/v2/driver/resolve.go: inputs of the parent, outputs of tasks; util.go: placeholders",
    ),
)
def references_resolve(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    lost = [label for label in platform_executors(compiled_pipeline) if label not in executors(compiled_pipeline)]
    for label in lost:
        keys = ("platforms", "kubernetes", "deploymentSpec", "executors", label)
        yield failed(
            f"the platform spec configures the executor {label}, and deploymentSpec has none of that name"
            f"{nearest(label, executors(compiled_pipeline))}: KFP silently ignores its secrets, volumes and tolerations",
            location=compiled_pipeline.at_platform(*keys),
        )
    unresolved_in_platform = list(unresolved(compiled_pipeline))
    for violation in unresolved_in_platform:
        yield failed(f"platform spec: {violation.message}", location=compiled_pipeline.at_platform(*violation.keys))
    found = _violations(
        compiled_pipeline,
        (*dangling(compiled_pipeline), *_missing_functions(compiled_pipeline)),
        "every reference resolves",
    )
    sound = not lost and not unresolved_in_platform
    yield from (finding for finding in found if sound or finding.outcome is not Outcome.PASSED)


def _missing_functions(pipeline: CompiledPipeline) -> Iterator[Violation]:
    """Functions that a step executes and that its source, where it is in the pipeline, does not define."""
    for step in steps(pipeline):
        sources = [text.text for text in step.texts if text.source]
        for option, text in pairwise(step.texts):
            if option.text != "--function_to_execute" or not sources:
                continue
            defined = {
                name for source in sources for name in re.findall(r"^(?:async )?def (\w+)\(", source, re.MULTILINE)
            }
            if defined and text.text not in defined:
                yield Violation(
                    text.keys,
                    f"step {step.name} executes the function {text.text!r}, which its source does not define"
                    f"{nearest(text.text, defined)}",
                )


@contract(
    title="Every task must give its component the inputs that it requires, of their types",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "The driver fails a task whose required input is missing or has another type. It does not look at inputs that the component "
        "does not have: with a misspelt name the step runs with its default."
    ),
    remedy="Correct the name or the value of the input, or compile the pipeline again.",
    sources=(
        "kubeflow/pipelines 2.17.0 backend/src/v2/driver/resolve.go, handleParamTypeValidationAndConversion and its TODO for inputs "
        "beyond the definition; 2.0.5 backend/src/v2/driver/driver.go, resolveInputs",
    ),
)
def inputs_fit_their_component(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    yield from _violations(
        compiled_pipeline, unfit_arguments(compiled_pipeline), "every task gives what its component requires"
    )


def _violations(pipeline: CompiledPipeline, found: Iterable[Violation], sound: str) -> Iterator[Finding]:
    violations = list(found)
    for each in violations:
        yield failed(each.message, location=pipeline.at(*each.keys))
    if not violations:
        yield passed(sound, location=pipeline.at())


@contract(
    title="The source code of a step must be Python",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale="The SDK puts the function's source into the pipeline as a text; nothing reads it before the step runs, and fails.",
    remedy="Correct the component's function, and compile the pipeline again.",
    sources=("kfp 2.9.0 and 2.17.0 kfp/dsl/component_factory.py, _get_command_and_args_for_lightweight_component",),
)
def step_source_is_python(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    sound = 0
    for step in steps(compiled_pipeline):
        for text in step.texts:
            if not text.source:
                continue
            where = compiled_pipeline.at(*text.keys)
            error, newer = syntax_error(text.text)
            if not error:
                sound += 1
                yield passed(f"step {step.name}: its source is Python", location=where)
            elif newer:
                yield inconclusive(
                    f"step {step.name}: its source is not {THIS_PYTHON}: {error}; a later Python may read it",
                    location=where,
                    remedy="Run trivet with the Python of the step's image.",
                )
            else:
                yield failed(f"step {step.name}: its source is not Python: {error}", location=where)
    if not any(text.source for step in steps(compiled_pipeline) for text in step.texts):
        yield not_applicable("no step has source code of its own", location=compiled_pipeline.at())


@contract(
    title="The tracking server's address must not be hard-coded in a step",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A hard-coded address stays the same when the server moves or the pipeline is copied to another cluster: "
        "runs go to the old server, or are lost."
    ),
    remedy=(
        f"Remove the URI from the code; set {VARIABLE} on the task (set_env_variable, a ConfigMap or Secret) or pass it "
        "as a pipeline parameter."
    ),
    sources=(
        "mlflow 2.17.2 mlflow/tracking/_tracking_service/utils.py, get_tracking_uri",
        "kfp IR 2.1.0: deploymentSpec.executors.*.container",
    ),
)
def tracking_uri_is_injected(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    recording = False
    sound = True
    unset: list[str] = []
    for step in steps(compiled_pipeline):
        for keys, place in _hard_coded(step):
            sound = False
            yield failed(f"step {step.name}: {place}", location=compiled_pipeline.at(*keys))
        recording |= step.uses_mlflow
        if step.uses_mlflow and not _has_tracking_uri(step, compiled_pipeline):
            unset.append(step.name)
    for keys, task, parameter, value in _defaults_in_force(compiled_pipeline):
        sound = False
        yield failed(
            f"task {task} does not set {parameter}, and the default of its component is {masked(value)!r}",
            location=compiled_pipeline.at(*keys),
        )
    if not recording and sound:
        yield not_applicable("no step uses mlflow in its code", location=compiled_pipeline.at())
    elif sound and unset:
        yield passed(
            f"no step hard-codes a tracking server; the pipeline sets none for {', '.join(unset)} either, so the "
            f"platform must inject {VARIABLE}, for example with a PodDefault or pod template",
            location=compiled_pipeline.at(),
        )
    elif sound:
        yield passed(
            "no step's code and no effective default hard-codes a tracking server", location=compiled_pipeline.at()
        )


def _hard_coded(step: Step) -> Iterator[tuple[Keys, str]]:
    """Tracking servers in the code and in the arguments of a step."""
    option = ""
    for text in step.texts:
        for sentence in text.program.literals:
            yield text.keys, sentence
        name, equals, value = text.text.partition("=")
        if _OPTION.fullmatch(option) and _ADDRESS.match(text.text):
            yield text.keys, f"its arguments set {option} to {masked(text.text)!r}"
        elif equals and _OPTION.fullmatch(name) and _ADDRESS.match(value):
            yield text.keys, f"its arguments set {name} to {masked(value)!r}"
        option = text.text


_OPTION = re.compile(r"--?(mlflow[-_])?(tracking|registry)[-_](uri|url|server)")
_ADDRESS = re.compile(r"[a-zA-Z][\w+.-]*:/|databricks")


@contract(
    title="A pipeline must not contain credentials",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KFP stores a pipeline, shows it to everybody who sees the run, and puts it into the Workflow and the pod: whoever can read "
        "one of them has the password of the tracking server or of the artifact store."
    ),
    remedy=(
        "Take it from a Secret (kfp.kubernetes.use_secret_as_env or use_secret_as_volume), remove it here, and replace it where it "
        "is valid: whoever had the file knows it."
    ),
    sources=(
        "kubeflow/pipelines 2.17.0 backend/src/v2/compiler/argocompiler/argo.go, saveProtoToArguments: container and component are "
        "arguments of the Workflow",
        "kfp-kubernetes 2.17.0 kfp/kubernetes/secret.py, use_secret_as_env",
        "mlflow 2.17.2 mlflow/environment_variables.py: MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN",
    ),
)
def credentials_are_injected(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    sound = True
    for keys, place in _credentials(compiled_pipeline):
        sound = False
        yield failed(place, location=compiled_pipeline.at(*keys))
    if sound:
        yield passed("no code, variable, argument or default contains a credential", location=compiled_pipeline.at())


def _credentials(pipeline: CompiledPipeline) -> Iterator[tuple[Keys, str]]:
    """The places with a credential, each with a sentence that does not quote it."""
    for step in steps(pipeline):
        env = step.container.get("env")
        for index, entry in enumerate(env if isinstance(env, list) else ()):
            name, value = str(mapping(entry).get("name")), mapping(entry).get("value")
            keys: Keys = (*step.keys, "env", index, "value")
            if is_credential(name, value):
                yield keys, f"step {step.name}: its environment variable {name} is a literal credential"
            elif isinstance(value, str) and (found := credential_in(value)):
                yield keys, f"step {step.name}: its environment variable {name} contains {found}"
        option = ""
        for text in step.texts:
            if text.source:
                yield from ((text.keys, f"step {step.name}: {sentence}") for sentence in text.program.secrets)
            elif option.startswith("--") and is_credential(option, text.text):
                yield text.keys, f"step {step.name}: its arguments set {option} to a literal"
            elif name := credential_assigned_in(text.text):
                yield text.keys, f"step {step.name}: its command sets {name} to a literal"
            elif found := credential_in(text.text):
                yield text.keys, f"step {step.name}: its command contains {found}"
            option = text.text
    for keys, name, value in _values(pipeline):
        if is_credential(name, value):
            yield keys, f"the parameter {name} is a literal credential"
        elif isinstance(value, str) and (found := credential_in(value)):
            yield keys, f"the parameter {name} contains {found}"


def _values(pipeline: CompiledPipeline) -> Iterator[tuple[Keys, str, Any]]:
    """Every default and constant of a parameter."""
    owners: list[tuple[Keys, Mapping[str, Any]]] = [(("root",), mapping(pipeline.document.get("root")))]
    owners += [(("components", name), component) for name, component in components(pipeline).items()]
    for keys, component in owners:
        for name, settings in definitions(component, "input", "parameters").items():
            yield (*keys, "inputDefinitions", "parameters", name, "defaultValue"), name, settings.get("defaultValue")
    for keys, task in tasks(pipeline):
        for name, source in mapping(mapping(task.get("inputs")).get("parameters")).items():
            constant = mapping(mapping(source).get("runtimeValue")).get("constant")
            yield (*keys, "inputs", "parameters", name, "runtimeValue", "constant"), name, constant


@contract(
    title="A step's resources must be quantities that Kubernetes accepts",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "The driver fails on a text that is no quantity, Kubernetes refuses a request above its limit or an unknown type of "
        "accelerator, and an accelerator without type or count is dropped: the step then trains without one."
    ),
    remedy=(
        "Use quantities such as 500m, 2, 512Mi or 4Gi, requests up to the limits, and set_accelerator_type('nvidia.com/gpu') together "
        "with set_accelerator_limit."
    ),
    sources=(
        "kubeflow/pipelines 2.17.0 backend/src/v2/driver/driver.go, getPodResource and initPodSpecPatch; 2.0.5 the same for numbers",
        "k8s.io/apimachinery v0.30 pkg/api/resource/quantity.go, ParseQuantity",
        "k8s.io/kubernetes v1.30 pkg/apis/core/validation, ValidateResourceRequirements and validateContainerResourceName",
        "kfp IR 2.1.0: PipelineContainerSpec.ResourceSpec; cpuLimit and memoryLimit until SDK 2.9, resourceCpuLimit and "
        "resourceMemoryLimit beside them since",
    ),
)
def resources_are_valid(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    judged = sound = 0
    for step in steps(compiled_pipeline):
        resources = mapping(step.container.get("resources"))
        judged += bool(resources)
        violations = list(resource_violations(resources))
        sound += bool(resources) and not violations
        for violation in violations:
            where = compiled_pipeline.at(*step.keys, "resources", *violation.keys)
            yield failed(f"step {step.name}: {violation.message}", location=where)
    if not judged:
        yield not_applicable("no step sets resources", location=compiled_pipeline.at())
    elif sound == judged:
        yield passed(f"the resources of {_steps(sound)} are valid", location=compiled_pipeline.at())


@contract(
    title="Every step should have CPU and memory limits",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "A step without limits can use all resources of the node: the tracking server or a predictor on it is then "
        "evicted or OOM-killed."
    ),
    remedy=(
        "Call set_cpu_limit and set_memory_limit on every task; for accelerators set_accelerator_type and "
        "set_accelerator_limit together."
    ),
    sources=(
        "kfp IR 2.1.0: PipelineContainerSpec.ResourceSpec; cpuLimit and memoryLimit until SDK 2.9, resourceCpuLimit "
        "and resourceMemoryLimit beside them since",
        "kubeflow/pipelines 2.17.0 and 2.0.5, dummyImages: the driver runs createpvc and deletepvc without a pod",
    ),
)
def resources_are_limited(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    judged = list(steps(compiled_pipeline))
    if not judged:
        yield not_applicable("no step runs a container of its own", location=compiled_pipeline.at())
        return
    lacking: dict[str, list[str]] = {}
    first: Step | None = None
    for step in judged:
        resources = mapping(step.container.get("resources"))
        missing = [name for name in ("CPU", "memory") if not effective(resources, f"{name.capitalize()}Limit")[0]]
        if missing:
            first = first or step
            lacking.setdefault(" and ".join(missing), []).append(step.name)
    if first is None:
        yield passed(
            f"{_steps(len(judged))} {'has' if len(judged) == 1 else 'have'} limits for CPU and memory",
            location=compiled_pipeline.at(),
        )
        return
    parts = [
        f"{len(names)} of {_steps(len(judged))} {'has' if len(names) == 1 else 'have'} no limit for {what}: {_listed(names)}"
        for what, names in lacking.items()
    ]
    yield failed("; ".join(parts), location=compiled_pipeline.at(*first.keys, "resources"))


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


@contract(
    title="A step that records a run should not be cached",
    level=SHOULD,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "On a cache hit KFP copies the outputs of an earlier execution: the pipeline succeeds, and MLflow has no "
        "run, metrics or model of it."
    ),
    remedy="Call set_caching_options(False) on the task.",
    sources=("kfp IR 2.1.0: PipelineTaskSpec.cachingOptions.enableCache, true unless switched off",),
)
def recording_step_is_not_cached(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    recording = {step.component for step in steps(compiled_pipeline) if step.records}
    found = [(keys, task) for keys, task in tasks(compiled_pipeline) if component_of(task) in recording]
    if not found:
        yield not_applicable("no step records a run in its code", location=compiled_pipeline.at())
        return
    cached = [keys for keys, task in found if mapping(task.get("cachingOptions")).get("enableCache")]
    names = [str(keys[-1]) for keys in cached or [keys for keys, _ in found]]
    tasks_are = f"task {names[0]}" if len(names) == 1 else f"{len(names)} tasks ({_listed(names)})"
    where = compiled_pipeline.at(*(cached or [found[0][0]])[0], "cachingOptions")
    if len(cached) == 1:
        yield failed(f"{tasks_are} records a run and is cached", location=where)
    elif cached:
        yield failed(f"{tasks_are} record a run and are cached", location=where)
    else:
        yield passed(f"{tasks_are} {'is' if len(names) == 1 else 'are'} not cached", location=where)


@contract(
    title="An importer must name an artifact that KFP can fetch",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "KFP's launcher opens object stores only. An importer of MLflow's runs:/ or models:/ URI fails, or, before KFP 2.3, succeeds "
        "and the step that takes the artifact fails before its code starts."
    ),
    remedy=(
        "Resolve the URI first (trivet.integration.resolve_storage_uri in the training step) and import that, or pass MLflow's URI as "
        "a string parameter."
    ),
    sources=(
        "kubeflow/pipelines 2.17.0 and 2.0.5 backend/src/v2/objectstore/config.go, ParseBucketConfigForArtifactURI: gs, s3, minio, mem",
        "kubeflow/pipelines 2.17.0 backend/src/v2/component/launcher_v2.go: oci, since 2.5.0",
    ),
)
def imported_artifact_is_fetchable(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    judged = False
    for label, uri, keys in _imported(compiled_pipeline):
        judged = True
        name, where = label.removeprefix("exec-"), compiled_pipeline.at(*keys)
        if is_opened(uri):
            yield passed(f"importer {name}: {masked(uri)} is in a store that KFP opens", location=where)
        else:
            yield failed(
                f"importer {name}: KFP cannot fetch {masked(uri)!r}, expected gs://, s3://, minio:// or oci://",
                location=where,
            )
    if not judged:
        yield not_applicable("no importer names its artifact in the pipeline", location=compiled_pipeline.at())


def _imported(pipeline: CompiledPipeline) -> Iterator[tuple[str, str, Keys]]:
    """Label, URI and its place, for every URI in the pipeline that an importer gets."""
    given = given_constants(pipeline)
    users = {str(component.get("executorLabel")): name for name, component in components(pipeline).items()}
    for label, executor in executors(pipeline).items():
        importer = mapping(executor.get("importer"))
        source = mapping(importer.get("artifactUri"))
        if str(mapping(importer.get("typeSchema")).get("schemaTitle")).startswith("google."):
            continue
        uri, parameter = source.get("constant"), source.get("runtimeParameter")
        if isinstance(uri, str) and uri:
            yield label, uri, ("deploymentSpec", "executors", label, "importer", "artifactUri")
        elif isinstance(parameter, str):
            for constant in sorted(given.get((users.get(label, ""), parameter), ())):
                if constant.text and not constant.text.startswith(PLACEHOLDER):
                    yield label, constant.text, constant.keys


def _has_tracking_uri(step: Step, pipeline: CompiledPipeline) -> bool:
    """Whether the container, a Secret or a ConfigMap sets the variable, or the component has a parameter for the URI."""
    env = step.container.get("env")
    if isinstance(env, list) and any(mapping(entry).get("name") == VARIABLE for entry in env):
        return True
    kubernetes = platform_executors(pipeline).get(str(step.keys[2]), {})
    sources = [*_maps(kubernetes.get("secretAsEnv")), *_maps(kubernetes.get("configMapAsEnv"))]
    if any(each.get("envVar") == VARIABLE for source in sources for each in _maps(source.get("keyToEnv"))):
        return True
    declared = definitions(components(pipeline).get(step.component, {}), "input", "parameters")
    return any(_becomes_the_uri(name, step) for name in declared)


def _maps(value: object) -> list[Mapping[str, Any]]:
    return [mapping(each) for each in value] if isinstance(value, list) else []


def _becomes_the_uri(parameter: str, step: Step) -> bool:
    """By the parameter's name, or because the code makes it the tracking URI."""
    return "tracking_ur" in parameter.lower() or any(
        parameter in text.program.tracking_parameters for text in step.texts
    )


def _defaults_in_force(pipeline: CompiledPipeline) -> Iterator[tuple[Keys, str, str, str]]:
    """Hard-coded tracking URIs in defaults of a step's parameters that the task does not override."""
    by_component = {step.component: step for step in steps(pipeline)}
    known = components(pipeline)
    for keys, task in tasks(pipeline):
        name = component_of(task)
        step = by_component.get(name)
        if step is None or name not in known:
            continue
        given = mapping(mapping(task.get("inputs")).get("parameters"))
        for parameter, settings in definitions(known[name], "input", "parameters").items():
            value = settings.get("defaultValue")
            if (
                parameter not in given
                and _becomes_the_uri(parameter, step)
                and isinstance(value, str)
                and _ADDRESS.match(value)
            ):
                where: Keys = ("components", name, "inputDefinitions", "parameters", parameter, "defaultValue")
                yield where, str(keys[-1]), parameter, value


# -- live: the results of a pipeline run ------------------------------------------------------------------------------


@contract(
    title="A pipeline that succeeded must have left a finished run with parameters, metrics and a registered version",
    level=MUST,
    seam=SEAM,
    versions=LIVE_VERSIONS,
    rationale=(
        "A successful pipeline is taken as proof that a model was trained and recorded; autologging, caching and except "
        "clauses let it succeed without."
    ),
    remedy=(
        "Let errors of MLflow's client fail the step; do not cache the step that records; check the run in the step "
        "that deploys."
    ),
    sources=("MLflow REST: runs/get", "reference incident: pipeline green, no MLflow run"),
)
def successful_pipeline_has_a_recorded_run(pipelines: PipelineClient, tracking: TrackingApi) -> Iterator[Finding]:
    main = pipelines.main_run
    log = (evidence("pipeline log", "log", main.log),)
    if not main.succeeded:
        yield failed(f"the example pipeline failed: {_cause(main.log)}", evidence=log)
        return
    run_id = main.outputs.get("train", {}).get("run_id")
    if not run_id:
        yield failed("the pipeline succeeded, but its training step has no output run_id", evidence=log)
        return
    try:
        run = tracking.get_run(run_id)
    except TrackingError as error:
        yield failed(f"the pipeline succeeded, but MLflow has no run {run_id}: {error.message}", evidence=log)
        return
    data, status = run.get("data", {}), run["info"]["status"]
    versions = tracking.search_model_versions(f"run_id = '{run_id}'")
    proof = (evidence("run", "table", run),)
    recorded = {"parameters": data.get("params"), "metrics": data.get("metrics"), "registered version": versions}
    lacking = [what for what, found in recorded.items() if not found]
    if lacking:
        yield failed(f"run {run_id} has no {', no '.join(lacking)}", evidence=proof)
    elif status != "FINISHED":
        yield failed(f"the pipeline succeeded, but run {run_id} is {status}", evidence=proof)
    else:
        count = f"{len(data['params'])} parameters, {len(data['metrics'])} metrics, version {versions[0]['version']}"
        yield passed(f"run {run_id} is FINISHED with {count}", evidence=proof)


@contract(
    title="A pipeline that could not record its run must not succeed",
    level=MUST,
    seam=SEAM,
    versions=LIVE_VERSIONS,
    rationale=(
        "When a NetworkPolicy or an outage makes MLflow unreachable, a successful pipeline hides for days that nothing is "
        "recorded."
    ),
    remedy=(
        "Use no try/except and no autologging around required recording; set MLFLOW_HTTP_REQUEST_MAX_RETRIES and "
        "_TIMEOUT so that the step fails early."
    ),
    sources=(
        "MLflow mlflow/utils/autologging_utils: errors are logged and swallowed",
        "reference incident: pipeline green, no MLflow run",
    ),
)
def unrecorded_run_fails_the_pipeline(pipelines: PipelineClient) -> Iterator[Finding]:
    with socket.socket() as closed:
        # Bound but not listening: no other process can use the port, and connections are refused.
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        run = pipelines.run({}, {"MLFLOW_TRACKING_URI": nowhere, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"})
    log = (evidence("pipeline log", "log", run.log),)
    if run.succeeded:
        yield failed("the pipeline succeeded although the tracking server was unreachable", evidence=log)
    elif "Max retries exceeded" not in run.log:
        yield inconclusive(f"the pipeline failed, but not because of MLflow: {_cause(run.log)}", evidence=log)
    elif "deploy" in run.outputs:
        yield failed("the pipeline failed, but only after it had deployed", evidence=log)
    else:
        yield passed("the pipeline fails with MLflow's own error, and deploys nothing", evidence=log)


@contract(
    title="The training step must output run id and model URI, and put the run id into the model's metadata",
    level=MUST,
    seam=SEAM,
    versions=LIVE_VERSIONS,
    rationale=(
        "Without them the deploying step must look up the newest version by name, and two concurrent pipelines deploy "
        "each other's models."
    ),
    remedy=(
        "Return run_id and model_uri as string parameters, and set model.metadata['mlflow_run_id']; not Input[Model]"
        " with a runs:/ URI, which the launcher rejects."
    ),
    sources=("kubeflow/pipelines backend/src/v2/objectstore/config.go", "reference platform: metadata mlflow_run_id"),
)
def run_id_and_model_uri_are_outputs(
    handover: Handover, pipelines: PipelineClient, tracking: TrackingApi
) -> Iterator[Finding]:
    outputs = pipelines.main_run.outputs.get("train", {})
    if not outputs:
        yield inconclusive("the training step has no outputs (pipelines.successful_pipeline_has_a_recorded_run)")
        return
    proof = (evidence("outputs of the training step", "table", outputs),)
    run_id, uri = outputs.get("run_id"), outputs.get("model_uri")
    metadata = (outputs.get("model") or {}).get("metadata") or {}
    if not run_id or not uri:
        yield failed(f"the training step has no output {'run_id' if not run_id else 'model_uri'}", evidence=proof)
    elif metadata.get("mlflow_run_id") != run_id:
        yield failed(
            f"the model's metadata has run {metadata.get('mlflow_run_id')!r}, the output run_id {run_id!r}",
            evidence=proof,
        )
    else:
        try:
            place = resolve_storage_uri(uri, tracking=tracking)
        except UsageError as error:
            yield failed(f"the output {uri} does not resolve: {error.message}", remedy=error.remedy, evidence=proof)
        else:
            yield passed(f"the step outputs run_id {run_id} and {uri}, which resolve to {place}", evidence=proof)


@contract(
    title="A model that passed the gate must be deployed: the deploying step must have run",
    level=MUST,
    seam=("kfp", "kserve"),
    versions=LIVE_VERSIONS,
    rationale="kfp.local 2.16 and 2.17 silently skip a condition on a named output and report success.",
    remedy=(
        "Use a condition on a single unnamed output (dsl.If(gate.output == 'true')), and check the outputs of a run's "
        "tasks."
    ),
    sources=("kfp 2.17.0 kfp/local/orchestrator/enhanced_dag_orchestrator.py",),
)
def model_that_passed_the_gate_is_deployed(
    pipelines: PipelineClient, compiled_pipeline: CompiledPipeline
) -> Iterator[Finding]:
    run = pipelines.main_run
    decision = run.outputs.get("quality-gate", {}).get("Output")
    deployed = "deploy" in run.outputs
    if decision is None:
        yield inconclusive("the quality gate has no output (pipelines.successful_pipeline_has_a_recorded_run)")
    elif decision != "true":
        if deployed:
            yield failed(f"the gate returned {decision!r}, but the deploying step ran")
        else:
            yield inconclusive(f"the gate returned {decision!r}, so that there is no deployment to judge")
    elif not deployed:
        yield failed("the gate returned 'true', but the deploying step did not run; the pipeline reported success")
    elif not run.refused:
        yield passed("the gate returned 'true', and the step inside the pipeline's condition has its outputs")
    else:
        yield from _condition_compiled(run.refused, compiled_pipeline)


def _condition_compiled(refused: str, compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    """The check for a backend that does not run conditions: the compiled pipeline has the condition around the deployment."""
    document = compiled_pipeline.document
    note = f"the local runner does not support conditions ({refused}), so the branch ran as a separate pipeline"
    for name, task in document["root"]["dag"]["tasks"].items():
        condition = task.get("triggerPolicy", {}).get("condition", "")
        inner = document["components"].get(task["componentRef"]["name"], {}).get("dag", {}).get("tasks", {})
        if "quality-gate" in condition and "deploy" in inner:
            where = compiled_pipeline.at("root", "dag", "tasks", name, "triggerPolicy")
            yield passed(f"{note}; the compiled pipeline has it under the condition {condition}", location=where)
            return
    yield failed(f"{note}; the compiled pipeline has no condition on the gate around the deployment")


@contract(
    title="The quality gate must block a model that is worse than the one in production, however good it is",
    level=MUST,
    seam=SEAM,
    versions=LIVE_VERSIONS,
    rationale="A constant threshold of 0.80 lets a model of 0.85 replace one of 0.95.",
    remedy="Gate with trivet.integration.quality_gate on the metric of the version in production, with a stated tolerance.",
    sources=("reference platform: no more than 0.02 below the version in production",),
)
def gate_compares_with_production(pipelines: PipelineClient, trainer: TrainerClient) -> Iterator[Finding]:
    # A unique name: sessions may share a tracking server, and this contract sets an alias.
    name = f"trivet-better-in-production-{uuid4().hex[:8]}"
    better = trainer.log_model(estimator="logistic-regression", register_as=name, alias="production")
    metric = {"run_id": better.run_id, "key": "f1_weighted_mean", "value": UNBEATABLE}
    trainer.call("client", method="log_metric", arguments=metric)
    run = pipelines.run({"registered_name": name})
    candidate = run.outputs.get("train", {}).get("f1_weighted")
    decision = run.outputs.get("quality-gate", {}).get("Output")
    log = (evidence("pipeline log", "log", run.log),)
    if candidate is None or decision is None:
        yield inconclusive(f"the pipeline did not reach its gate: {_cause(run.log)}", evidence=log)
    elif not 0.80 <= candidate < UNBEATABLE - 0.02:
        yield inconclusive(
            f"the candidate's {candidate:.3f} is not between the constant 0.80 and production", evidence=log
        )
    elif decision != "false" or "deploy" in run.outputs:
        yield failed(f"a candidate of {candidate:.3f} passes although production has {UNBEATABLE}", evidence=log)
    else:
        yield passed(
            f"a candidate of {candidate:.3f} is blocked by production's {UNBEATABLE}, and nothing is deployed",
            evidence=log,
        )


def _cause(log: str) -> str:
    return first_exception(log)[:300] or "its log is empty"
