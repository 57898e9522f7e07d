"""What a platform spec configures on Kubernetes for executors, and what of that Kubernetes or the driver refuses.

Read as KFP's driver reads it: backend/src/v2/driver/k8s.go at 2.17.0. Places are those in the platform spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import CompiledPipeline, Keys
from trivet.contracts.ir.messages import KUBERNETES, SpecViolation, spec_violations
from trivet.contracts.ir.parts import Dag, component_of, components, dags, definitions, name_in, platform_executors
from trivet.contracts.ir.references import nearest, reachable_dags
from trivet.contracts.rules.pods import toleration_violations
from trivet.contracts.values import each, mapping
from trivet.contracts.violation import Violation

EXECUTORS: Keys = ("platforms", "kubernetes", "deploymentSpec", "executors")


def config_violations(pipeline: CompiledPipeline) -> Iterator[SpecViolation]:
    """What in the configuration of an executor protojson drops, or cannot read."""
    for label, config in platform_executors(pipeline).items():
        yield from spec_violations(config, KUBERNETES, (*EXECUTORS, label))


def refused_tolerations(pipeline: CompiledPipeline) -> Iterator[Violation]:
    """Tolerations with which Kubernetes refuses a step's pod."""
    for label, config in platform_executors(pipeline).items():
        for keys, toleration in each(config.get("tolerations"), (*EXECUTORS, label, "tolerations")):
            if "tolerationJson" not in toleration:
                yield from toleration_violations(keys, toleration)


def unresolved(pipeline: CompiledPipeline) -> Iterator[Violation]:
    """What an executor takes from inputs of its DAG or from outputs of tasks that are not there; each once."""
    known, configured = components(pipeline), platform_executors(pipeline)
    there = reachable_dags(pipeline)
    found: dict[Violation, None] = {}
    for dag in dags(pipeline):
        for task in dag.tasks.values() if dag.name in there else ():
            label = str(known.get(component_of(task), {}).get("executorLabel"))
            for keys, source in _sources(configured.get(label), (*EXECUTORS, label)):
                if problem := _problem(dag, label, source, known):
                    found[Violation(keys, problem)] = None
    yield from found


def _sources(value: Any, keys: Keys) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """Every mapping that names an input or an output."""
    if isinstance(value, dict):
        if "componentInputParameter" in value or "taskOutputParameter" in value:
            yield keys, value
        for key, member in value.items():
            yield from _sources(member, (*keys, key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _sources(member, (*keys, index))


def _problem(dag: Dag, label: str, source: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    wanted = name_in(source, "componentInputParameter")
    declared = definitions(dag.component, "input", "parameters")
    if wanted is not None:
        missing = "" if wanted in declared else nearest(wanted, declared)
        return "" if wanted in declared else f"{label} takes the input {wanted!r}, and {dag.name} has none{missing}"
    output = mapping(source.get("taskOutputParameter"))
    producer, key = name_in(output, "producerTask"), name_in(output, "outputParameterKey")
    if producer not in dag.tasks:
        return f"{label} takes an output of task {producer}, and {dag.name} has none{nearest(producer, dag.tasks)}"
    made_by = known.get(component_of(dag.tasks[str(producer)]))
    given = definitions(made_by, "output", "parameters") if made_by is not None else {}
    if made_by is None or key in given:
        return ""
    return f"{label} takes the output {key!r} of {producer}, which has none{nearest(key, given)}"
