"""kfp: what KFP's API server, driver and launcher do with a compiled pipeline: as far as its file shows, and with what they run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any
from uuid import uuid4

from trivet.authoring import (
    MUST,
    PIPELINE_BACKEND,
    BackendRun,
    BackendTask,
    CompiledPipeline,
    Evidence,
    Finding,
    Keys,
    PipelineBackendClient,
    PipelineClient,
    PlatformConfig,
    Refused,
    contract,
    evidence,
    failed,
    inconclusive,
    last_answer,
    not_applicable,
    passed,
)
from trivet.contracts.ir.backend import NEVER, is_container, is_opened, unsupported
from trivet.contracts.ir.dataflow import Output, given_artifacts
from trivet.contracts.ir.parts import CLOUD, Step, components, definitions, is_cloud_pipeline, steps
from trivet.contracts.ir.step_code import ArtifactUri
from trivet.contracts.quantities import quantity
from trivet.contracts.values import mapping
from trivet.integration import TrackingApi

SEAM = ("kfp", "mlflow")
VERSIONS: Mapping[str, str] = {"kfp": ">=2.0"}

_STORED = re.compile(r"(?:gs|s3|minio)://")
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
    title="A step must leave its artifacts where the launcher uploads them",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    rationale=(
        "After the step's code the launcher uploads what stands at the URI of each artifact, and knows the bucket and folder of this run "
        "only. With any other gs://, s3:// or minio:// URI it fails the step, whose code has succeeded and written its model elsewhere."
    ),
    remedy=(
        "Leave the artifact's uri as KFP sets it, and put what lies elsewhere into its metadata or a string parameter; or import it with "
        "dsl.importer."
    ),
    sources=(
        "measured with the launcher of KFP 2.0.5: URI … does not have expected bucket prefix",
        "kubeflow/pipelines 2.0.5 and 2.17.0 backend/src/v2/objectstore/config.go, KeyFromURI; component/launcher_v2.go, "
        "uploadOutputArtifacts; metadata/client.go, GetPipeline: the root ends with the pipeline's name and the run's id",
    ),
)
def artifacts_are_left_where_they_are_uploaded(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    judged = wrong = 0
    for step in steps(compiled_pipeline):
        declared = definitions(components(compiled_pipeline).get(step.component, {}), "output", "artifacts")
        judged += len(declared)
        for text in step.texts:
            for each in text.program.artifact_uris:
                elsewhere = not each.mlflow and _STORED.match(each.uri) and "{" not in each.uri
                executed = each.function in _executed(step, text.program.artifact_uris)
                if elsewhere and executed and each.parameter in declared:
                    wrong += 1
                    yield failed(
                        f"step {step.name}: its code gives the artifact {each.parameter} the URI {each.uri!r}, which is not below the "
                        "folder of its run: the launcher fails the step after its code",
                        location=compiled_pipeline.at(*text.keys),
                    )
    if not judged:
        yield not_applicable("no step has an artifact as output", location=compiled_pipeline.at())
    elif not wrong:
        yield passed("no step's code gives an artifact the URI of another folder", location=compiled_pipeline.at())


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


# -- live: what the backend does -----------------------------------------------------------------------------------------

BACKEND = (PIPELINE_BACKEND,)
ENDED = 60.0
"""Seconds for MLflow to show that a run ended whose step was terminated: the kubelet gives it 30 s."""
ATTEMPTS = 3
LIMITS = {"cpu": 0.25, "memory": 300 * 2**20}
ACCELERATOR = "nvidia.com/gpu"
MODEL_URI = "runs:/0123456789abcdef0123456789abcdef/model"
ACCOUNT = "default"
"""A service account of every namespace, which is not the one that KFP uses without being asked."""
NOWHERE = "http://127.0.0.1:9"
"""No step listens on the port of the discard service in its own pod."""


@contract(
    title="KFP's API server must accept what the SDK compiles, and keep what it means",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="The API server refuses fields that it does not know: no pipeline of a newer SDK can be uploaded, whatever it does.",
    remedy="Upgrade the backend, or compile with an SDK of its release.",
    sources=(
        "kubeflow/pipelines 2.0.5 and 2.17.0 backend/src/apiserver/template/v2_template.go, NewV2SpecTemplate: protojson is strict",
        "kubeflow/pipelines sdk/RELEASE.md, 2.15.2: unknown field custom_path on older backends",
    ),
)
def compiled_pipeline_is_accepted(
    pipeline_backend: PipelineBackendClient, pipelines: PipelineClient, compiled_pipeline: CompiledPipeline
) -> Iterator[Finding]:
    try:
        stored = mapping(pipeline_backend.upload(pipelines.compiled.read_text(encoding="utf-8")).get("pipeline_spec"))
    except Refused as error:
        yield failed(f"the API server refuses the example pipeline: {error.message}", location=compiled_pipeline.at())
        return
    # With a platform spec, the two documents are one below a key each since 2.0.
    stored = mapping(stored.get("pipeline_spec")) or stored
    lost = [name for name in _MEANING if _plain(stored.get(name)) != _plain(compiled_pipeline.document.get(name))]
    if lost:
        yield failed(
            f"the API server keeps another {' and another '.join(lost)} than was uploaded",
            location=compiled_pipeline.at(lost[0]),
            evidence=(evidence("the pipeline as stored", "table", stored),),
        )
    else:
        yield passed(f"the API server keeps {', '.join(_MEANING)} as compiled", location=compiled_pipeline.at())


_MEANING = ("components", "deploymentSpec", "root")


def _plain(value: object) -> object:
    """A value without what protojson leaves out or writes otherwise: empty values, and numbers that are texts."""
    if isinstance(value, dict):
        return {
            str(key): kept
            for key, each in value.items()
            if (kept := _plain(each)) not in ({}, [], None, "", False, 0.0)
        }
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return value


@contract(
    title="What the API server says of a run must be what happened",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="Whoever deploys after a pipeline looks at its state only.",
    remedy="Upgrade the backend; until then, look at the tasks and at what they should have left behind.",
    sources=(
        "kubeflow/pipelines 2.0.5 backend/api/v2beta1/swagger/run.swagger.json, v2beta1RuntimeState",
        "kubeflow/pipelines 5d44be17a2: the state of nested DAGs is wrong before 2.17.0",
    ),
)
def reported_state_is_what_happened(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    good, bad = pipeline_backend.start("greeting"), pipeline_backend.start("failing")
    for name, run, should in (
        ("greet", pipeline_backend.wait(good), True),
        ("fail", pipeline_backend.wait(bad), False),
    ):
        task = run.tasks.get(name)
        code = task.exit_code if task else None
        if task is None or code is None:
            yield inconclusive(f"the step {name} did not run: the run is {run.state}", evidence=_logs(run))
        elif (code == 0) is not should:
            yield inconclusive(f"the step {name} exits with {code}", evidence=_logs(run))
        elif run.succeeded is not should:
            yield failed(f"the step {name} exits with {code}, and the API server says {run.state}", evidence=_logs(run))
        elif not should and "greet" in run.tasks:
            yield failed(f"the step {name} exits with {code}, and the step after it ran", evidence=_logs(run))
        else:
            yield passed(f"the step {name} exits with {code}, and the API server says {run.state}")


@contract(
    title="A step must be tried again as often as the pipeline asks",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="Without a word, a training that a node's restart ends is lost, although set_retry was to prevent that.",
    remedy="Upgrade the backend to 2.5.0 or later (2.14.0 for steps of nested pipelines), or set retries in the step's own code.",
    sources=(
        "measured with KFP 2.0.5: the Workflow has no retryStrategy",
        "kubeflow/pipelines 30210e33bf, first in 2.5.0; beae62fb52 and 9245739f6f, first in 2.14.0",
    ),
)
def asked_retries_happen(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    run = pipeline_backend.wait(pipeline_backend.start("retrying"))
    task = run.tasks.get("fail")
    if task is None or not task.exit_code:
        yield inconclusive(f"the step did not fail: the run is {run.state}", evidence=_logs(run))
    elif len(task.pods) != ATTEMPTS:
        yield failed(
            f"a failing step with set_retry({ATTEMPTS - 1}) had {_attempts(task)}, expected {ATTEMPTS}",
            evidence=_logs(run),
        )
    else:
        yield passed(f"a failing step with set_retry({ATTEMPTS - 1}) had {_attempts(task)}")


def _attempts(task: BackendTask) -> str:
    return "1 attempt" if len(task.pods) == 1 else f"{len(task.pods)} attempts"


@contract(
    title="A run whose step declares a model and writes none must not succeed",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="The launcher logs a warning, and the next step gets an empty model: what is deployed then is nothing, or the last one.",
    remedy="Let the step that takes the model fail without it: read it, and check what was read.",
    sources=(
        "measured with the launcher of KFP 2.0.5: Local filepath … does not exist, and the artifact is LIVE",
        "kubeflow/pipelines 2.17.0 backend/src/v2/component/launcher_v2.go, uploadOutputArtifacts",
    ),
)
def unwritten_model_is_not_green(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    run = pipeline_backend.wait(pipeline_backend.start("handing_over", {"text": "", "uri": ""}))
    made = run.tasks.get("make")
    if made is None or made.exit_code is None:
        yield inconclusive(f"the step that declares the model did not run: the run is {run.state}", evidence=_logs(run))
    elif "model" not in made.outputs:
        yield inconclusive(
            f"the step that declares the model exits with {made.exit_code} before it reports the model: {_error(made.log)}",
            evidence=_logs(run),
        )
    elif run.succeeded:
        taken = " and the step that takes it ran" if "take" in run.tasks else ""
        yield failed(f"the model was never written,{taken} and the run is {run.state}", evidence=_logs(run))
    else:
        yield passed(f"the model was never written, and the run is {run.state}")


@contract(
    title="A model's URI must reach the step that takes the model",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale=(
        "A step that sets model.uri to MLflow's runs:/ URI is green; the launcher of the step that takes the model fails before its "
        "code starts."
    ),
    remedy="Pass run id and model URI as string parameters; leave the artifact's uri as KFP sets it.",
    sources=(
        "measured with the launcher of KFP 2.0.5: failed to parse bucketConfig … unrecognized uri format",
        "kubeflow/pipelines 2.17.0 backend/src/v2/component/launcher_v2.go, fetchNonDefaultBuckets: the same",
    ),
)
def model_uri_survives(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    run = pipeline_backend.wait(pipeline_backend.start("handing_over", {"text": "", "uri": MODEL_URI}))
    taken = run.tasks.get("take") or run.tasks.get("show-2")
    if taken is None:
        yield inconclusive(f"the step that takes the model did not start: the run is {run.state}", evidence=_logs(run))
    elif taken.outputs.get("Output") != MODEL_URI:
        what = f"gets {taken.outputs['Output']!r}" if "Output" in taken.outputs else f"fails: {_error(taken.log)}"
        yield failed(f"a step sets {MODEL_URI}, and the step that takes the model {what}", evidence=_logs(run))
    else:
        yield passed(f"a step sets {MODEL_URI}, and the step that takes the model gets it")


@contract(
    title="A step's limits must arrive in its pod",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="A step without its limits takes the memory of its node, and the tracking server or a predictor on it is evicted.",
    remedy="Use an SDK of the backend's release; SDKs 2.10 to 2.12 write limits that backends before 2.4.0 ignore.",
    sources=(
        "kubeflow/pipelines 2.0.5 backend/src/v2/driver/driver.go, initPodSpecPatch; 2.17.0 getPodResource",
        "kubeflow/pipelines issues 11374 and 11390",
    ),
)
def limits_arrive_in_the_pod(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    run = pipeline_backend.wait(pipeline_backend.start("greeting"))
    task = run.tasks.get("greet")
    if task is None:
        yield inconclusive(f"the step has no pod: the run is {run.state}")
        return
    container = _container(task)
    found = mapping(mapping(container.get("resources")).get("limits"))
    amounts = {name: float(amount) for name in LIMITS if (amount := quantity(str(found.get(name)))) is not None}
    if amounts == LIMITS:
        yield passed(f"the pod has the limits {found['cpu']} and {found['memory']}")
    else:
        yield failed(
            f"the step asks for limits of 250m and 300Mi, and its pod has {dict(found) or 'none'}",
            evidence=(evidence("container", "table", container),),
        )


@contract(
    title="A step's accelerator must arrive in its pod",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="A training without the GPU that it asks for runs on a node without one, for days instead of hours, or fails there.",
    remedy="Use an SDK of the backend's release; SDKs 2.10 to 2.12 write accelerators that backends before 2.4.0 ignore.",
    sources=(
        "kubeflow/pipelines 2.0.5 backend/src/v2/driver/driver.go, initPodSpecPatch; 2.17.0 getPodResource",
        "kubeflow/pipelines issues 11374 and 11390",
    ),
)
def accelerator_arrives_in_the_pod(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    run = pipeline_backend.wait(pipeline_backend.start("accelerated"), until=lambda seen: "greet" in seen.tasks)
    task = run.tasks.get("greet")
    if task is None:
        yield inconclusive(f"the step has no pod: the run is {run.state}")
        return
    container = _container(task)
    found = mapping(mapping(container.get("resources")).get("limits"))
    if str(found.get(ACCELERATOR)) == "1":
        yield passed(f"the pod has the limit 1 of {ACCELERATOR}")
    else:
        yield failed(
            f"the step asks for 1 {ACCELERATOR}, and its pod has {dict(found) or 'no limits'}",
            evidence=(evidence("container", "table", container),),
        )


@contract(
    title="A run must have the service account that was asked for",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="With another account, steps read Secrets and buckets that are not theirs, or fail where they should not.",
    remedy="Upgrade the backend to 2.17.0 for recurring runs; for others, check who may set the account.",
    sources=(
        "kubeflow/pipelines 2.0.5 backend/src/apiserver/template/v2_template.go, RunWorkflow: setDefaultServiceAccount",
        "kubeflow/pipelines 4244448d8f, first in 2.17.0: recurring runs",
    ),
)
def service_account_is_the_one_asked_for(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    run_id = pipeline_backend.start("greeting", service_account=ACCOUNT)
    run = pipeline_backend.wait(run_id, until=lambda seen: bool(seen.pods))
    found = {str(pod["spec"].get("serviceAccountName")) for pod in run.pods}
    if not found:
        yield inconclusive(f"the run has no pod: it is {run.state}")
    elif found == {ACCOUNT}:
        yield passed(f"every pod of the run has the service account {ACCOUNT}")
    else:
        yield failed(f"the run asks for the service account {ACCOUNT}, and its pods have {', '.join(sorted(found))}")


@contract(
    title="A pipeline's exit handler must run when a step fails",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="The exit handler releases what the pipeline holds, and tells people.",
    remedy="Upgrade the backend; do not rely on the exit handler alone for what must be released.",
    sources=(
        "kubeflow/pipelines 2.0.5 backend/src/v2/compiler/argocompiler/dag.go: depends X.Succeeded || X.Skipped || X.Failed || X.Errored",
        "kubeflow/pipelines 3059f7c124, first in 2.4.0: a lifecycle hook of Argo",
    ),
)
def exit_handler_runs_when_a_step_fails(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    run = pipeline_backend.wait(pipeline_backend.start("cleaning"))
    body = run.tasks.get("fail")
    yield _handled(run, body is not None and bool(body.exit_code), "a step failed")


@contract(
    title="A run whose step failed must not succeed because its exit handler did",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="A pipeline with an exit handler is then always green, and what comes after it deploys a model that was never trained.",
    remedy="Upgrade the backend; until then, let the exit handler fail too, or look at the tasks and at what they should have left behind.",
    sources=(
        "measured with KFP 2.0.5 and Argo 3.3.10: the step failed, the exit handler ran, and the run is SUCCEEDED",
        "kubeflow/pipelines 3059f7c124, first in 2.4.0: the handler is a lifecycle hook, no longer a task of the DAG",
    ),
)
def exit_handler_hides_no_failure(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    run = pipeline_backend.wait(pipeline_backend.start("cleaning"))
    body = run.tasks.get("fail")
    if body is None or not body.exit_code:
        yield inconclusive(
            f"the step inside of the exit handler did not fail: the run is {run.state}", evidence=_logs(run)
        )
    elif run.succeeded:
        yield failed(
            f"a step exits with {body.exit_code}, its pipeline has an exit handler, and the run is {run.state}",
            evidence=_logs(run),
        )
    else:
        yield passed(
            f"a step exits with {body.exit_code}, its pipeline has an exit handler, and the run is {run.state}"
        )


@contract(
    title="A pipeline's exit handler must run when the run is terminated",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="Whoever terminates a run expects that what it holds is released: volumes, clusters, locks.",
    remedy="Upgrade the backend to 2.4.0 or later; before, release by hand what a terminated run held.",
    sources=(
        "kubeflow/pipelines 3059f7c124, first in 2.4.0: a lifecycle hook of Argo, in place of a task that depends on the body",
    ),
)
def exit_handler_runs_when_terminated(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    run_id = pipeline_backend.start("waiting")
    begun = pipeline_backend.wait(
        run_id, until=lambda seen: "wait" in seen.tasks and "waiting" in seen.tasks["wait"].log
    )
    pipeline_backend.terminate(run_id)
    body = begun.tasks.get("wait")
    began = body is not None and "waiting" in body.log
    yield _handled(pipeline_backend.wait(run_id), began, "the run was terminated")


def _handled(run: BackendRun, began: bool, what: str) -> Finding:
    handler = run.tasks.get("greet")
    if not began:
        return inconclusive(
            f"the step inside of the exit handler did not run: the run is {run.state}", evidence=_logs(run)
        )
    if handler is None or handler.exit_code != 0:
        return failed(f"{what}, and the exit handler did not run; the run is {run.state}", evidence=_logs(run))
    return passed(f"{what}, and the exit handler ran; the run is {run.state}")


@contract(
    title="A run that cannot record must not succeed",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="A green run without an MLflow run is noticed days later, when somebody looks for the model.",
    remedy="Let errors of MLflow's client fail the step: no try/except and no autologging around required recording.",
    sources=("mlflow 2.17.2 and 3.17.2 mlflow/utils/rest_utils.py: MlflowException after the retries",),
)
def unrecorded_step_fails_the_run(pipeline_backend: PipelineBackendClient) -> Iterator[Finding]:
    environment = {"MLFLOW_TRACKING_URI": NOWHERE, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    run = pipeline_backend.wait(
        pipeline_backend.start("recording", _experiment(pipeline_backend), environment=environment)
    )
    task = run.tasks.get("record")
    if run.succeeded:
        yield failed(f"MLflow was unreachable, and the run is {run.state}", evidence=_logs(run))
    elif task is None or "Max retries exceeded" not in task.log:
        yield inconclusive(f"the run is {run.state}, but not because of MLflow", evidence=_logs(run))
    else:
        yield passed(f"MLflow was unreachable, and the run is {run.state}")


@contract(
    title="A run whose recording step comes from the cache must not succeed without the MLflow run",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="A training is started again since its run was deleted, the cache answers, and everything is green without run and model.",
    remedy="Switch caching off for every step that records: set_caching_options(False).",
    sources=(
        "measured with KFP 2.0.5: a second run of a recording step has no pod and is SUCCEEDED",
        "kubeflow/pipelines 2.0.5 backend/src/v2/driver/driver.go, getFingerPrintsAndID: inputs, image and command; MLflow is not asked",
    ),
)
def cached_recording_has_its_run(pipeline_backend: PipelineBackendClient, tracking: TrackingApi) -> Iterator[Finding]:
    arguments = _experiment(pipeline_backend)
    first = pipeline_backend.wait(pipeline_backend.start("recording_once", arguments))
    recorded = _recorded(first)
    if not (first.succeeded and recorded):
        yield inconclusive(f"the step recorded no run: it is {first.state}", evidence=_logs(first))
        return
    tracking.delete_run(recorded)
    second = pipeline_backend.wait(pipeline_backend.start("recording_once", arguments))
    again = _recorded(second)
    if again:
        yield passed(f"MLflow's run {recorded} was deleted, and the next run of the pipeline recorded {again}")
    elif second.succeeded:
        yield failed(
            f"MLflow's run {recorded} was deleted, the step that records it was answered from the cache, and the run is {second.state}",
            evidence=_logs(second),
        )
    else:
        yield passed(f"MLflow's run {recorded} was deleted, and the run without it is {second.state}")


@contract(
    title="A terminated run must leave no MLflow run that is RUNNING for ever",
    level=MUST,
    seam=SEAM,
    versions=VERSIONS,
    features=BACKEND,
    rationale="Runs that never end are counted as running trainings, and nobody can tell them from these.",
    remedy=(
        "End the run when the step is asked to end: handle SIGTERM in the step, with mlflow.end_run('KILLED'), or end the runs of "
        "terminated pipelines from outside."
    ),
    sources=(
        "mlflow 2.17.2 mlflow/tracking/fluent.py: end_run is registered with atexit, which a signal's default action does not run",
        "argo-workflows 3.3.10 workflow/executor/executor.go, Kill: SIGTERM, then SIGKILL after the grace period",
    ),
)
def terminated_run_ends_in_mlflow(pipeline_backend: PipelineBackendClient, tracking: TrackingApi) -> Iterator[Finding]:
    run_id = pipeline_backend.start("recording", {**_experiment(pipeline_backend), "seconds": 600})
    seen = pipeline_backend.wait(run_id, until=lambda seen: _recorded(seen) != "")
    recorded = _recorded(seen)
    if not recorded:
        yield inconclusive(f"the step recorded no run: it is {seen.state}", evidence=_logs(seen))
        return
    pipeline_backend.terminate(run_id)
    ended = pipeline_backend.wait(run_id)
    status = last_answer(
        lambda: str(tracking.get_run(recorded)["info"]["status"]),
        until=lambda found: found != "RUNNING",
        timeout=ENDED,
        poll=3.0,
    )
    if status == "RUNNING":
        yield failed(
            f"the run of KFP is {ended.state}, and its MLflow run {recorded} still RUNNING after {ENDED:.0f} s"
        )
    else:
        yield passed(f"the run of KFP is {ended.state}, and its MLflow run {recorded} {status}")


def _container(task: BackendTask) -> Mapping[str, Any]:
    """The step's own container in its last pod."""
    found: Mapping[str, Any] = next(each for each in task.pods[-1]["spec"]["containers"] if each["name"] == "main")
    return found


def _recorded(run: BackendRun) -> str:
    """The id of the MLflow run that a step has begun; empty before."""
    found = re.search(
        r"^recording ([0-9a-f]{32})$", run.tasks["record"].log if "record" in run.tasks else "", re.MULTILINE
    )
    return found[1] if found else ""


def _experiment(pipeline_backend: PipelineBackendClient) -> dict[str, str]:
    return {"experiment": f"{pipeline_backend.experiment}-backend-{uuid4().hex[:8]}"}


def _logs(run: BackendRun) -> tuple[Evidence, ...]:
    return (evidence("logs of the steps", "log", run.log),)


def _error(log: str) -> str:
    """The launcher's error in one line."""
    found = re.search(r"failed to execute component: (.*)", log)
    return found[1][:300] if found else log.strip().rpartition("\n")[2][:300] or "its log is empty"
