"""The messages of KFP's pipeline spec as a table, and what in a compiled pipeline does not fit them.

The table is that of kfp-pipeline-spec 2.17.3 (kfp/pipeline_spec/pipeline_spec.proto), which has every field of the releases before it, and
of kubeflow/pipelines kubernetes_platform/proto/kubernetes_executor_config.proto after 2.17.0.
Values are read as the API server reads them, with Go's protojson: it refuses unknown fields in the spec, and drops them in
``deploymentSpec``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from trivet.authoring import Keys, redact

NEWEST = (2, 17)
"""Minor version of the SDK that the table was taken from. A later one may write fields that are not in it."""

SPEC = "PipelineSpec"
PLATFORM = "PlatformSpec"
DEPLOYMENT = "PipelineDeploymentConfig"
KUBERNETES = "KubernetesExecutorConfig"

_TABLE = """
PipelineSpec: pipelineInfo PipelineInfo, deploymentSpec Struct, sdkVersion string, schemaVersion string, components map
  ComponentSpec, root ComponentSpec, defaultPipelineRoot string
PipelineInfo: name string, displayName string, description string
ComponentSpec: inputDefinitions Inputs, outputDefinitions Outputs, dag Dag |impl, executorLabel string |impl, singlePlatformSpecs list
  SinglePlatformSpec, taskConfigPassthroughs list TaskConfigPassthrough
Inputs: artifacts map InputArtifact, parameters map InputParameter
InputArtifact: artifactType ArtifactType, isArtifactList bool, isOptional bool, description string
InputParameter: type PrimitiveType, parameterType ParameterType, defaultValue Value, isOptional bool, description string, literals list
  Value
ArtifactType: schemaTitle string |kind, schemaUri string |kind, instanceSchema string |kind, schemaVersion string
Outputs: artifacts map OutputArtifact, parameters map OutputParameter
OutputArtifact: artifactType ArtifactType, properties map RuntimeValue, customProperties map RuntimeValue, metadata Struct,
  isArtifactList bool, description string
OutputParameter: type PrimitiveType, parameterType ParameterType, description string
RuntimeValue: constantValue OldValue |value, runtimeParameter string |value, constant Value |value
OldValue: intValue integer |value, doubleValue number |value, stringValue string |value
Dag: tasks map Task, outputs DagOutputs
DagOutputs: artifacts map DagOutputArtifact, parameters map DagOutputParameter
DagOutputArtifact: artifactSelectors list ArtifactSelector
ArtifactSelector: producerSubtask string, outputArtifactKey string
DagOutputParameter: valueFromParameter ParameterSelector |kind, valueFromOneof ParameterSelectors |kind
ParameterSelectors: parameterSelectors list ParameterSelector
ParameterSelector: producerSubtask string, outputParameterKey string
Task: taskInfo TaskInfo, inputs TaskInputs, dependentTasks list string, cachingOptions CachingOptions, componentRef TaskInfo,
  triggerPolicy TriggerPolicy, artifactIterator ArtifactIterator |iterator, parameterIterator ParameterIterator |iterator, retryPolicy
  RetryPolicy, iteratorPolicy IteratorPolicy
TaskInfo: name string
TaskInputs: parameters map TaskParameter, artifacts map TaskArtifact
TaskParameter: taskOutputParameter TaskOutputParameter |kind, runtimeValue RuntimeValue |kind, componentInputParameter string |kind,
  taskFinalStatus TaskFinalStatus |kind, parameterExpressionSelector string
TaskOutputParameter: producerTask string, outputParameterKey string
TaskFinalStatus: producerTask string
TaskArtifact: taskOutputArtifact TaskOutputArtifact |kind, componentInputArtifact string |kind
TaskOutputArtifact: producerTask string, outputArtifactKey string
CachingOptions: enableCache bool, cacheKey string
TriggerPolicy: condition string, strategy TriggerStrategy
ArtifactIterator: items ArtifactItems, itemInput string
ArtifactItems: inputArtifact string
ParameterIterator: items ParameterItems, itemInput string
ParameterItems: raw string |kind, inputParameter string |kind
RetryPolicy: maxRetryCount integer, backoffDuration Duration, backoffFactor number, backoffMaxDuration Duration
IteratorPolicy: parallelismLimit integer
PlatformSpec: platforms map SinglePlatformSpec
SinglePlatformSpec: deploymentSpec PlatformDeployment, platform string, config Struct, pipelineConfig PipelineConfig
PlatformDeployment: executors map Struct
PipelineConfig: resourceTtlOnCompletion integer, workspace Workspace, resourceTtlOnSuccess integer, resourceTtlOnFailure integer,
  activeDeadlineSeconds integer
Workspace: size string, kubernetes KubernetesWorkspace
KubernetesWorkspace: pvcSpecPatch Struct
TaskConfigPassthrough: field TaskConfigField, applyToTask bool
PipelineDeploymentConfig: executors map Executor
Executor: container Container |spec, importer Importer |spec, resolver Resolver |spec, customJob CustomJob |spec
Container: image string, command list string, args list string, lifecycle Lifecycle, resources Resources, env list EnvVar
Lifecycle: preCacheCheck Exec
Exec: command list string, args list string
Resources: cpuLimit number, memoryLimit number, cpuRequest number, memoryRequest number, resourceCpuLimit string, resourceMemoryLimit
  string, resourceCpuRequest string, resourceMemoryRequest string, accelerator Accelerator
Accelerator: type string, count integer, resourceType string, resourceCount string
EnvVar: name string, value string
Importer: artifactUri RuntimeValue, typeSchema ArtifactType, properties map RuntimeValue, customProperties map RuntimeValue, reimport
  bool, metadata Struct, downloadToWorkspace bool
Resolver: outputArtifactQueries map ArtifactQuery
ArtifactQuery: filter string, limit integer
CustomJob: customJob Struct
KubernetesExecutorConfig: secretAsVolume list SecretAsVolume, secretAsEnv list SecretAsEnv, pvcMount list PvcMount, nodeSelector
  NodeSelector, podMetadata PodMetadata, imagePullSecret list ImagePullSecret, imagePullPolicy string, configMapAsVolume list
  ConfigMapAsVolume, configMapAsEnv list ConfigMapAsEnv, activeDeadlineSeconds integer, fieldPathAsEnv list FieldPathAsEnv, tolerations
  list Toleration, genericEphemeralVolume list GenericEphemeralVolume, nodeAffinity list NodeAffinityTerm, podAffinity list
  PodAffinityTerm, enabledSharedMemory EnabledSharedMemory, emptyDirMounts list EmptyDirMount, securityContext SecurityContext,
  initContainers list InitContainer
SecretAsVolume: secretName string, mountPath string, optional bool, secretNameParameter TaskParameter
SecretAsEnv: secretName string, keyToEnv list SecretKeyToEnv, optional bool, secretNameParameter TaskParameter
SecretKeyToEnv: secretKey string, envVar string
PvcMount: taskOutputParameter TaskOutputParameter |pvc, constant string |pvc, componentInputParameter string |pvc, mountPath string,
  pvcNameParameter TaskParameter, subPath string
NodeSelector: labels map string, nodeSelectorJson TaskParameter
PodMetadata: labels map string, annotations map string
ImagePullSecret: secretName string, secretNameParameter TaskParameter
ConfigMapAsVolume: configMapName string, mountPath string, optional bool, configMapNameParameter TaskParameter
ConfigMapAsEnv: configMapName string, keyToEnv list ConfigMapKeyToEnv, configMapNameParameter TaskParameter, optional bool
ConfigMapKeyToEnv: configMapKey string, envVar string
FieldPathAsEnv: name string, fieldPath string
Toleration: key string, operator string, value string, effect string, tolerationSeconds integer, tolerationJson TaskParameter
GenericEphemeralVolume: volumeName string, mountPath string, accessModes list string, size string, defaultStorageClass bool,
  storageClassName string, metadata PodMetadata
NodeAffinityTerm: matchExpressions list SelectorRequirement, matchFields list SelectorRequirement, weight integer, nodeAffinityJson
  TaskParameter
PodAffinityTerm: matchPodExpressions list SelectorRequirement, matchPodLabels map string, topologyKey string, namespaces list string,
  matchNamespaceExpressions list SelectorRequirement, matchNamespaceLabels map string, weight integer, anti bool
SelectorRequirement: key string, operator string, values list string
EnabledSharedMemory: volumeName string, size string
EmptyDirMount: volumeName string, mountPath string, medium string, sizeLimit string
SecurityContext: runAsUser integer, runAsGroup integer, runAsNonRoot bool
InitContainer: name string, image string, command list string, args list string, env list EnvVar, volumeMounts list InitVolumeMount,
  restartPolicy string, resources InitResources
InitVolumeMount: volumeName string, mountPath string
InitResources: requests map string, limits map string
"""
"""A message a line: each field with its type in JSON, and after ``|`` the oneof that it belongs to."""

_ENUMS: Mapping[str, tuple[str, ...]] = {
    "PrimitiveType": ("PRIMITIVE_TYPE_UNSPECIFIED", "INT", "DOUBLE", "STRING"),
    "ParameterType": (
        "PARAMETER_TYPE_ENUM_UNSPECIFIED",
        "NUMBER_DOUBLE",
        "NUMBER_INTEGER",
        "STRING",
        "BOOLEAN",
        "LIST",
        "STRUCT",
        "TASK_FINAL_STATUS",
        "TASK_CONFIG",
    ),
    "TriggerStrategy": (
        "TRIGGER_STRATEGY_UNSPECIFIED",
        "ALL_UPSTREAM_TASKS_SUCCEEDED",
        "ALL_UPSTREAM_TASKS_COMPLETED",
    ),
    "TaskConfigField": (
        "NONE",
        "RESOURCES",
        "ENV",
        "KUBERNETES_AFFINITY",
        "KUBERNETES_TOLERATIONS",
        "KUBERNETES_NODE_SELECTOR",
        "KUBERNETES_VOLUMES",
    ),
}

_FIELD = re.compile(r"(\w+) ((?:map |list )?\w+)(?: \|(\w+))?(?:, |$)")
SCHEMA: Mapping[str, Mapping[str, tuple[str, str]]] = {
    message: {name: (kind, oneof) for name, kind, oneof in _FIELD.findall(fields)}
    for message, _, fields in (line.partition(": ") for line in _TABLE.strip().replace("\n  ", " ").splitlines())
}
"""Message → field → its type and its oneof, which is empty for most."""

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_DURATION = re.compile(r"-?\d+(\.\d{1,9})?s")


@dataclass(frozen=True, kw_only=True)
class SpecViolation:
    """A value that does not fit its message. ``unknown`` is set for a field that the message does not have."""

    keys: Keys
    message: str
    unknown: bool = False


def spec_violations(value: Any, message: str, keys: Keys = ()) -> Iterator[SpecViolation]:
    """Every value below ``value``, an object of type ``message``, that protojson would refuse or drop."""
    if not isinstance(value, dict):
        yield SpecViolation(keys=keys, message=f"is {described(value)}, expected a mapping")
        return
    fields = SCHEMA[message]
    chosen: dict[str, str] = {}
    for name, member in value.items():
        known = _camel(name)
        if known not in fields:
            if name != "@type":
                yield SpecViolation(keys=(*keys, name), message=_unknown(name, message), unknown=True)
            continue
        kind, oneof = fields[known]
        if member is None and kind != "Value":
            continue
        if oneof and oneof in chosen:
            yield SpecViolation(
                keys=(*keys, name), message=f"cannot stand beside {chosen[oneof]}: only one of them can be set"
            )
        chosen.setdefault(oneof, name)
        yield from _member(member, kind, (*keys, name))


def set_fields(value: Any, message: str, keys: Keys = ()) -> Iterator[tuple[Keys, str, str]]:
    """Every known field that is set below ``value``, an object of type ``message``: its place, its message, and its name in JSON."""
    for name, member in value.items() if isinstance(value, dict) else ():
        known = _camel(name)
        if known not in SCHEMA[message] or member is None:
            continue
        yield (*keys, name), message, known
        container, _, inner = SCHEMA[message][known][0].rpartition(" ")
        if inner not in SCHEMA:
            continue
        if container == "map":
            below = list(member.items()) if isinstance(member, dict) else []
        elif container == "list":
            below = list(enumerate(member)) if isinstance(member, list) else []
        else:
            yield from set_fields(member, inner, (*keys, name))
            continue
        for key, each in below:
            yield from set_fields(each, inner, (*keys, name, key))


def _member(value: Any, kind: str, keys: Keys) -> Iterator[SpecViolation]:
    container, _, inner = kind.rpartition(" ")
    if container == "map":
        if not isinstance(value, dict):
            yield SpecViolation(keys=keys, message=f"is {described(value)}, expected a mapping")
            return
        for name, member in value.items():
            yield from _member(member, inner, (*keys, name))
    elif container == "list":
        if not isinstance(value, list):
            yield SpecViolation(keys=keys, message=f"is {described(value)}, expected a list")
            return
        for index, member in enumerate(value):
            yield from _member(member, inner, (*keys, index))
    elif inner in SCHEMA:
        yield from spec_violations(value, inner, keys)
    elif inner in _ENUMS:
        if not (value in _ENUMS[inner] or (type(value) is int and value >= 0)):
            nearest = get_close_matches(str(value), _ENUMS[inner])
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            yield SpecViolation(
                keys=keys, message=f"is {described(value)}, expected one of {', '.join(_ENUMS[inner][1:])}{hint}"
            )
    elif not _fits(value, inner):
        yield SpecViolation(keys=keys, message=f"is {described(value)}, expected {_NAMES[inner]}")


_NAMES = {
    "string": "a string",
    "bool": "true or false",
    "integer": "an integer",
    "number": "a number",
    "Struct": "a mapping",
    "Duration": "seconds such as 60s",
}


def _fits(value: Any, kind: str) -> bool:
    """Whether protojson takes the scalar: numbers may be written as strings, other types may not."""
    match kind:
        case "Value":
            return True
        case "string":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "Struct":
            return isinstance(value, dict)
        case "Duration":
            return isinstance(value, str) and _DURATION.fullmatch(value) is not None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return kind == "number" and value in ("NaN", "Infinity", "-Infinity")
    return kind == "number" or isinstance(value, int) or float(value).is_integer()


def described(value: Any) -> str:
    """A value, or the kind of one that is too large to quote, for a message."""
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = redact(str(value))  # before it is cut: a password is known by the @ behind it
    if len(text) > 40:
        return f"{text[:37]!r}…"
    return repr(text if isinstance(value, str) else value)


def _unknown(name: str, message: str) -> str:
    nearest = get_close_matches(_camel(name), SCHEMA[message])
    return "is not a field" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _camel(name: str) -> str:
    """protojson also takes the names of the .proto file: ``enable_cache`` for ``enableCache``."""
    first, *rest = str(name).split("_")
    return first + "".join(part.capitalize() for part in rest)
