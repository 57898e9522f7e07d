"""What a compiled pipeline asks of KFP's backend, and which releases refuse it, ignore it or fail on it.

The releases are those of kubeflow/pipelines, which jump from 2.5.0 to 2.14.0. For fields, the first release is the one whose go.mod takes
the message definitions (api/v2alpha1/pipeline_spec.proto, kubernetes_platform/proto/kubernetes_executor_config.proto) at a commit that has
them: 2.0.5 takes those of March and April 2023. For behaviour it is the first that contains the commit named beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from trivet.authoring import CompiledPipeline, Keys
from trivet.contracts.ir.messages import DEPLOYMENT, KUBERNETES, PLATFORM, SPEC, set_fields
from trivet.contracts.ir.parts import Dag, component_of, components, dags, executors, name_in, platform_executors, steps
from trivet.contracts.ir.platform import EXECUTORS
from trivet.contracts.ir.references import reachable_dags
from trivet.contracts.values import mapping, path

Release = tuple[int, int, int]

_OPENED = re.compile(r"(gs|s3|minio|mem|oci)://[^/?]")
"""URIs that the launcher opens: backend/src/v2/objectstore/config.go at 2.0.5 and 2.17.0; oci in launcher_v2.go since 2.5.0."""

NEVER: Release = (9999, 0, 0)
"""For what no release up to 2.17.0 does."""

_FIELDS: Mapping[Release, str] = {
    (2, 1, 0): "KubernetesExecutorConfig: podMetadata imagePullSecret imagePullPolicy configMapAsVolume configMapAsEnv "
    "activeDeadlineSeconds fieldPathAsEnv tolerations",
    (2, 2, 0): "KubernetesExecutorConfig: genericEphemeralVolume nodeAffinity podAffinity, SecretAsVolume: optional, "
    "ConfigMapAsVolume: optional",
    (2, 3, 0): "KubernetesExecutorConfig: enabledSharedMemory emptyDirMounts",
    (
        2,
        4,
        0,
    ): "ComponentSpec: singlePlatformSpecs, CachingOptions: cacheKey, SinglePlatformSpec: platform config pipelineConfig",
    (
        2,
        5,
        0,
    ): "SecretAsVolume: secretNameParameter, SecretAsEnv: secretNameParameter, PvcMount: pvcNameParameter, NodeSelector: "
    "nodeSelectorJson, ImagePullSecret: secretNameParameter, ConfigMapAsVolume: configMapNameParameter, ConfigMapAsEnv: "
    "configMapNameParameter, Toleration: tolerationJson",
    (2, 14, 0): "PipelineConfig: workspace, NodeAffinityTerm: nodeAffinityJson",
    (
        2,
        15,
        0,
    ): "ComponentSpec: taskConfigPassthroughs, Importer: downloadToWorkspace, SecretAsEnv: optional, ConfigMapAsEnv: optional",
    (2, 16, 0): "InputParameter: literals, KubernetesExecutorConfig: securityContext, PvcMount: subPath",
    (
        2,
        17,
        0,
    ): "PipelineConfig: resourceTtlOnCompletion resourceTtlOnSuccess resourceTtlOnFailure activeDeadlineSeconds",
}
"""First release → message → fields that releases before it do not know."""

_SINCE: Mapping[tuple[str, str], Release] = {
    (message, field): release
    for release, text in _FIELDS.items()
    for group in text.split(", ")
    for message, _, fields in [group.partition(": ")]
    for field in fields.split()
}

LENIENT_DRIVER: Release = (2, 4, 1)
"""The driver reads an executor's configuration strictly before this release: backend/src/v2/cmd/driver/main.go, jsonpb.UnmarshalString."""

STRINGS_OF_RESOURCES: Release = (2, 4, 0)
"""Limits that are strings, which can be placeholders (7c931ae201)."""

_JOB_PLACEHOLDERS = (
    "{{$.pipeline_job_name}}",
    "{{$.pipeline_job_uuid}}",
    "{{$.pipeline_task_name}}",
    "{{$.pipeline_task_uuid}}",
)
"""Constants that the driver replaces since 2.5.0 (6a13f4bad0)."""


class Unsupported(NamedTuple):
    """Something that a pipeline asks for, and the first release that does it. ``platform``: ``keys`` are in the platform spec."""

    keys: Keys
    message: str
    since: Release
    platform: bool = False


def unsupported(pipeline: CompiledPipeline, backend: Release) -> Iterator[Unsupported]:
    """What the pipeline asks for and this release of the backend does not do, in the order of the document."""
    found = (*_fields(pipeline, backend), *_resources(pipeline), *_tasks(pipeline))
    yield from (each for each in found if backend < each.since)


def _fields(pipeline: CompiledPipeline, backend: Release) -> Iterator[Unsupported]:
    spec = {
        name: value for name, value in pipeline.document.items() if name not in ("deploymentSpec", "deployment_spec")
    }
    for keys, message, field in set_fields(spec, SPEC):
        if since := _SINCE.get((message, field)):
            yield Unsupported(keys, f"the API server refuses the field {path(keys)}", since)
        elif message == "InputParameter" and field == "parameterType" and _at(pipeline.document, keys) == "TASK_CONFIG":
            yield Unsupported(keys, f"the API server refuses the type of {path(keys[:-1])}, TASK_CONFIG", (2, 15, 0))
    for keys, message, field in set_fields(pipeline.document.get("deploymentSpec"), DEPLOYMENT, ("deploymentSpec",)):
        if since := _SINCE.get((message, field)):
            yield Unsupported(keys, f"the backend ignores the field {path(keys)}", since)
    for keys, message, field in set_fields(pipeline.platform, PLATFORM):
        if since := _SINCE.get((message, field)):
            problem = f"the API server does not know the field {path(keys)}, and ignores the whole platform spec"
            yield Unsupported(keys, problem, since, platform=True)
    effect = "the driver fails on" if backend < LENIENT_DRIVER else "the driver ignores"
    for label, config in platform_executors(pipeline).items():
        for keys, message, field in set_fields(config, KUBERNETES, (*EXECUTORS, label)):
            if since := _SINCE.get((message, field)):
                place = path(keys[len(EXECUTORS) :])
                yield Unsupported(keys, f"{effect} the field {place} of the platform spec", since, platform=True)


def _at(value: Any, keys: Keys) -> Any:
    for key in keys:
        value = value[key]
    return value


def _resources(pipeline: CompiledPipeline) -> Iterator[Unsupported]:
    """Limits and requests that stand in the newer fields only."""
    for step in steps(pipeline):
        resources = mapping(step.container.get("resources"))
        accelerator = mapping(resources.get("accelerator"))
        pairs = [(resources, f"resource{name}", f"{name[0].lower()}{name[1:]}") for name in _RESOURCES]
        pairs += [(accelerator, "resourceType", "type"), (accelerator, "resourceCount", "count")]
        for holder, newer, older in pairs:
            if holder.get(newer) and not holder.get(older):
                keys = (*step.keys, "resources", *(("accelerator",) if holder is accelerator else ()), newer)
                message = f"the driver ignores {newer} of step {step.name}, and there is no {older} beside it"
                yield Unsupported(keys, message, STRINGS_OF_RESOURCES)


_RESOURCES = ("CpuLimit", "MemoryLimit", "CpuRequest", "MemoryRequest")


def _tasks(pipeline: CompiledPipeline) -> Iterator[Unsupported]:
    known, there = components(pipeline), reachable_dags(pipeline)
    for dag in dags(pipeline):
        for name, task in dag.tasks.items() if dag.name in there else ():
            keys = dag.at(name)
            is_dag = "dag" in known.get(component_of(task), {})
            if mapping(task.get("retryPolicy")).get("maxRetryCount"):
                # 30210e33bf; beae62fb52 and 9245739f6f for nested pipelines and their tasks
                since = (2, 14, 0) if is_dag or dag.name != "root" else (2, 5, 0)
                message = f"the backend ignores the retries of task {name}: it fails at the first failure"
                yield Unsupported((*keys, "retryPolicy"), message, since)
            if mapping(task.get("triggerPolicy")).get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED":
                message = (
                    f"task {name}, which is to run whatever happens before it, does not run when the run is terminated"
                )
                yield Unsupported((*keys, "triggerPolicy"), message, (2, 4, 0))  # 3059f7c124
            if mapping(task.get("iteratorPolicy")).get("parallelismLimit"):
                message = f"the backend ignores the parallelismLimit of task {name}, and starts all iterations at once"
                yield Unsupported((*keys, "iteratorPolicy"), message, (2, 4, 0))  # b7d8c97d65
            if task.get("artifactIterator"):
                message = f"task {name} iterates over artifacts: the backend refuses the run"
                yield Unsupported((*keys, "artifactIterator"), message, NEVER)
            yield from _sources(dag, name, known)


def _sources(dag: Dag, name: str, known: Mapping[str, Mapping[str, Any]]) -> Iterator[Unsupported]:
    """What the sources of a task's inputs ask for."""
    for kind in ("parameters", "artifacts"):
        for argument, each in mapping(mapping(dag.tasks[name].get("inputs")).get(kind)).items():
            keys, source = (*dag.at(name), "inputs", kind, argument), mapping(each)
            if source.get("taskFinalStatus"):
                message = f"task {name} takes the final status of another: the backend refuses the run"
                yield Unsupported(keys, message, (2, 14, 0))  # 0d857b6f8a
            if mapping(source.get("runtimeValue")).get("constant") in _JOB_PLACEHOLDERS:
                message = f"task {name} gets the placeholder of {argument} as it is written, not what it stands for"
                yield Unsupported(keys, message, (2, 5, 0))
            output = mapping(source.get("taskOutputParameter")) or mapping(source.get("taskOutputArtifact"))
            producer = name_in(output, "producerTask") or ""
            if "dag" in known.get(component_of(dag.tasks.get(producer, {})), {}):
                loop = dag.tasks[producer].get("parameterIterator")
                what = "the loop" if loop else "the nested pipeline or condition"
                message = f"the driver of task {name} does not find the output of {what} {producer}"
                yield Unsupported(keys, message, (2, 14, 0) if loop else (2, 4, 0))  # ed828b513a; c5b787aacc


def is_opened(uri: str) -> bool:
    """Whether the launcher opens what is at a URI."""
    return _OPENED.match(uri) is not None


def is_container(pipeline: CompiledPipeline, component: str) -> bool:
    """Whether the component runs a container, whose launcher fetches its artifacts."""
    label = components(pipeline).get(component, {}).get("executorLabel")
    return isinstance(label, str) and "container" in executors(pipeline).get(label, {})
