"""kfp → mlflow: a step records its run where it is told to, really runs, and has bounds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from trivet.engine.authoring import MUST, SHOULD, contract, failed, not_applicable, passed
from trivet.model.finding import Finding
from trivet.model.subjects import CompiledPipeline, Keys

SEAM = ("kfp", "mlflow")
VARIABLE = "MLFLOW_TRACKING_URI"


# -- static: the compiled pipeline ------------------------------------------------------------------------------------


@contract(
    title="The tracking URI must reach a step from outside, not from its code",
    level=MUST,
    seam=SEAM,
    rationale=(
        "A server's address in a step's code survives every move of the server and every copy to another cluster: "
        "runs go to the old place, or nowhere."
    ),
    remedy=(
        f"Take the URI out of the code; set {VARIABLE} on the task (set_env_variable, a ConfigMap or Secret) or pass it "
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
    for step in _steps(compiled_pipeline):
        for place in step.program.literals:
            sound = False
            yield failed(f"step {step.name}: {place}", location=compiled_pipeline.at(*step.program_keys))
        recording |= step.program.uses_mlflow
    for keys, task, parameter, value in _defaults_in_force(compiled_pipeline):
        sound = False
        yield failed(
            f"task {task} is given no {parameter}, and its component's default is {value!r}",
            location=compiled_pipeline.at(*keys),
        )
    if not recording and sound:
        yield not_applicable("no step names mlflow in its code", location=compiled_pipeline.at())
    elif sound:
        yield passed("no step's code and no default in force names a tracking server", location=compiled_pipeline.at())


@contract(
    title="Every step should have limits for its CPU and memory",
    level=SHOULD,
    seam=SEAM,
    rationale=(
        "A step without limits takes what the node has: the tracking server or the predictor beside it is evicted or"
        " killed first."
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
            yield failed(f"step {step.name} asks for accelerators without saying of which type", location=where)
        elif accelerator and not (accelerator.get("count") or accelerator.get("resourceCount")):
            yield failed(f"step {step.name} names an accelerator and asks for none", location=where)
        else:
            yield passed(f"step {step.name} has limits for CPU and memory", location=where)


@contract(
    title="A step that records a run should not be cached",
    level=SHOULD,
    seam=SEAM,
    rationale=(
        "On a cache hit KFP copies the outputs of an earlier execution: the pipeline is green, and MLflow has no "
        "run, metrics or model for it."
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


# -- what a step's code says ------------------------------------------------------------------------------------------

_LITERAL = re.compile(r"[a-zA-Z][\w+.-]*:/|databricks")
_IN_SHELL = re.compile(rf"{VARIABLE}\s*=\s*[\"']?([a-zA-Z][\w+.-]*:/[^\s\"';]+)")
_RECORDS = re.compile(r"(start_run|create_run|autolog|log_\w+|set_tags?|register_model|create_model_version)$")
_FROM_ENVIRONMENT = ("get", "getenv", "setdefault", "putenv")


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a step's code was found to do. ``literals`` are sentences, one for each tracking URI that is written down."""

    literals: tuple[str, ...] = ()
    uses_mlflow: bool = False
    records: bool = False


@dataclass(frozen=True, kw_only=True)
class _Step:
    """An executor that runs a container, under the name of the component that it belongs to."""

    name: str
    component: str
    keys: Keys
    container: Mapping[str, Any]
    program: Program
    program_keys: Keys


def _steps(pipeline: CompiledPipeline) -> Iterator[_Step]:
    components = _map(pipeline.document.get("components"))
    owners = {_map(settings).get("executorLabel"): name for name, settings in components.items()}
    executors = _map(_map(pipeline.document.get("deploymentSpec")).get("executors"))
    for label, executor in executors.items():
        container = _map(executor).get("container")
        if not isinstance(container, Mapping):
            continue
        keys: Keys = ("deploymentSpec", "executors", label)
        program, place = Program(), ("container",)
        for field in ("command", "args"):
            values = container.get(field)
            for index, text in enumerate(values if isinstance(values, list) else ()):
                if isinstance(text, str) and "mlflow" in text.lower() and (read := read_program(text)) != Program():
                    program, place = read, ("container", field, index)  # type: ignore[assignment]
        component = owners.get(label, "")
        yield _Step(
            name=component.removeprefix("comp-") or label,
            component=component,
            keys=keys,
            container=container,
            program=program,
            program_keys=(*keys, *place),
        )


@lru_cache(maxsize=256)
def read_program(text: str) -> Program:
    """What Python code does with MLflow; of code in another language only whether it sets the tracking URI to a literal."""
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
    """The names that stand for mlflow, for something imported from it, or for what a call of such a thing returned."""
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
    """A sentence where ``node`` writes a tracking URI down."""
    uri = None
    if isinstance(node, ast.Call):
        called = _called(node.func)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        first = node.args[0] if node.args else None
        if called in ("set_tracking_uri", "set_registry_uri"):
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
                uri = uri or _literal(value, constants)
    if uri:
        yield f"its code names the tracking server: {called} {uri!r} (line {getattr(node, 'lineno', 0)} of the code)"


def _literal_text(node: ast.AST | None, constants: Mapping[str, Any]) -> str:
    value = constants.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
    return value if isinstance(value, str) else ""


def _literal(node: ast.AST | None, constants: Mapping[str, Any]) -> str:
    text = _literal_text(node, constants)
    return text if _LITERAL.match(text) else ""


def _called(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _root(function: ast.AST) -> str:
    while isinstance(function, ast.Attribute | ast.Call):
        function = function.value if isinstance(function, ast.Attribute) else function.func
    return getattr(function, "id", "")


# -- what a compiled pipeline says ------------------------------------------------------------------------------------


def _tasks(pipeline: CompiledPipeline) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """Every task with its place, those of conditions and loops included."""
    places: list[tuple[Keys, Any]] = [(("root",), pipeline.document.get("root"))]
    places += [(("components", name), each) for name, each in _map(pipeline.document.get("components")).items()]
    for keys, owner in places:
        for name, task in _map(_map(_map(owner).get("dag")).get("tasks")).items():
            yield (*keys, "dag", "tasks", name), _map(task)


def _component_of(task: Mapping[str, Any]) -> str:
    return str(_map(task.get("componentRef")).get("name", ""))


def _defaults_in_force(pipeline: CompiledPipeline) -> Iterator[tuple[Keys, str, str, str]]:
    """Literal tracking URIs that are defaults of a step's parameter and that the task does not replace."""
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
