"""What the parts of a compiled pipeline say of one another, and what of that does not hold.

Read as KFP's backend reads it: backend/src/v2/compiler/visitor.go and argocompiler/dag.go refuse when the run is created,
backend/src/v2/driver/resolve.go when a task starts (both at 2.17.0; the same at 2.0.5 in driver.go).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Any

from trivet.authoring import CompiledPipeline, Keys
from trivet.contracts.ir.messages import described
from trivet.contracts.ir.parts import Dag, component_of, components, dags, definitions, executors, name_in
from trivet.contracts.values import mapping
from trivet.contracts.violation import Violation

_PLACEHOLDER = re.compile(r"\{\{\$\.(inputs|outputs)\.(parameters|artifacts)\['([^']+)'\]")
_CONDITION = re.compile(r"inputs\.parameter_values\['([^']+)'\]")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_UNREADABLE = re.compile(r"\{\{\$\.(?:inputs|outputs)\b(?!\.(?:parameters|artifacts)\['[^']+'\][^}]*\}\})[^}]*\}{0,2}")
"""What looks like a placeholder and is none, so that the driver leaves it as it is (backend/src/v2/driver/container.go)."""
_NOT_CEL = re.compile(r"\b(and|or|not|is)\b|(?<![=!<>])=(?!=)|<>")
"""Python's and SQL's operators in a condition, and the assignment (backend/src/v2/expression/expression.go evaluates it as CEL)."""
_WHOLE = "ALL_UPSTREAM_TASKS_COMPLETED"


def dangling(pipeline: CompiledPipeline) -> Iterator[Violation]:
    """Every reference of a reachable part to one that is not there, and every cycle of tasks."""
    known = components(pipeline)
    labels = executors(pipeline)
    reachable = reachable_dags(pipeline)
    for dag in dags(pipeline):
        if dag.name in reachable:
            yield from _dangling_in(dag, known)
    given = _given(pipeline)
    for name, component in known.items():
        if name in reachable and "dag" not in component:
            yield from _executor_of(name, component, labels, given.get(name, ()))


def unfit_arguments(pipeline: CompiledPipeline) -> Iterator[Violation]:
    """Every argument of a task that its component does not declare or cannot take, and every one that it lacks."""
    known = components(pipeline)
    reachable = reachable_dags(pipeline)
    for dag in dags(pipeline):
        if dag.name not in reachable:
            continue
        for name, task in dag.tasks.items():
            if (component := known.get(component_of(task))) is not None:
                yield from _unfit(dag, name, task, component, known)
        for parameter, settings in definitions(dag.component, "input", "parameters").items():
            value, expected = settings.get("defaultValue"), str(settings.get("parameterType"))
            if value is not None and not _takes(expected, value):
                yield Violation(
                    keys=(*dag.keys, "inputDefinitions", "parameters", parameter, "defaultValue"),
                    message=f"the default of {parameter} is {described(value)}, and its type {expected}",
                )


def reachable_dags(pipeline: CompiledPipeline) -> set[str]:
    """The root, and every component of a task of one that is reachable: the backend looks at no others."""
    known = components(pipeline)
    waiting, found = ["root"], {"root"}
    while waiting:
        name = waiting.pop()
        owner = mapping(pipeline.document.get("root")) if name == "root" else known[name]
        for task in mapping(mapping(owner.get("dag")).get("tasks")).values():
            each = component_of(mapping(task))
            if each in known and each not in found:
                found.add(each)
                waiting.append(each)
    return found


def _given(pipeline: CompiledPipeline) -> Mapping[str, set[tuple[str, str]]]:
    """Component → kind and name of the inputs that its tasks get. The SDK adds inputs for limits that are placeholders, without
    declaring them."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for dag in dags(pipeline):
        for task in dag.tasks.values():
            for kind, inputs in mapping(task.get("inputs")).items():
                found[component_of(task)] |= {(kind, name) for name in mapping(inputs)}
    return found


def _executor_of(
    name: str, component: Mapping[str, Any], labels: Mapping[str, Mapping[str, Any]], given: Collection[tuple[str, str]]
) -> Iterator[Violation]:
    keys: Keys
    label = component.get("executorLabel")
    if not label:
        yield Violation(
            keys=("components", name), message=f"{name} has neither a dag nor an executorLabel: nothing can run it"
        )
    elif not isinstance(label, str) or label not in labels:
        yield Violation(
            keys=("components", name, "executorLabel"),
            message=f"{name} names the executor {label!r}, and deploymentSpec has none of that name{nearest(label, labels)}",
        )
    elif not {"container", "importer", "resolver", "customJob"} & set(labels[label]):
        yield Violation(
            keys=("deploymentSpec", "executors", label),
            message=f"the executor {label} has neither a container nor an importer",
        )
    elif "importer" in labels[label]:
        importer, keys = mapping(labels[label]["importer"]), ("deploymentSpec", "executors", label, "importer")
        wanted = name_in(mapping(importer.get("artifactUri")), "runtimeParameter")
        declared = definitions(component, "input", "parameters")
        if wanted is not None and wanted not in declared:
            yield Violation(
                keys=(*keys, "artifactUri"),
                message=f"{label} imports the URI in {wanted!r}, which {name} does not have{nearest(wanted, declared)}",
            )
    elif "container" in labels[label]:
        container = mapping(labels[label]["container"])
        keys = ("deploymentSpec", "executors", label, "container")
        if not container.get("image"):
            yield Violation(keys=keys, message=f"the container of {label} has no image")
        for place, text in _strings(container, keys):
            for unreadable in _UNREADABLE.findall(text):
                yield Violation(
                    keys=place,
                    message=f"{name} has {unreadable!r}, which no input or output is put in for: write {{{{$.inputs.parameters['x']}}}}",
                )
            for side, kind, wanted in _PLACEHOLDER.findall(text):
                declared = definitions(component, side.removesuffix("s"), kind)
                if wanted not in declared and not (side == "inputs" and (kind, wanted) in given):
                    yield Violation(
                        keys=place,
                        message=f"{name} uses {side}.{kind}[{wanted!r}], which it does not declare"
                        f"{_other_kind(component, side, kind, wanted) or nearest(wanted, declared)}",
                    )


def _other_kind(component: Mapping[str, Any], side: str, kind: str, wanted: str) -> str:
    """For the end of a sentence: that the name is one of the other kind."""
    other = "parameters" if kind == "artifacts" else "artifacts"
    if wanted not in definitions(component, side.removesuffix("s"), other):
        return ""
    return f"; {wanted} is {'a parameter' if kind == 'artifacts' else 'an artifact'}: write {side}.{other}[{wanted!r}]"


def _strings(value: Any, keys: Keys) -> Iterator[tuple[Keys, str]]:
    if isinstance(value, str):
        # Source of a step may hold a text that looks like a placeholder; it has line breaks.
        if "\n" not in value:
            yield keys, value
    elif isinstance(value, dict | list):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(member, (*keys, key))


def _dangling_in(dag: Dag, known: Mapping[str, Mapping[str, Any]]) -> Iterator[Violation]:
    tasks = dag.tasks
    after: dict[str, set[str]] = {}
    if not tasks:
        yield Violation(keys=(*dag.keys, "dag"), message=f"{dag.name} has no tasks: there is nothing to run")
    elif all(mapping(task.get("triggerPolicy")).get("strategy") == _WHOLE for task in tasks.values()):
        yield Violation(keys=(*dag.keys, "dag", "tasks"), message=f"{dag.name} has exit tasks only")
    for name, task in tasks.items():
        keys = dag.at(name)
        reference = component_of(task)
        if not reference:
            yield Violation(keys=keys, message=f"task {name} has no componentRef")
        elif reference not in known:
            yield Violation(
                keys=(*keys, "componentRef"),
                message=f"task {name} is of the component {reference}, which the pipeline does not have{nearest(reference, known)}",
            )
        before = task.get("dependentTasks")
        after[name] = {each for each in before if isinstance(each, str)} if isinstance(before, list) else set()
        for other in sorted(after[name] - set(tasks)):
            yield Violation(
                keys=(*keys, "dependentTasks"),
                message=f"task {name} depends on {other}, and {dag.name} has no such task{nearest(other, tasks)}",
            )
        for kind in ("parameters", "artifacts"):
            for argument, source in mapping(mapping(task.get("inputs")).get(kind)).items():
                place = (*keys, "inputs", kind, argument)
                for deviation, producer in _source(dag, name, argument, mapping(source), kind, known):
                    if deviation:
                        yield Violation(keys=place, message=deviation)
                    if producer:
                        after[name].add(producer)
        yield from _own_inputs(dag, name, task)
        for argument, source in mapping(mapping(task.get("inputs")).get("parameters")).items():
            constant = mapping(mapping(source).get("runtimeValue")).get("constant")
            for side, kind, wanted in _PLACEHOLDER.findall(constant) if isinstance(constant, str) else ():
                given = mapping(mapping(task.get("inputs")).get(kind))
                if side == "inputs" and wanted not in given:
                    yield Violation(
                        keys=(*keys, "inputs", "parameters", argument),
                        message=f"task {name} builds {argument} of its input {wanted!r}, which it does not get{nearest(wanted, given)}",
                    )
    yield from _cycle(dag, after)
    yield from _outputs(dag, known)


def _source(
    dag: Dag, task: str, argument: str, source: Mapping[str, Any], kind: str, known: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """What is wrong with the source of an argument, and the task that it waits for; each can be empty."""
    singular = kind.removesuffix("s")
    outer = name_in(source, f"componentInput{singular.capitalize()}")
    if outer is not None:
        declared = definitions(dag.component, "input", kind)
        if outer not in declared:
            yield (
                f"task {task} passes the {singular} {outer!r}, and {dag.name} has no such input{nearest(outer, declared)}",
                "",
            )
        return
    output = mapping(source.get(f"taskOutput{singular.capitalize()}"))
    status = mapping(source.get("taskFinalStatus"))
    producer = name_in(output or status, "producerTask")
    if producer is None:
        return
    if producer not in dag.tasks:
        yield (
            f"task {task} takes {argument} from task {producer}, and {dag.name} has none{nearest(producer, dag.tasks)}",
            "",
        )
        return
    yield "", str(producer)
    made_by = known.get(component_of(dag.tasks[producer]))
    key = name_in(output, f"output{singular.capitalize()}Key")
    if output and made_by is not None:
        declared = definitions(made_by, "output", kind)
        if key not in declared:
            yield (
                f"task {task} takes {argument} from {producer}, which has no output {singular} {key!r}{nearest(key, declared)}",
                "",
            )


def _own_inputs(dag: Dag, name: str, task: Mapping[str, Any]) -> Iterator[Violation]:
    """What the condition and the iterator of a task say of its inputs."""
    keys = dag.at(name)
    given = mapping(mapping(task.get("inputs")).get("parameters"))
    condition = mapping(task.get("triggerPolicy")).get("condition")
    for wanted in _CONDITION.findall(condition) if isinstance(condition, str) else ():
        if wanted not in given:
            yield Violation(
                keys=(*keys, "triggerPolicy"),
                message=f"the condition of task {name} uses the input {wanted!r}, which the task does not get{nearest(wanted, given)}",
            )
    if isinstance(condition, str) and _NOT_CEL.search(_QUOTED.sub("", condition)):
        yield Violation(
            keys=(*keys, "triggerPolicy"),
            message=f"the condition of task {name}, {described(condition)}, is no CEL expression: it has &&, ||, ! and ==",
        )
    items = mapping(mapping(task.get("parameterIterator")).get("items"))
    wanted, raw = name_in(items, "inputParameter"), items.get("raw")
    if wanted is not None and wanted not in given:
        yield Violation(
            keys=(*keys, "parameterIterator"),
            message=f"task {name} iterates over the input {wanted!r}, which it does not get{nearest(wanted, given)}",
        )
    if isinstance(raw, str):
        try:
            right = isinstance(json.loads(raw), list)
        except ValueError:
            right = False
        if not right:
            yield Violation(
                keys=(*keys, "parameterIterator"),
                message=f"task {name} iterates over {described(raw)}, which is no JSON list",
            )


def _cycle(dag: Dag, after: Mapping[str, Collection[str]]) -> Iterator[Violation]:
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        around: list[str] = error.args[1][::-1]
        yield Violation(
            keys=dag.at(around[0]), message=f"tasks of {dag.name} wait for one another: {' → '.join(around)}"
        )


def _outputs(dag: Dag, known: Mapping[str, Mapping[str, Any]]) -> Iterator[Violation]:
    outputs = mapping(mapping(dag.component.get("dag")).get("outputs"))
    for kind in ("parameters", "artifacts"):
        for output, selection in mapping(outputs.get(kind)).items():
            for selector in _selectors(mapping(selection)):
                task, singular = name_in(selector, "producerSubtask") or "", kind.removesuffix("s")
                key = name_in(selector, f"output{singular.capitalize()}Key")
                keys = (*dag.keys, "dag", "outputs", kind, output)
                if task not in dag.tasks:
                    yield Violation(
                        keys=keys,
                        message=f"{dag.name} outputs {output} of task {task}, which it does not have{nearest(task, dag.tasks)}",
                    )
                elif (made_by := known.get(component_of(dag.tasks[task]))) is not None:
                    declared = definitions(made_by, "output", kind)
                    if key not in declared:
                        yield Violation(
                            keys=keys,
                            message=f"{dag.name} outputs {output} of {task}, which has no output {singular} {key!r}"
                            f"{nearest(key, declared)}",
                        )


def _selectors(selection: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    single = selection.get("valueFromParameter")
    several = selection.get("artifactSelectors", mapping(selection.get("valueFromOneof")).get("parameterSelectors"))
    found = [single] if single is not None else several
    return [mapping(each) for each in found] if isinstance(found, list) else []


# -- arguments --------------------------------------------------------------------------------------------------------

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "NUMBER_DOUBLE": (int, float),
    "NUMBER_INTEGER": (int, float),
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
    "STRING": str,
}


def _takes(expected: str, value: Any) -> bool:
    """Whether a parameter takes a value: one of type STRING takes all, as JSON, and so do types that the backend fills in."""
    if expected not in _KINDS or expected == "STRING":
        return True
    if isinstance(value, bool):
        return expected == "BOOLEAN"
    return isinstance(value, _KINDS[expected])


def _unfit(
    dag: Dag, name: str, task: Mapping[str, Any], component: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]
) -> Iterator[Violation]:
    keys = dag.at(name)
    iterator = mapping(task.get("parameterIterator")) or mapping(task.get("artifactIterator"))
    from_iterator = {name_in(iterator, "itemInput")}
    inputs = {**definitions(component, "input", "parameters"), **definitions(component, "input", "artifacts")}
    for item in from_iterator - {None, *inputs}:
        yield Violation(
            keys=(*keys, "parameterIterator" if "parameterIterator" in task else "artifactIterator"),
            message=f"task {name} iterates into {item!r}, which {component_of(task)} does not have{nearest(item, inputs)}",
        )
    for kind in ("parameters", "artifacts"):
        singular = kind.removesuffix("s")
        declared = definitions(component, "input", kind)
        given = mapping(mapping(task.get("inputs")).get(kind))
        for argument, source in given.items():
            place = (*keys, "inputs", kind, argument)
            if argument not in declared:
                # The SDK writes more inputs than a component declares; one that resembles an input that is not given is a mistake.
                missing = sorted(set(declared) - set(given) - from_iterator)
                if meant := get_close_matches(argument, missing):
                    yield Violation(
                        keys=place,
                        message=f"task {name} gives the {singular} {argument!r}, which {component_of(task)} does not have; "
                        f"did you mean {meant[0]}?",
                    )
            elif not iterator:
                yield from _type(dag, name, argument, mapping(source), declared[argument], known, place)
        for wanted, settings in declared.items():
            filled_in = (
                settings.get("isOptional")
                or "defaultValue" in settings
                or settings.get("parameterType") == "TASK_CONFIG"
            )
            if not (wanted in given or wanted in from_iterator or filled_in):
                yield Violation(
                    keys=keys,
                    message=f"task {name} does not give the {singular} {wanted!r}, which {component_of(task)} requires",
                )


def _type(
    dag: Dag,
    task: str,
    argument: str,
    source: Mapping[str, Any],
    settings: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    place: Keys,
) -> Iterator[Violation]:
    expected = str(settings.get("parameterType"))
    runtime = mapping(source.get("runtimeValue"))
    if source.get("parameterExpressionSelector"):
        return
    if "constant" in runtime:
        value, literals = runtime["constant"], settings.get("literals")
        if value is not None and not _takes(expected, value):
            yield Violation(
                keys=(*place, "runtimeValue", "constant"),
                message=f"task {task} gives {argument} the value {described(value)}, and its type is {expected}",
            )
        elif isinstance(literals, list) and literals and value not in literals:
            yield Violation(
                keys=(*place, "runtimeValue", "constant"),
                message=f"task {task} gives {argument} the value {described(value)}, expected one of "
                f"{', '.join(map(described, literals))}",
            )
        return
    actual = _type_of(dag, source, known)
    if actual in _KINDS and expected in _KINDS and expected != "STRING" and _KINDS[actual] != _KINDS[expected]:
        yield Violation(
            keys=place, message=f"task {task} gives {argument} a value of type {actual}, and its type is {expected}"
        )


def _type_of(dag: Dag, source: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    if "componentInputParameter" in source:
        declared = definitions(dag.component, "input", "parameters").get(str(source["componentInputParameter"]), {})
        return str(declared.get("parameterType"))
    output = mapping(source.get("taskOutputParameter"))
    made_by = known.get(component_of(dag.tasks.get(str(output.get("producerTask")), {})), {})
    declared = definitions(made_by, "output", "parameters").get(str(output.get("outputParameterKey")), {})
    return str(declared.get("parameterType"))


def nearest(name: Any, names: Iterable[str]) -> str:
    """The nearest name, or all of them if they are few; for the end of a sentence."""
    there = sorted(names)
    if near := get_close_matches(str(name), there):
        return f"; did you mean {near[0]}?"
    return f" (there are {', '.join(there)})" if 0 < len(there) <= 6 else ""
