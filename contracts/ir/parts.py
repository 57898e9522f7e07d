"""The parts of a compiled pipeline: its DAGs, tasks and container steps, with the keys where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from trivet.authoring import CompiledPipeline, Keys
from trivet.contracts.ir.step_code import Program, read_program
from trivet.contracts.values import mapping

CLOUD = "the pipeline has prebuilt components of Google Cloud, and is made for Vertex AI Pipelines"
"""Why a contract about KFP's own backend does not apply."""

STUB_IMAGES = ("argostub/createpvc", "argostub/deletepvc")
"""Steps that the driver runs itself, without a pod (kubeflow/pipelines 2.17.0 argocompiler/argo.go and 2.0.5 driver.go, dummyImages)."""

_CLOUD_IMAGES = re.compile(
    r"gcr\.io/ml-pipeline/(google-cloud-pipeline-components|automl-tables-private|model-evaluation)\b"
    r"|[a-z-]+-docker\.pkg\.dev/vertex-ai(-restricted)?/"
)
"""Images of Google's prebuilt components, which submit jobs to Vertex AI (google-cloud-pipeline-components 2.22.0)."""

_SOURCE_FOLLOWS = re.compile(r"kfp\.(dsl|components)\.executor_main|printf [\"']%s[\"'] [\"']?\$0")
"""The scripts by which the SDK runs the source that is their first argument (kfp 2.9.0 and 2.17.0 kfp/dsl/component_factory.py)."""


@dataclass(frozen=True, kw_only=True)
class Dag:
    """A component that is a DAG, or the root: ``keys`` are its own, ``tasks`` stand below ``dag``."""

    name: str
    keys: Keys
    component: Mapping[str, Any]

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """The tasks by name."""
        return {name: mapping(task) for name, task in mapping(mapping(self.component.get("dag")).get("tasks")).items()}

    def at(self, task: str) -> Keys:
        """The keys of a task."""
        return (*self.keys, "dag", "tasks", task)


@dataclass(frozen=True, kw_only=True)
class Text:
    """One string that a step's container is started with: a command, an argument. ``source`` is set where it is Python source."""

    keys: Keys
    text: str
    source: bool
    program: Program


@dataclass(frozen=True, kw_only=True)
class Step:
    """An executor that runs a container of the user's, with the name of its component."""

    name: str
    component: str
    keys: Keys
    container: Mapping[str, Any]
    texts: tuple[Text, ...]

    @property
    def uses_mlflow(self) -> bool:
        """Whether its code imports mlflow."""
        return any(text.program.uses_mlflow for text in self.texts)

    @property
    def records(self) -> bool:
        """Whether its code records a run."""
        return any(text.program.records for text in self.texts)


def name_in(value: Mapping[str, Any], key: str) -> str | None:
    """The name under ``key``; None if there is none, or something else: ``spec_is_valid`` says so."""
    name = value.get(key)
    return name if isinstance(name, str) else None


def components(pipeline: CompiledPipeline) -> Mapping[str, Mapping[str, Any]]:
    """Every component by name."""
    return {name: mapping(each) for name, each in mapping(pipeline.document.get("components")).items()}


def executors(pipeline: CompiledPipeline) -> Mapping[str, Mapping[str, Any]]:
    """Every executor by label."""
    found = mapping(mapping(pipeline.document.get("deploymentSpec")).get("executors"))
    return {label: mapping(executor) for label, executor in found.items()}


def platform_executors(pipeline: CompiledPipeline) -> Mapping[str, Mapping[str, Any]]:
    """What the platform spec configures on Kubernetes, by the label of the executor (kfp-kubernetes 2.17.0 writes it)."""
    kubernetes = mapping(mapping(pipeline.platform.get("platforms")).get("kubernetes"))
    found = mapping(mapping(kubernetes.get("deploymentSpec")).get("executors"))
    return {label: mapping(config) for label, config in found.items()}


def dags(pipeline: CompiledPipeline) -> Iterator[Dag]:
    """The root, and the DAGs of components: conditions, loops, exit handlers and nested pipelines."""
    yield Dag(name="root", keys=("root",), component=mapping(pipeline.document.get("root")))
    for name, component in components(pipeline).items():
        if "dag" in component:
            yield Dag(name=name, keys=("components", name), component=component)


def tasks(pipeline: CompiledPipeline) -> Iterator[tuple[Keys, Mapping[str, Any]]]:
    """Every task with its keys, including those in conditions and loops."""
    for dag in dags(pipeline):
        for name, task in dag.tasks.items():
            yield dag.at(name), task


def component_of(task: Mapping[str, Any]) -> str:
    """The name of a task's component; empty if it has none."""
    return name_in(mapping(task.get("componentRef")), "name") or ""


def definitions(component: Mapping[str, Any], side: str, kind: str) -> Mapping[str, Mapping[str, Any]]:
    """What a component declares: ``side`` is ``input`` or ``output``, ``kind`` ``parameters`` or ``artifacts``."""
    declared = mapping(mapping(component.get(f"{side}Definitions")).get(kind))
    return {name: mapping(each) for name, each in declared.items()}


def is_cloud_step(container: Mapping[str, Any], component: Mapping[str, Any]) -> bool:
    """Whether a step is one of Google's prebuilt components: its image is, or it outputs the cloud resources that it made."""
    return bool(_CLOUD_IMAGES.match(str(container.get("image")))) or "gcp_resources" in definitions(
        component, "output", "parameters"
    )


def is_cloud_pipeline(pipeline: CompiledPipeline) -> bool:
    """Whether a pipeline uses a prebuilt component of Google's, and so is made for Vertex AI's own backend."""
    owners = _owners(pipeline)
    return any(
        is_cloud_step(mapping(executor.get("container")), owners.get(label, ("", {}))[1])
        for label, executor in executors(pipeline).items()
    )


def steps(pipeline: CompiledPipeline) -> Iterator[Step]:
    """The steps that run the user's containers: no importers, no stubs for the driver, no prebuilt cloud components."""
    owners = _owners(pipeline)
    for label, executor in executors(pipeline).items():
        container = executor.get("container")
        name, component = owners.get(label, ("", {}))
        if (
            not isinstance(container, dict)
            or container.get("image") in STUB_IMAGES
            or is_cloud_step(container, component)
        ):
            continue
        keys: Keys = ("deploymentSpec", "executors", label, "container")
        yield Step(
            name=name.removeprefix("comp-") or label,
            component=name,
            keys=keys,
            container=container,
            texts=tuple(_texts(container, keys)),
        )


def _owners(pipeline: CompiledPipeline) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Executor label → name and component that it belongs to."""
    return {
        label: (name, component)
        for name, component in components(pipeline).items()
        if isinstance(label := component.get("executorLabel"), str)
    }


def _texts(container: Mapping[str, Any], keys: Keys) -> Iterator[Text]:
    before = ""
    for field in ("command", "args"):
        values = container.get(field)
        if not isinstance(values, list):
            continue
        for index, text in enumerate(values):
            if not isinstance(text, str):
                continue
            source = field == "command" and (
                ("python" in before and bool(_SOURCE_FOLLOWS.search(before)))
                or (before == "-c" and "python" in str(values[max(0, index - 2)]))
            )
            yield Text(keys=(*keys, field, index), text=text, source=source, program=_program(text))
            before = text


@lru_cache(maxsize=1024)
def _program(text: str) -> Program:
    return read_program(text) if len(text) > 12 else Program()
