"""Where the values and artifacts that tasks get come from, across conditions, loops and nested pipelines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any, NamedTuple, TypeVar

from trivet.authoring import CompiledPipeline, Keys
from trivet.contracts.ir.parts import Dag, component_of, components, dags, definitions, name_in
from trivet.contracts.values import mapping

T = TypeVar("T")


class Output(NamedTuple):
    """An output of a component that is no DAG."""

    component: str
    key: str


class Constant(NamedTuple):
    """A text that stands in the pipeline: a constant that a task gives, or the default of a parameter of the pipeline."""

    text: str
    keys: Keys


def given_artifacts(pipeline: CompiledPipeline) -> Mapping[tuple[str, str], Set[Output]]:
    """Component and input → the outputs that its tasks can get there."""
    known = components(pipeline)

    def origins(dag: Dag, source: Mapping[str, Any], keys: Keys) -> Set[Output]:
        output = mapping(source.get("taskOutputArtifact"))
        return set(_made(known, dag, output))

    return _given(pipeline, "artifact", origins, {})


def given_constants(pipeline: CompiledPipeline) -> Mapping[tuple[str, str], Set[Constant]]:
    """Component and input → the texts that its tasks can get there from the pipeline itself."""

    def origins(dag: Dag, source: Mapping[str, Any], keys: Keys) -> Set[Constant]:
        value = mapping(source.get("runtimeValue")).get("constant")
        return {Constant(value, (*keys, "runtimeValue", "constant"))} if isinstance(value, str) else set()

    defaults = {
        ("root", name): {Constant(value, ("root", "inputDefinitions", "parameters", name, "defaultValue"))}
        for name, settings in definitions(mapping(pipeline.document.get("root")), "input", "parameters").items()
        if isinstance(value := settings.get("defaultValue"), str)
    }
    return _given(pipeline, "parameter", origins, defaults)


def _given(
    pipeline: CompiledPipeline,
    kind: str,
    origins: Callable[[Dag, Mapping[str, Any], Keys], Set[T]],
    at_root: Mapping[tuple[str, str], Set[T]],
) -> Mapping[tuple[str, str], Set[T]]:
    """Component and input → what can reach it; ``origins`` says what a source stands for that is no input of its DAG."""
    found: dict[tuple[str, str], set[T]] = defaultdict(set, {key: set(values) for key, values in at_root.items()})
    # The root comes first, and its name wins over that of a component.
    by_name = {dag.name: dag for dag in reversed(list(dags(pipeline)))}
    waiting, seen = ["root"], {"root"}
    while waiting:
        dag = by_name[waiting.pop()]
        for name, task in dag.tasks.items():
            component = component_of(task)
            changed = component not in seen
            for argument, source in mapping(mapping(task.get("inputs")).get(f"{kind}s")).items():
                outer = name_in(mapping(source), f"componentInput{kind.capitalize()}")
                keys = (*dag.at(name), "inputs", f"{kind}s", argument)
                values = found[dag.name, outer] if outer is not None else origins(dag, mapping(source), keys)
                if not values <= found[component, argument]:
                    found[component, argument] |= values
                    changed = True
            if changed and component in by_name and component != "root":
                seen.add(component)
                waiting.append(component)
    return found


def _made(known: Mapping[str, Mapping[str, Any]], dag: Dag, output: Mapping[str, Any]) -> Iterator[Output]:
    """The outputs of components that run something which an output of a task stands for."""
    waiting = [
        (component_of(dag.tasks.get(name_in(output, "producerTask") or "", {})), name_in(output, "outputArtifactKey"))
    ]
    seen = set(waiting)
    while waiting:
        name, key = waiting.pop()
        component = known.get(name, {})
        if "dag" not in component:
            if name and key is not None:
                yield Output(name, key)
            continue
        inner = mapping(component["dag"])
        selection = mapping(mapping(mapping(inner.get("outputs")).get("artifacts")).get(key or ""))
        selectors = selection.get("artifactSelectors")
        for selector in map(mapping, selectors if isinstance(selectors, list) else ()):
            task = mapping(mapping(inner.get("tasks")).get(name_in(selector, "producerSubtask") or ""))
            each = (component_of(task), name_in(selector, "outputArtifactKey"))
            if each not in seen:
                seen.add(each)
                waiting.append(each)
