"""kfp → mlflow: a step records its run on the configured tracking server, runs, and has resource limits."""

from __future__ import annotations

import ast
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import uuid4

from trivet.authoring import (
    MUST,
    SHOULD,
    CompiledPipeline,
    Finding,
    Handover,
    Keys,
    PipelineClient,
    TrainerClient,
    UsageError,
    contract,
    evidence,
    failed,
    inconclusive,
    not_applicable,
    passed,
)
from trivet.integration import TrackingApi, TrackingError, resolve_storage_uri

SEAM = ("kfp", "mlflow")
VARIABLE = "MLFLOW_TRACKING_URI"

UNBEATABLE = 0.999
"""Weighted F1 of the version in production in ``gate_compares_with_production``: no candidate of the example reaches it."""

VERSIONS: Mapping[str, str] = {"kfp": ">=2.0"}
"""The oldest versions that these contracts were verified with, by reading or running them."""

LIVE_VERSIONS: Mapping[str, str] = {"kfp": ">=2.7", "mlflow": ">=2.12"}
"""Whole pipelines run locally since kfp 2.7 (sdk/RELEASE.md)."""


# -- static: the compiled pipeline ------------------------------------------------------------------------------------


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
    for step in _steps(compiled_pipeline):
        for place in step.program.literals:
            sound = False
            yield failed(f"step {step.name}: {place}", location=compiled_pipeline.at(*step.program_keys))
        recording |= step.program.uses_mlflow
        if step.program.uses_mlflow and not _has_tracking_uri(step, compiled_pipeline):
            unset.append(step.name)
    for keys, task, parameter, value in _defaults_in_force(compiled_pipeline):
        sound = False
        yield failed(
            f"task {task} does not set {parameter}, and the default of its component is {value!r}",
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
    ),
)
def resources_are_limited(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    steps = list(_steps(compiled_pipeline))
    if not steps:
        yield not_applicable("no step runs a container", location=compiled_pipeline.at())
    for step in steps:
        resources = _map(step.container.get("resources"))
        where = compiled_pipeline.at(*step.keys, "container", "resources")
        missing = [
            name
            for name, fields in (
                ("CPU", ("cpuLimit", "resourceCpuLimit")),
                ("memory", ("memoryLimit", "resourceMemoryLimit")),
            )
            if not any(resources.get(field) for field in fields)
        ]
        accelerator = _map(resources.get("accelerator"))
        if missing:
            yield failed(f"step {step.name} has no limit for {' and '.join(missing)}", location=where)
        elif accelerator and not (accelerator.get("type") or accelerator.get("resourceType")):
            yield failed(f"step {step.name} requests accelerators without a type", location=where)
        elif accelerator and not (accelerator.get("count") or accelerator.get("resourceCount")):
            yield failed(f"step {step.name} names an accelerator type and requests none", location=where)
        else:
            yield passed(f"step {step.name} has limits for CPU and memory", location=where)


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
    recording = {step.component for step in _steps(compiled_pipeline) if step.program.records}
    tasks = [(keys, task) for keys, task in _tasks(compiled_pipeline) if _component_of(task) in recording]
    if not tasks:
        yield not_applicable("no step records a run in its code", location=compiled_pipeline.at())
    for keys, task in tasks:
        where = compiled_pipeline.at(*keys, "cachingOptions")
        if _map(task.get("cachingOptions")).get("enableCache"):
            yield failed(f"task {keys[-1]} records a run and is cached", location=where)
        else:
            yield passed(f"task {keys[-1]} is not cached", location=where)


# -- the code of a step -----------------------------------------------------------------------------------------------

_LITERAL = re.compile(r"[a-zA-Z][\w+.-]*:/|databricks")
_IN_SHELL = re.compile(rf"{VARIABLE}\s*=\s*[\"']?([a-zA-Z][\w+.-]*:/[^\s\"';]+)")
_RECORDS = re.compile(r"(start_run|create_run|autolog|log_\w+|set_tags?|register_model|create_model_version)$")
_FROM_ENVIRONMENT = ("get", "getenv", "setdefault", "putenv")


@dataclass(frozen=True, kw_only=True)
class Program:
    """What the code of a step does with MLflow. ``literals`` are sentences, one per hard-coded tracking URI."""

    literals: tuple[str, ...] = ()
    uses_mlflow: bool = False
    records: bool = False


@dataclass(frozen=True, kw_only=True)
class _Step:
    """An executor that runs a container, with the name of its component."""

    name: str
    component: str
    keys: Keys
    container: Mapping[str, Any]
    program: Program
    program_keys: Keys


def _steps(pipeline: CompiledPipeline) -> Iterator[_Step]:
    components = _map(pipeline.document.get("components"))
    labels = {name: _map(settings).get("executorLabel") for name, settings in components.items()}
    owners = {label: name for name, label in labels.items() if isinstance(label, str)}
    executors = _map(_map(pipeline.document.get("deploymentSpec")).get("executors"))
    for label, executor in executors.items():
        container = _map(executor).get("container")
        if not isinstance(container, Mapping):
            continue
        keys: Keys = ("deploymentSpec", "executors", label)
        program, place = Program(), keys
        for field in ("command", "args"):
            values = container.get(field)
            for index, text in enumerate(values if isinstance(values, list) else ()):
                if isinstance(text, str) and "mlflow" in text.lower() and (read := read_program(text)) != Program():
                    program, place = read, (*keys, "container", field, index)
        component = owners.get(label, "")
        yield _Step(
            name=component.removeprefix("comp-") or label,
            component=component,
            keys=keys,
            container=container,
            program=program,
            program_keys=place,
        )


@lru_cache(maxsize=256)
def read_program(text: str) -> Program:
    """What Python code does with MLflow; for other languages only whether it sets the tracking URI to a literal."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Program(literals=tuple(f"its command sets {VARIABLE} to {uri!r}" for uri in _IN_SHELL.findall(text)))
    nodes = list(ast.walk(tree))
    names = _names_from_mlflow(nodes)
    constants = {
        target.id: node.value.value
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    return Program(
        literals=tuple(sentence for node in nodes for sentence in _literals(node, constants)),
        uses_mlflow=bool(names),
        records=any(_root(call.func) in names and _RECORDS.match(_called(call.func)) for call in calls),
    )


def _names_from_mlflow(nodes: list[ast.AST]) -> set[str]:
    """The names bound to mlflow, to an import from it, or to the result of calling one of these."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {a.asname or "mlflow" for a in node.names if a.name.partition(".")[0] == "mlflow"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "mlflow":
            names |= {a.asname or a.name for a in node.names}
    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _root(node.value.func) in names:
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _literals(node: ast.AST, constants: Mapping[str, Any]) -> Iterator[str]:
    """A sentence if ``node`` hard-codes a tracking URI."""
    uri = None
    if isinstance(node, ast.Call):
        called = _called(node.func)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        first = node.args[0] if node.args else None
        if VARIABLE in given:  # environ.update(…), dict(…)
            uri = _literal(given[VARIABLE], constants)
        elif called in ("set_tracking_uri", "set_registry_uri"):
            uri = _literal(given.get("uri", first), constants)
        elif called == "MlflowClient":
            uri = _literal(given.get("tracking_uri", first), constants)
        elif called in _FROM_ENVIRONMENT and len(node.args) == 2 and _literal_text(first, constants) == VARIABLE:
            uri = _literal(node.args[1], constants)
    elif isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Subscript) and _literal_text(target.slice, constants) == VARIABLE
        for target in node.targets
    ):
        called, uri = f"environ[{VARIABLE!r}] =", _literal(node.value, constants)
    elif isinstance(node, ast.Dict):
        called = f"{VARIABLE!r}:"
        for key, value in zip(node.keys, node.values, strict=True):
            if _literal_text(key, constants) == VARIABLE:
                uri = _literal(value, constants)
    if uri:
        yield f"its code hard-codes the tracking server: {called} {uri!r} (line {getattr(node, 'lineno', 0)} of the code)"


def _literal_text(node: ast.AST | None, constants: Mapping[str, Any]) -> str:
    value = constants.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
    return value if isinstance(value, str) else ""


def _literal(node: ast.AST | None, constants: Mapping[str, Any]) -> str:
    if isinstance(node, ast.JoinedStr) and node.values:
        # An expression that reads the host from the environment is not hard-coded.
        whole = ast.unparse(node)
        begins = _LITERAL.match(_literal_text(node.values[0], constants))
        return whole if begins and not re.search(r"environ|getenv", whole) else ""
    text = _literal_text(node, constants)
    return text if _LITERAL.match(text) else ""


def _called(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _root(function: ast.AST) -> str:
    while isinstance(function, ast.Attribute | ast.Call):
        function = function.value if isinstance(function, ast.Attribute) else function.func
    return getattr(function, "id", "")


def _has_tracking_uri(step: _Step, pipeline: CompiledPipeline) -> bool:
    """Whether the container sets the variable, or the component has a parameter for the URI."""
    env = step.container.get("env")
    if isinstance(env, list) and any(_map(entry).get("name") == VARIABLE for entry in env):
        return True
    component = _map(_map(pipeline.document.get("components")).get(step.component))
    return any(
        "tracking_ur" in name.lower() for name in _map(_map(component.get("inputDefinitions")).get("parameters"))
    )


# -- the compiled pipeline --------------------------------------------------------------------------------------------


def _tasks(pipeline: CompiledPipeline) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """Every task with its keys, including those in conditions and loops."""
    places: list[tuple[Keys, Any]] = [(("root",), pipeline.document.get("root"))]
    places += [(("components", name), each) for name, each in _map(pipeline.document.get("components")).items()]
    for keys, owner in places:
        for name, task in _map(_map(_map(owner).get("dag")).get("tasks")).items():
            yield (*keys, "dag", "tasks", name), _map(task)


def _component_of(task: Mapping[str, Any]) -> str:
    return str(_map(task.get("componentRef")).get("name", ""))


def _defaults_in_force(pipeline: CompiledPipeline) -> Iterator[tuple[Keys, str, str, str]]:
    """Hard-coded tracking URIs in defaults of a step's parameters that the task does not override."""
    components = _map(pipeline.document.get("components"))
    for keys, task in _tasks(pipeline):
        name = _component_of(task)
        component = _map(components.get(name))
        if "executorLabel" not in component:
            continue
        given = _map(_map(task.get("inputs")).get("parameters"))
        for parameter, settings in _map(_map(component.get("inputDefinitions")).get("parameters")).items():
            value = _map(settings).get("defaultValue")
            if (
                parameter not in given
                and "tracking_ur" in parameter.lower()
                and isinstance(value, str)
                and _LITERAL.match(value)
            ):
                where: Keys = ("components", name, "inputDefinitions", "parameters", parameter, "defaultValue")
                yield where, str(keys[-1]), parameter, value


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


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
        yield failed(f"the example pipeline failed: {_last_line(main.log)}", evidence=log)
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
        yield inconclusive(f"the pipeline failed, but not because of MLflow: {_last_line(run.log)}", evidence=log)
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
        yield inconclusive(f"the pipeline did not reach its gate: {_last_line(run.log)}", evidence=log)
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


def _last_line(log: str) -> str:
    return log.strip().rpartition("\n")[2][:300] or "its log is empty"
