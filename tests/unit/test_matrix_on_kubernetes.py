"""Cells of a matrix in pods: the Job, what its pods leave in their logs, and that nothing is judged twice. No cluster is used."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fakes.composed_stacks import compose_in

from trivet.cell_in_pod import REPORT, artefact_line, output_of, read_artefacts
from trivet.cell_runs import Judging
from trivet.cluster_cells import ClusterCells, Place, image_recipe, matrix_label, needs, refuse_what_pods_lack
from trivet.engine.acceptance import Acceptance
from trivet.engine.matrix import Matrix, PlannedCell, planned_cells, read_axes
from trivet.engine.registry import Registry
from trivet.engine.results_store import ResultsStore
from trivet.engine.run import run
from trivet.errors import PlatformError, UsageError
from trivet.host.kubectl import Kubectl, KubectlError
from trivet.model.settings import Settings
from trivet.model.stack import ROLES
from trivet.provision.images.cells import CELLS, HOME, cells_image, name_in_image
from trivet.provision.images.recipes import FilesLayer, RoleLayer
from trivet.render import report_json
from trivet.stacks.composed import compose
from trivet.stacks.drawing import drawing_role
from trivet.stacks.environments import environment_folder
from trivet.stacks.parts import digest_of
from trivet.stacks.read import load_stack, stack_folder
from trivet.targets.cluster.cell_job import (
    INDEX,
    MOST,
    PULL,
    CellJobs,
    CellPod,
    ImageUnavailable,
    cells_job,
    pod_failure,
)

STACK = "2024.11-fixed"


def test_artefacts_are_read_from_a_log_whole_and_the_output_without_them() -> None:
    log = f"judging\n{artefact_line('ab/cd.json', b'{}')}\n{artefact_line(REPORT, b'x' * 100_000)}\ndone\n"
    assert read_artefacts(log) == {"ab/cd.json": b"{}", REPORT: b"x" * 100_000}
    assert output_of(log) == "judging\ndone"


@pytest.mark.parametrize("cut", [20, 40, 60])
def test_a_line_that_was_cut_off_is_no_artefact(cut: int) -> None:
    assert read_artefacts(artefact_line("ab/cd.json", b'{"kind": "KeptResult"}')[:cut]) == {}


def test_the_job_has_a_pod_for_each_cell_which_is_not_tried_again() -> None:
    cells = [{"arguments": ["run"]}] * 4
    config, job = cells_job("m", "abc", image="cells:1", cells=cells, parallel=3, memory="2Gi")
    spec, (container,) = job["spec"], job["spec"]["template"]["spec"]["containers"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 3)
    assert spec["backoffLimitPerIndex"] == 0
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    assert json.loads(config["data"]["cells.json"]) == cells
    assert job["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_more_than_a_config_map_holds_is_refused() -> None:
    with pytest.raises(UsageError, match="a ConfigMap holds 1,000,000"):
        cells_job("m", "abc", image="i", cells=[{"arguments": ["x" * MOST]}], parallel=1, memory="2Gi")


def pod(phase: str, **status: Any) -> dict[str, Any]:
    container = {"resources": {"limits": {"memory": "3Gi"}}}
    metadata = {"name": "p", "uid": "1", "ownerReferences": [{"kind": "Job", "uid": "job-1"}]}
    return {"metadata": metadata, "spec": {"containers": [container]}, "status": {"phase": phase, **status}}


def ended(**terminated: Any) -> list[dict[str, Any]]:
    return [{"image": "cells:1", "state": {"terminated": terminated}}]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (pod("Succeeded"), ""),
        (
            pod("Failed", reason="Evicted", message="The node was low on memory."),
            "Evicted: The node was low on memory.",
        ),
        (pod("Failed", containerStatuses=ended(reason="OOMKilled", exitCode=137)), "its limit of 3Gi (OOMKilled)"),
        (pod("Failed", containerStatuses=ended(reason="Error", exitCode=3)), "ended with exit code 3"),
    ],
)
def test_a_pod_says_why_it_failed(one: Mapping[str, Any], words: str) -> None:
    found = pod_failure(one)
    assert words in found
    assert bool(words) == bool(found)


class Answers:
    """kubectl with the pods of one Job; ``log`` is the log of each, or the error of reading it."""

    def __init__(
        self,
        pods: Sequence[Mapping[str, Any]],
        conditions: Sequence[Mapping[str, str]] = (),
        log: str | Exception = "",
    ) -> None:
        self.pods, self.conditions, self.log, self.context = pods, conditions, log, "c"

    def run(self, *arguments: str) -> str:
        assert arguments[0] == "logs"
        if isinstance(self.log, Exception):
            raise self.log
        return self.log

    def get(self, kind: str, name: str, *, namespace: str) -> dict[str, Any] | None:
        return {"metadata": {"name": name, "uid": "job-1"}, "status": {"conditions": self.conditions}}

    def objects(self, kind: str, *, namespace: str, selector: str) -> Sequence[Mapping[str, Any]]:
        return self.pods


def finished(**status: Any) -> dict[str, Any]:
    one = pod("Succeeded", **status)
    one["metadata"]["annotations"] = {INDEX: "0"}
    return one


def logs_of(one: Mapping[str, Any], log: str | Exception) -> list[str]:
    complete = [{"type": "Complete", "status": "True"}]
    return [found.log for found in jobs(Answers([one], complete, log)).ended("m", lambda text: None)]


NOT_FOUND = 'Error from server (NotFound): pods "p" not found'
WAITING = 'Error from server (BadRequest): container "cell" in pod "p" is waiting to start: ContainerCreating'


def test_a_pod_that_is_gone_or_never_started_has_no_log() -> None:
    done = finished(containerStatuses=ended(exitCode=0))
    assert logs_of(done, "judged") == ["judged"]
    assert [logs_of(done, KubectlError("kubectl logs p", one)) for one in (NOT_FOUND, WAITING)] == [[""], [""]]
    assert logs_of(finished(), AssertionError("it has no log to ask for")) == [""]


@pytest.mark.parametrize(
    "stderr",
    [
        "Error from server (Forbidden): pods is forbidden",
        "Error from server (InternalError): an error on the server",
        "Error from server: Get containerLogs: dial tcp 10.0.0.1:10250: i/o timeout",
        "Unable to connect to the server: EOF",
    ],
)
def test_a_log_that_cannot_be_read_now_is_an_error_since_the_results_are_in_it(stderr: str) -> None:
    with pytest.raises(KubectlError, match=re.escape(stderr)):
        logs_of(finished(containerStatuses=ended(exitCode=0)), KubectlError("kubectl logs p", stderr))


class Clock:
    """A clock that only sleeping advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert self.now < 10 * PULL, "it waits for ever"
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("trivet.targets.cluster.cell_job.time", clock)
    return clock


def jobs(kubectl: object) -> CellJobs:
    return CellJobs(kubectl=cast(Kubectl, kubectl), namespace="n", matrix="abc")


def unpulled(reason: str, message: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod("Pending", containerStatuses=[{"image": "cells:1", "state": state}])


def test_an_image_that_cannot_be_pulled_for_long_is_an_error_with_the_registrys_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = Answers([unpulled("ErrImagePull", "not found")])
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        answers.pods = [unpulled("ImagePullBackOff", "back-off")]

    monkeypatch.setattr("trivet.targets.cluster.cell_job.time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    notes: list[str] = []
    with pytest.raises(ImageUnavailable, match="cannot pull its image cells:1: ErrImagePull: not found"):
        list(jobs(answers).ended("m", notes.append))
    assert now > PULL, "a busy registry is asked again"
    assert len(notes) == 1


@pytest.mark.parametrize("reason", ["CreateContainerError", "CreateContainerConfigError"])
def test_a_container_that_cannot_be_created_for_long_is_an_error(clock: Clock, reason: str) -> None:
    with pytest.raises(ImageUnavailable, match=f"the pod p cannot start its image cells:1: {reason}: refused"):
        list(jobs(Answers([unpulled(reason, "refused")])).ended("m", lambda text: None))
    assert clock.now > PULL


def test_a_job_that_gets_no_pod_is_an_error_which_says_where_the_reason_is(clock: Clock) -> None:
    of_another_job = finished()
    of_another_job["metadata"]["ownerReferences"] = [{"kind": "Job", "uid": "job-2"}]
    with pytest.raises(PlatformError, match="timed out after 120 s waiting for the Job m to have a pod") as caught:
        list(jobs(Answers([of_another_job])).ended("m", lambda text: None))
    assert "`kubectl --context c -n n describe job m`" in caught.value.remedy
    assert clock.now > PULL


def test_only_pods_of_the_job_itself_are_collected() -> None:
    stray = finished()
    del stray["metadata"]["ownerReferences"]
    complete = [{"type": "Complete", "status": "True"}]
    assert list(jobs(Answers([stray], complete)).ended("m", lambda text: None)) == []


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_job_that_cannot_be_created_whole_leaves_nothing(failing: int) -> None:
    applied: list[str] = []
    deleted: list[str] = []

    def apply(document: Mapping[str, Any], *, namespace: str) -> list[dict[str, Any]]:
        if len(applied) == failing:
            raise KeyboardInterrupt
        applied.append(document["kind"])
        return [{"metadata": {"uid": "1"}}]

    kubectl = SimpleNamespace(apply=apply, delete=lambda kind, name, **_: deleted.append(kind))
    with pytest.raises(KeyboardInterrupt):
        jobs(kubectl).create("m", image="i", cells=[{"arguments": []}], parallel=1, memory="3Gi")
    assert applied == ["ConfigMap", "Job"][:failing]
    assert deleted == ["job", "configmap"]


def test_a_job_that_is_deleted_meanwhile_is_an_error() -> None:
    gone = SimpleNamespace(get=lambda *_, **__: None)
    with pytest.raises(PlatformError, match="was deleted before its pods had ended"):
        list(jobs(gone).ended("m", lambda text: None))


# -- the image


def test_the_image_has_every_environment_where_the_pod_looks_for_it() -> None:
    stack = load_stack(STACK)
    image = cells_image([*stack.roles.values(), *stack.roles.values()])
    assert image.reference.path == CELLS
    assert image.config["User"] == "1000"
    assert f"TRIVET_CACHE={HOME}" in image.config["Env"]
    drawing = replace(drawing_role(), python="/usr/bin/python3.11")
    needed = [*stack.roles.values(), drawing]
    expected = {f"{HOME}/environments/{environment_folder(role).name}" for role in needed}
    assert {layer.target for layer in image.layers if isinstance(layer, RoleLayer)} == {"/opt/role", *expected}
    last = image.layers[-1]
    assert isinstance(last, FilesLayer), "its folders belong to the user only if no later layer has them"
    assert {f"{folder}/trivet-environment.json" for folder in expected} <= {file.path for file in last.files}
    assert cells_image(load_stack("current").roles.values()).reference.tag != image.reference.tag


def test_stacks_of_ones_own_are_in_the_image_by_their_contents_and_nothing_else_of_their_folders_is(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / place / "ours" for place in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "stack.toml").write_bytes(f"title = '{folder.parent.name}'\r\n".encode())
        for name in ("trainer.lock", "api_schemas.json", "credentials.json", "notes.toml", "other.lock"):
            (folder / name).write_text("{}", encoding="utf-8")
    places = [name_in_image(str(folder)) for folder in folders]
    assert [name_in_image(one) for one in (STACK, "2.17.2", str(folders[0] / "stack.toml"))] == [
        *(STACK, "2.17.2"),
        places[0],
    ]
    assert len(set(places)) == 2
    assert {place.rpartition("/")[2] for place in places} == {"ours"}, "the stack has its name there"
    last = cells_image([], own=folders).layers[-1]
    assert isinstance(last, FilesLayer)
    found = {file.path: file.text for file in last.files if file.path.startswith(f"{HOME}/stacks/")}
    assert set(found) == {
        f"{place}/{name}" for place in places for name in ("stack.toml", "trainer.lock", "api_schemas.json")
    }
    assert [found[f"{place}/stack.toml"] for place in places] == ["title = 'one'\r\n", "title = 'two'\r\n"]


def test_a_stack_has_the_same_digest_in_the_image(tmp_path: Path) -> None:
    ours = Path(shutil.copytree(stack_folder(STACK), tmp_path / "ours"))
    last = cells_image([], own=[ours]).layers[-1]
    assert isinstance(last, FilesLayer)
    for file in last.files:
        if file.path.startswith(name_in_image(str(ours))):
            place = tmp_path / "image" / file.path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.text.encode())
    there = str(tmp_path / "image" / name_in_image(str(ours)).lstrip("/"))
    assert load_stack(there).digest == load_stack(str(ours)).digest
    parts: list[dict[str, str]] = [{"tracking": "current"}, {"kserve": "0.20.0"}]
    for part in parts:
        assert compose(load_stack(there), part).digest == compose(load_stack(str(ours)), part).digest
    current = load_stack("current")
    for name in ("kserve", "runtime", "trainer"):
        in_image, here = (compose(current, {name: folder}) for folder in (there, str(ours)))
        assert (in_image.digest, in_image.name) == (here.digest, here.name)


def test_the_image_has_the_roles_behind_what_is_missing_and_no_others(cells: Cells) -> None:
    def roles() -> set[str]:
        image = image_recipe(cells.matrix, cells.cells, [])
        return {layer.target for layer in image.layers if isinstance(layer, RoleLayer) and layer.name in ROLES}

    assert {cells.matrix.missing_roles(cell) for cell in cells.cells} == {frozenset({"trainer", "tracking"})}
    assert len(roles()) == 2, "equal locks share an environment"
    cells.codes()
    assert roles() == set()


def test_locks_that_no_stack_has_are_in_the_image_for_every_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    folder = tmp_path / "locks" / "abc"
    folder.mkdir(parents=True)
    for name in ("trainer.lock", "trainer.json"):
        (folder / name).write_text("", encoding="utf-8")
    roles = load_stack(STACK).roles
    by_the_way = replace(roles["trainer"], lock=folder / "trainer.lock")
    last = cells_image([roles["tracking"]], [roles["tracking"], by_the_way]).layers[-1]
    assert isinstance(last, FilesLayer)
    locks = {file.path for file in last.files if not file.path.endswith("/") and "/locks/" in file.path}
    assert locks == {f"{HOME}/locks/abc/trainer.lock", f"{HOME}/locks/abc/trainer.json"}


# -- the cells


class Pods:
    """Jobs whose pods judge the grid target in this process, each with an empty store, as pods do."""

    def __init__(self, folder: Path, registry: Registry, cells: Sequence[PlannedCell]) -> None:
        self.kubectl, self.namespace = SimpleNamespace(context="c"), "n"
        self._folder, self._cells = folder, {json.dumps(dict(cell.values)): cell for cell in cells}
        self._registry = registry
        self.work: list[Sequence[Mapping[str, Any]]] = []
        self.left: dict[str, list[Mapping[str, Any]]] = {}
        self.deleted: list[str] = []
        self.dies: set[str] = set()

    def present(self) -> dict[str, list[Mapping[str, Any]]]:
        return dict(self.left)

    def create(self, name: str, *, cells: Sequence[Mapping[str, Any]], **options: Any) -> None:
        self.work.append(cells)

    def delete(self, name: str) -> None:
        self.deleted.append(name)

    def ended(self, name: str, note: Callable[[str], None]) -> Iterator[CellPod]:
        for index, one in enumerate(self.left.get(name) or self.work[-1]):
            log = self.judged(name, index, one)
            if "trainer=" + one["values"]["trainer"] in self.dies:
                before = "\n".join([*log.splitlines()[:-2], "Killed"])
                yield CellPod(index=index, log=before, failure="the pod p was killed (OOMKilled)")
            else:
                yield CellPod(index=index, log=log)

    def judged(self, name: str, index: int, one: Mapping[str, Any]) -> str:
        cell = self._cells[json.dumps(one["values"])]
        assert cell.stack is not None
        store = ResultsStore(self._folder / f"{name}-{index}")
        report = run(
            [self._registry.contracts[identifier] for identifier in one["contracts"]],
            target=self._registry.targets["grid"],
            stack=cell.stack,
            profile="core",
            emit=lambda event: None,
            results=store,
        )
        files = sorted(store.folder.glob("??/*.json"))
        lines = [artefact_line(f"{file.parent.name}/{file.name}", file.read_bytes()) for file in files]
        return "\n".join([*lines, artefact_line(REPORT, report_json.write(report).encode())])


class Cells:
    """A matrix of the grid target on one results store, judged in pods."""

    def __init__(self, folder: Path) -> None:
        registry = Registry(["acme_grid"])
        contracts = [one for one in registry.contracts.values() if one.id.startswith("acme_grid.")]
        axes = read_axes(["trainer=1.0.0,2.0.0", "tracking=1.0.0,2.0.0"])
        self.store = ResultsStore(folder / "results")
        self.cells = planned_cells(load_stack(STACK), axes, lambda text: None)
        self.matrix = Matrix(self.cells, contracts, registry.targets["grid"], self.store)
        self.pods = Pods(folder, registry, self.cells)
        self.notes: list[str] = []
        self.judging = SimpleNamespace(
            settings=Settings(stack=STACK),
            flags={"plugins": ()},
            plan=SimpleNamespace(contracts=contracts, profile="core"),
            target=registry.targets["grid"],
            store=self.store,
            directory=None,
            accepted=lambda stack: Acceptance(),
        )

    def made(self) -> ClusterCells:
        return ClusterCells(
            judging=cast(Judging, self.judging),
            matrix=self.matrix,
            cells=self.cells,
            jobs=cast(CellJobs, self.pods),
            image="cells:1",
            memory="3Gi",
            parallel=4,
            note=self.notes.append,
        )

    def codes(self) -> list[int]:
        in_pods = self.made()
        in_pods.collect()
        return [cell.exit_code for cell in self.matrix.run(in_pods.judge, 2, lambda event: None)]


@pytest.fixture
def cells(tmp_path: Path, notes: Any, monkeypatch: pytest.MonkeyPatch) -> Cells:
    monkeypatch.setattr("trivet.engine.matrix.compose", compose_in(tmp_path))
    return Cells(tmp_path)


def judged(work: Sequence[Sequence[Mapping[str, Any]]]) -> int:
    return sum(len(one["contracts"]) for part in work for one in part)


def test_pods_judge_each_result_once_and_a_second_call_none(cells: Cells) -> None:
    assert cells.codes() == [0, 0, 1, 0]
    assert judged(cells.pods.work) == 8, "of 12 results, 4 are of another cell too"
    assert len(cells.pods.deleted) == len(cells.pods.work)
    cells.pods.work.clear()
    assert cells.codes() == [0, 0, 1, 0]
    assert not cells.pods.work


def test_the_job_of_an_interrupted_command_is_collected_and_not_repeated(cells: Cells) -> None:
    in_pods = cells.made()
    cells.pods.left["m"] = list(in_pods._missing())
    in_pods.collect()
    assert cells.notes[0] == "continuing with the Job m of an interrupted command, 4 cells"
    assert judged(cells.pods.work) == 0
    assert cells.pods.deleted == ["m"]


def test_a_job_belongs_to_the_results_store_of_the_machine_that_asked_for_it(
    cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(context="c", namespace="n", image="cells:1", memory="3Gi")

    def label(folder: Path, image: str = "cells:1") -> str:
        return matrix_label(replace(place, image=image), cells.matrix, cells.cells, ResultsStore(folder))

    ours = label(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    assert label(Path("results")) == ours, "the same store by another path"
    cells.codes()
    assert label(tmp_path / "results") == ours, "whatever is missing"
    others = {ours, label(tmp_path / "other"), label(tmp_path / "results", "cells:2")}
    monkeypatch.setattr("platform.node", lambda: "another-machine")
    assert len(others | {label(tmp_path / "results")}) == 4


def test_what_a_pod_judged_before_it_was_killed_is_kept_and_its_cell_says_why_it_is_not_judged(cells: Cells) -> None:
    cells.pods.dies = {"trainer=2.0.0"}
    in_pods = cells.made()
    in_pods.collect()
    found = cells.matrix.run(in_pods.judge, 2, lambda event: None)
    assert [cell.exit_code for cell in found][:2] == [0, 0]
    assert found[2].error.startswith("the pod p was killed (OOMKilled)\nKilled")
    before = len(list(cells.store))
    assert before > judged([cells.pods.work[0][:2]]), "more than the pods judged that were not killed"
    cells.pods.dies, cells.pods.work = set(), []
    assert cells.codes() == [0, 0, 1, 0]
    assert judged(cells.pods.work) == len(list(cells.store)) - before


def test_a_log_without_a_report_is_said_to_be_cut_off(cells: Cells) -> None:
    def cut_off(name: str, note: Callable[[str], None]) -> Iterator[CellPod]:
        yield from (CellPod(index=index, log="") for index in range(len(cells.pods.work[-1])))

    cells.pods.ended = cut_off  # type: ignore[method-assign]
    cells.made().collect()
    assert cells.notes[-1].endswith(": 0 results, then the log of the pod has no report: it was cut off")


def test_an_interrupt_leaves_the_job_and_says_how_to_end_it(cells: Cells) -> None:
    def interrupted(name: str, note: Callable[[str], None]) -> Iterator[CellPod]:
        raise KeyboardInterrupt
        yield

    cells.pods.ended = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cells.made().collect()
    assert not cells.pods.deleted
    assert "goes on; the same command collects its results, and `kubectl --context c -n n delete job" in cells.notes[-1]


def test_a_job_whose_image_cannot_be_pulled_is_deleted(cells: Cells) -> None:
    def unavailable(name: str, note: Callable[[str], None]) -> Iterator[CellPod]:
        raise ImageUnavailable("the pod p cannot pull its image cells:1")
        yield

    cells.pods.ended = unavailable  # type: ignore[method-assign]
    with pytest.raises(ImageUnavailable):
        cells.made().collect()
    assert len(cells.pods.deleted) == 1


def test_results_of_another_version_of_trivet_are_refused(cells: Cells, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.engine.matrix.Matrix.keys", lambda self, cell: frozenset())
    with pytest.raises(UsageError, match="it has another version of trivet"):
        cells.made().collect()
    assert list(cells.store) == [], "what is refused is not kept"
    assert len(cells.pods.deleted) == 1, "the next command would collect it, and be refused by it"


def test_the_report_of_another_stack_is_refused(cells: Cells) -> None:
    judged = cells.pods.judged

    def of_another(name: str, index: int, one: Mapping[str, Any]) -> str:
        text = json.loads(read_artefacts(judged(name, index, one))[REPORT])
        text["stack"]["digest"] = "other"
        return artefact_line(REPORT, json.dumps(text).encode())

    cells.pods.judged = of_another  # type: ignore[method-assign]
    with pytest.raises(UsageError, match=r"the pod of trainer=1\.0\.0 tracking=1\.0\.0 judged another stack"):
        cells.made().collect()
    assert len(cells.pods.deleted) == 1


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    store = ResultsStore(tmp_path)
    with pytest.raises(UsageError, match="is no kept result"):
        store.adopt(b"[]", ())
    with pytest.raises(UsageError, match="has the version None"):
        store.adopt(b"{}", ())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "ConformanceReport"}, "its kind is 'ConformanceReport'"),
        ({"kind": None}, "its kind is None"),
        ({"contract": "acme_grid.other"}, "it is of acme_grid.other, and its result of acme_grid."),
        ({"read": 1}, "Expected `object`"),
        (
            {"outcome": "INCONCLUSIVE", "findings": [{"outcome": "INCONCLUSIVE", "message": "timed out"}]},
            "an error of the machine decided acme_grid.",
        ),
    ],
)
def test_a_damaged_result_is_refused_and_not_kept(
    cells: Cells, tmp_path: Path, change: Mapping[str, Any], words: str
) -> None:
    assert cells.codes() == [0, 0, 1, 0]
    (file, *_) = sorted(cells.store.folder.glob("??/*.json"))
    document = json.loads(file.read_bytes())
    part = document["result"] if "outcome" in change else document
    part |= change
    asked = {digest_of([document["contract"], document["inputs"]])}
    store = ResultsStore(tmp_path / "other")
    with pytest.raises(UsageError, match=f"is no kept result: .*{re.escape(words)}"):
        store.adopt(json.dumps(document).encode(), asked)
    assert list(store) == []
    assert store.adopt(file.read_bytes(), {file.parent.name + file.name.partition("-")[0]})
    assert [one.contract for one in store] == [json.loads(file.read_bytes())["contract"]]


# -- the command


def test_what_pods_need_is_said(notes: Any) -> None:
    text = needs(Place(context="staging", namespace="matrix", image="", memory="3Gi"), 4, 2)
    assert "context staging, namespace matrix, 4 cells, 2 at a time" in text
    assert "get, list, create, patch, delete jobs.batch" in text
    assert "get, list pods; get pods/log" in text, "kubectl gets a pod before it reads its log"
    assert "limit 3Gi" in text


@pytest.mark.parametrize(
    ("target", "settings", "words"),
    [
        ("kind", Settings(), "run on the target local, not kind"),
        ("local", Settings(store="s3"), "have no Docker for an S3 store"),
        ("local", Settings(plugins=("ours",)), "not those of plugins"),
    ],
)
def test_what_pods_cannot_have_is_refused(target: str, settings: Settings, words: str) -> None:
    judging = SimpleNamespace(target=SimpleNamespace(name=target), settings=settings, flags={"plugins": ()})
    with pytest.raises(UsageError, match=words):
        refuse_what_pods_lack(cast(Judging, judging))
