"""kfp: what KFP's API server, driver and launcher do with a compiled pipeline, as far as its file shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise

from trivet.authoring import (
    MUST,
    CompiledPipeline,
    Finding,
    Keys,
    PlatformConfig,
    contract,
    failed,
    not_applicable,
    passed,
)
from trivet.contracts.ir.backend import NEVER, is_container, is_opened, unsupported
from trivet.contracts.ir.dataflow import Output, given_artifacts
from trivet.contracts.ir.parts import CLOUD, Step, components, definitions, is_cloud_pipeline, steps
from trivet.contracts.ir.step_code import ArtifactUri
from trivet.contracts.values import mapping

SEAM = ("kfp", "mlflow")
VERSIONS: Mapping[str, str] = {"kfp": ">=2.0"}

_SCHEME = re.compile(r"[a-zA-Z][\w+.-]*:/")


@contract(
    title="KFP's backend must do what the compiled pipeline asks for",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "The SDK compiles for the newest backend. An older one refuses the pipeline, or runs it without what it does not know: no "
        "retries, no limits, no exit handler when the run is terminated, and the run is green."
    ),
    remedy="Upgrade the backend to the release that the message names, or compile the pipeline without what it asks for.",
    sources=(
        "kubeflow/pipelines 2.0.0 to 2.17.0 go.mod: the message definitions of each release",
        "kubeflow/pipelines 30210e33bf, beae62fb52 retries; 3059f7c124 exit handlers; b7d8c97d65 parallelism; 7c931ae201 limits; "
        "c5b787aacc, ed828b513a outputs of nested pipelines and loops; 0d857b6f8a final status; 6a13f4bad0 placeholders",
        "measured with the programs of KFP 2.0.5: set_retry leaves no retryStrategy in the Workflow",
    ),
)
def asked_features_are_supported(compiled_pipeline: CompiledPipeline, platform: PlatformConfig) -> Iterator[Finding]:
    if is_cloud_pipeline(compiled_pipeline):
        yield not_applicable(CLOUD, location=compiled_pipeline.at())
        return
    numbers = [int(part) for part in re.findall(r"\d+", platform.kfp_backend)[:3]]
    backend = (*numbers, 0, 0)[:3] if numbers else (NEVER[0] - 1, 0, 0)
    sound = True
    for each in unsupported(compiled_pipeline, (backend[0], backend[1], backend[2])):
        sound = False
        where = compiled_pipeline.at_platform(*each.keys) if each.platform else compiled_pipeline.at(*each.keys)
        since = (
            "no release up to 2.17.0 does it"
            if each.since == NEVER
            else f"from {'.'.join(map(str, each.since))} on it does"
        )
        yield failed(f"KFP {platform.kfp_backend or '2'}: {each.message}; {since}", location=where)
    if sound and numbers:
        yield passed(f"KFP {platform.kfp_backend} does what the pipeline asks for", location=compiled_pipeline.at())
    elif sound:
        yield not_applicable(
            "the release of KFP's backend is not known: set kfp_backend in [tool.trivet.lint]",
            location=compiled_pipeline.at(),
        )


@contract(
    title="An artifact that a step passes on must have a URI that KFP can fetch",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "The launcher of the step that takes the artifact opens object stores only. With MLflow's runs:/, models:/ or "
        "mlflow-artifacts:/ it fails before that step's code starts; the step that set the URI is green."
    ),
    remedy=(
        "Return the run id or MLflow's URI as a string parameter and take that; leave the artifact's uri as KFP sets it, and put what "
        "refers to MLflow into its metadata."
    ),
    sources=(
        "measured with the launcher of KFP 2.0.5: failed to parse bucketConfig … unrecognized uri format",
        "kubeflow/pipelines 2.17.0 backend/src/v2/component/launcher_v2.go, fetchNonDefaultBuckets; objectstore/config.go",
        "mlflow 2.17.2 and 3.17.2 mlflow/models/model.py: ModelInfo.model_uri is runs:/… or models:/…",
    ),
)
def passed_artifacts_are_fetchable(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    taken: dict[Output, str] = {}
    for (component, _), outputs in given_artifacts(compiled_pipeline).items():
        if is_container(compiled_pipeline, component):
            taken |= dict.fromkeys(outputs, component.removeprefix("comp-"))
    judged = sound = 0
    for step in steps(compiled_pipeline):
        for text in step.texts:
            for each in text.program.artifact_uris:
                taker = taken.get(Output(step.component, each.parameter))
                if taker is None or each.function not in _executed(step, text.program.artifact_uris):
                    continue
                judged += 1
                if problem := _unfetchable(each):
                    yield failed(
                        f"step {step.name}: its code gives the artifact {each.parameter} {problem}: the launcher of {taker}, which "
                        "takes it, fails",
                        location=compiled_pipeline.at(*text.keys),
                    )
                else:
                    sound += 1
    if not taken:
        yield not_applicable("no step takes an artifact of another", location=compiled_pipeline.at())
    elif judged == sound:
        yield passed(
            "no step's code gives an artifact that is passed on a URI that KFP cannot fetch",
            location=compiled_pipeline.at(),
        )


def _executed(step: Step, uris: tuple[ArtifactUri, ...]) -> set[str]:
    """The functions that the step executes; all of its code where it does not say."""
    named = {text.text for option, text in pairwise(step.texts) if option.text == "--function_to_execute"}
    return named or {each.function for each in uris}


def _unfetchable(each: ArtifactUri) -> str:
    """What URI the artifact gets that the launcher does not open; empty if it opens it, or if only the run shows it."""
    if each.mlflow:
        return "the model_uri of MLflow's log_model, which is runs:/… or models:/…"
    return f"the URI {each.uri!r}" if _SCHEME.match(each.uri) and not is_opened(each.uri) else ""


@contract(
    title="A step must write the outputs that others rely on",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "An artifact that is declared and never written only leaves a warning in the launcher's log: the step is green, and whoever "
        "takes the model gets an empty one. A parameter's file that is missing fails the step after its code has succeeded."
    ),
    remedy="Write to the output's path, or do not declare it.",
    sources=(
        "measured with the launcher of KFP 2.0.5: Local filepath … does not exist, and the artifact is LIVE",
        "kubeflow/pipelines 2.17.0 backend/src/v2/component/launcher_v2.go, uploadOutputArtifacts and collectOutputParameters",
    ),
)
def declared_outputs_are_written(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    taken = {output for outputs in given_artifacts(compiled_pipeline).values() for output in outputs}
    judged = 0
    sound = True
    for step in steps(compiled_pipeline):
        component = components(compiled_pipeline).get(step.component, {})
        artifacts = [
            name
            for name, settings in definitions(component, "output", "artifacts").items()
            if Output(step.component, name) in taken
            or mapping(settings.get("artifactType")).get("schemaTitle") == "system.Model"
        ]
        parameters = list(definitions(component, "output", "parameters"))
        judged += len(artifacts) + len(parameters)
        for kind, names in (("artifact", artifacts), ("parameter", parameters)):
            for name in names:
                if place := _never_written(step, f"{kind}s", name):
                    sound = False
                    effect = (
                        "the step is green, and the artifact empty"
                        if kind == "artifact"
                        else "the launcher fails the step after its code has succeeded"
                    )
                    keys, problem = place
                    yield failed(
                        f"step {step.name} declares the output {kind} {name}, and {problem}: {effect}",
                        location=compiled_pipeline.at(*keys),
                    )
    if not judged:
        yield not_applicable("no step declares an output that others rely on", location=compiled_pipeline.at())
    elif sound:
        yield passed("every step names the outputs that others rely on", location=compiled_pipeline.at())


def _never_written(step: Step, kind: str, name: str) -> tuple[Keys, str] | None:
    """Where and why a step cannot write an output; None if it may."""
    for option, text in pairwise(step.texts):
        if option.text == "--function_to_execute":
            for source in step.texts:
                if (text.text, name) in source.program.unused:
                    return source.keys, f"its function {text.text} never uses it"
            return None
    everything = [text.text for text in step.texts]
    env = step.container.get("env")
    everything += [str(mapping(each).get("value")) for each in (env if isinstance(env, list) else ())]
    if any("{{$}}" in text or f"{{{{$.outputs.{kind}['{name}']" in text for text in everything):
        return None
    return step.keys, "no command, argument or variable of its container names its path"
