"""The results store: what a kept result rests on, when it is given back, and what becomes of wrong folders and files."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fakes.target import FakeTarget

from trivet.authoring.contracts import MUST, contract
from trivet.engine.acceptance import Acceptance, Waivers
from trivet.engine.outcomes import finding_of
from trivet.engine.recorded_stack import RecordedStack
from trivet.engine.required import required_features
from trivet.engine.results_store import Question, ResultsStore, inputs_of, is_kept, question
from trivet.engine.run import fold, run
from trivet.errors import CannotTell, NotOffered, PlatformError, UsageError
from trivet.host.worker import OperationFailed
from trivet.model.contract import Contract
from trivet.model.finding import Finding, Location, failed, inconclusive, passed
from trivet.model.outcome import Outcome
from trivet.model.report import ConformanceReport
from trivet.model.results import ResultInputs
from trivet.model.stack import Stack
from trivet.model.waiver import Waiver
from trivet.render import results_schema
from trivet.stacks.composed import compose
from trivet.stacks.read import load_stack


class KeepingTarget(FakeTarget):
    """``colour`` comes from the trainer, ``grams`` from the tracking server."""

    name = "keeping"
    options: Mapping[str, str] = {}

    def __init__(self, **given: Any) -> None:
        super().__init__(**{"colour": "white", "grams": 90} | given)
        self.started = 0

    def start(self, stack: Stack, emit: Any) -> Any:
        self.started += 1
        return super().start(stack, emit)

    def result_inputs(self, stack: Stack) -> ResultInputs:
        return ResultInputs(
            parts={"colour": ("roles.trainer",), "grams": ("roles.tracking",)},
            options=self.options,
            code=("fakes.target",),
        )


def ask(contract: Contract, stack: Stack, target: KeepingTarget) -> Question:
    return question(contract, stack, target.name, inputs_of(target, stack))


judged: list[str] = []


def declared(check: Any) -> Contract:
    made = contract(title="t", level=MUST, seam=("kfp", "mlflow"), rationale="r", remedy="m")(check)
    assert isinstance(made, Contract)
    return made


@declared
def of_trainer(colour: str) -> Iterator[Finding]:
    judged.append("of_trainer")
    yield passed(colour)


@declared
def of_tracking(grams: int) -> Iterator[Finding]:
    judged.append("of_tracking")
    yield failed("thin", location=Location(object="paper")) if grams < 80 else passed(f"{grams}")


@declared
def reads_runtime(colour: str, stack: Stack) -> Iterator[Finding]:
    judged.append("reads_runtime")
    yield passed(stack.roles["runtime"].pins["mlserver"])


@declared
def reads_the_server_only_if_it_is_old(colour: str, stack: Stack) -> Iterator[Finding]:
    judged.append("reads_the_server_only_if_it_is_old")
    old = stack.components["runtime"] == "1.5.0"
    yield passed(stack.components["mlflow"] if old else "new")


@declared
def cannot_connect(colour: str) -> Iterator[Finding]:
    judged.append("cannot_connect")
    raise CannotTell("no answer") from OSError("refused")
    yield


@declared
def sees_too_little(colour: str) -> Iterator[Finding]:
    judged.append("sees_too_little")
    yield inconclusive("one sample")


@declared
def breaks(colour: str) -> Iterator[Finding]:
    judged.append("breaks")
    raise PlatformError("no disk")
    yield


@pytest.fixture(autouse=True)
def nothing_judged() -> None:
    judged.clear()


@pytest.fixture(scope="module")
def fixed() -> Stack:
    return load_stack("2024.11-fixed")


@pytest.fixture
def store(tmp_path: Path) -> ResultsStore:
    return ResultsStore(tmp_path / "results")


def judge(
    store: ResultsStore, stack: Stack, *contracts: Contract, target: KeepingTarget | None = None
) -> ConformanceReport:
    used = target or KeepingTarget()
    return run(contracts, target=used, stack=stack, profile="core", emit=lambda event: None, results=store)


def outcomes(report: ConformanceReport) -> dict[str, Outcome]:
    return {result.id.rpartition(".")[2]: result.outcome for result in report.contracts}


def test_a_second_run_starts_nothing_and_says_when_and_where_its_results_were_judged(
    store: ResultsStore, fixed: Stack
) -> None:
    first = judge(store, fixed, of_trainer, of_tracking)
    target = KeepingTarget()
    again = judge(store, fixed, of_trainer, of_tracking, target=target)
    assert (judged, target.started) == (["of_trainer", "of_tracking"], 0)
    assert [replace(one, reused=None) for one in again.contracts] == list(first.contracts)
    assert all(one.reused is None for one in first.contracts)
    for one in again.contracts:
        assert one.reused is not None
        assert (one.reused.stack, one.reused.at[:4]) == ("2024.11-fixed", str(time.gmtime().tm_year))
    assert again.exit_code == first.exit_code == 0


def test_only_what_depends_on_the_changed_role_is_judged_again(store: ResultsStore, fixed: Stack) -> None:
    judge(store, fixed, of_trainer, of_tracking)
    judged.clear()
    judge(store, compose(fixed, {"tracking": "current"}), of_trainer, of_tracking)
    assert judged == ["of_tracking"]


def test_a_part_that_a_check_reads_of_the_stack_counts_and_no_other(store: ResultsStore, fixed: Stack) -> None:
    judge(store, fixed, reads_runtime)
    judge(store, compose(fixed, {"tracking": "current", "kserve": "current"}), reads_runtime)
    assert len(judged) == 1
    newer = compose(fixed, {"runtime": "current"})
    assert judge(store, newer, reads_runtime).contracts[0].findings[0].message == "1.7.1"
    assert len(judged) == 2
    assert judge(store, fixed, reads_runtime).contracts[0].findings[0].message == "1.5.0"
    assert len(judged) == 2, "the earlier result is still there"


def test_which_parts_are_read_may_depend_on_what_was_read(store: ResultsStore, fixed: Stack) -> None:
    check = reads_the_server_only_if_it_is_old
    newer = compose(fixed, {"runtime": "current"})
    for stack in (fixed, newer):
        judge(store, stack, check)
    judged.clear()
    judge(store, compose(newer, {"tracking": "current"}), check)
    assert judged == []
    judge(store, compose(fixed, {"tracking": "current"}), check)
    assert judged == ["reads_the_server_only_if_it_is_old"]


def test_an_option_of_the_target_counts(store: ResultsStore, fixed: Stack) -> None:
    judge(store, fixed, of_trainer)
    other = KeepingTarget()
    other.options = {"store": "S3"}
    judge(store, fixed, of_trainer, target=other)
    assert len(judged) == 2


def test_a_version_that_a_contract_does_not_apply_to_counts(store: ResultsStore, fixed: Stack) -> None:
    newer = replace(of_trainer, versions={"kfp": ">=2.10"})
    assert outcomes(judge(store, fixed, newer)) == {"of_trainer": Outcome.SKIPPED}
    assert outcomes(judge(store, replace(fixed, components={**fixed.components, "kfp": "2.17.0"}), newer)) == {
        "of_trainer": Outcome.PASSED
    }
    assert judge(store, fixed, newer).contracts[0].reused is not None


def test_what_says_nothing_about_the_software_is_not_kept(store: ResultsStore, fixed: Stack) -> None:
    for _ in range(2):
        report = judge(store, fixed, cannot_connect, sees_too_little, breaks)
    assert outcomes(report) == {
        "cannot_connect": Outcome.INCONCLUSIVE,
        "sees_too_little": Outcome.INCONCLUSIVE,
        "breaks": Outcome.ERROR,
    }
    assert sorted(judged) == ["breaks", "breaks", "cannot_connect", "cannot_connect", "sees_too_little"]
    assert [is_kept(result) for result in report.contracts] == [False, True, False]


def answered(kind: str, message: str) -> OperationFailed:
    """The trainer's own error."""
    return OperationFailed("trainer job", "log_model", {"type": kind, "message": message, "traceback": ""})


@pytest.mark.parametrize(
    ("finding", "kept"),
    [
        (failed("HTTP 500 to a missing column"), True),
        (failed("the model is not ready: timed out after 90 s waiting for the runtime"), False),
        (failed("the pipeline failed: MlflowException: Max retries exceeded with url"), False),
        (finding_of(answered("MlflowException", "404 Not Found")), True),
        (finding_of(answered("ReadTimeout", "Read timed out")), False),
        (finding_of(CannotTell("the pipeline failed: RuntimeError")), True),
        (finding_of(PlatformError("no interpreter")), False),
        (finding_of(ZeroDivisionError()), False),
        (finding_of(NotOffered("no client")), True),
        (passed("refused: Max retries exceeded, as it must be"), True),
    ],
)
def test_what_the_software_answers_is_kept_and_trouble_of_the_machine_is_not(finding: Finding, kept: bool) -> None:
    assert is_kept(fold(of_trainer, [finding])) is kept


def test_a_failure_is_kept_with_its_findings(store: ResultsStore, fixed: Stack) -> None:
    thin = KeepingTarget(grams=70)
    first = judge(store, fixed, of_tracking, target=thin)
    again = judge(store, fixed, of_tracking, target=thin)
    assert again.exit_code == 1
    assert again.contracts[0].findings == first.contracts[0].findings
    assert judged == ["of_tracking"]


def test_what_is_accepted_is_decided_anew_and_not_kept(store: ResultsStore, fixed: Stack) -> None:
    def exit_code(expires: date) -> int:
        waivers = Waivers(
            {"w": Waiver(contract="*.of_tracking", reason="r", expires=expires)}, Path(), date(2026, 11, 30)
        )
        return run(
            [of_trainer, of_tracking],
            target=KeepingTarget(grams=70),
            stack=fixed,
            profile="core",
            emit=lambda event: None,
            results=store,
            acceptance=Acceptance(waivers=waivers),
        ).exit_code

    assert [exit_code(date(2027, 1, 1)), exit_code(date(2026, 1, 1)), exit_code(date(2027, 1, 1))] == [0, 1, 0]
    assert judged.count("of_tracking") == 1
    assert not any(finding.waiver for kept in store for finding in kept.result.findings)


def test_required_features_are_measured_in_every_run(store: ResultsStore, fixed: Stack) -> None:
    required = required_features(["Prometheus"])
    for _ in range(2):
        target = KeepingTarget()
        report = judge(store, fixed, required, of_trainer, target=target)
        assert (report.exit_code, target.started) == (1, 1)
    assert [kept.contract for kept in store] == [of_trainer.id]


def test_the_code_of_a_contract_and_of_a_target_count(fixed: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ask(of_trainer, fixed, KeepingTarget())
    assert ask(of_trainer, fixed, KeepingTarget()).key == asked.key
    monkeypatch.setattr("trivet.engine.results_store.code_digest", lambda module: "other")
    changed = ask(of_trainer, fixed, KeepingTarget())
    monkeypatch.setattr("trivet.engine.results_store.package_digest", lambda names: "other")
    assert len({asked.key, changed.key, ask(of_trainer, fixed, KeepingTarget()).key}) == 3


def test_a_file_has_the_published_schema(store: ResultsStore, fixed: Stack) -> None:
    judge(store, fixed, reads_runtime)
    (file,) = store.folder.glob("??/*.json")
    schema = json.loads(files("trivet.render").joinpath(results_schema.SCHEMA_FILE).read_text(encoding="utf-8"))
    kept = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.validate(kept, schema)
    assert kept["read"].keys() == {"roles.runtime"}
    assert "part roles.trainer" in kept["inputs"]
    assert kept["components"]["mlflow"] == "2.17.2"


def test_every_result_can_be_read(store: ResultsStore, fixed: Stack) -> None:
    judge(store, fixed, of_trainer, of_tracking)
    assert sorted(kept.contract.rpartition(".")[2] for kept in store) == ["of_tracking", "of_trainer"]


def test_two_writers_keep_whole_files(store: ResultsStore, fixed: Stack) -> None:
    target = KeepingTarget()
    asked = ask(of_trainer, fixed, target)
    (result,) = judge(store, fixed, of_trainer, target=target).contracts

    def write() -> None:
        other = ResultsStore(store.folder)
        for _ in range(20):
            other.keep(asked, result)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert store.find(asked)
    assert [path.name for path in store.folder.rglob("*") if path.is_file() and path.suffix != ".json"] == []


def test_writers_that_start_together_make_one_store(tmp_path: Path) -> None:
    refused: list[UsageError] = []
    for number in range(30):
        together = threading.Barrier(4)

        def start(folder: Path = tmp_path / str(number), together: threading.Barrier = together) -> None:
            together.wait()
            try:
                ResultsStore(folder)
            except UsageError as error:
                refused.append(error)

        starting = [threading.Thread(target=start) for _ in range(4)]
        for one in starting:
            one.start()
        for one in starting:
            one.join()
    assert refused == []


def test_a_writer_that_was_killed_while_it_made_the_store_leaves_a_folder_that_the_next_one_takes(
    tmp_path: Path,
) -> None:
    (tmp_path / ".results-store.json.1234.unfinished").write_text("{")
    assert list(ResultsStore(tmp_path)) == []


def test_a_damaged_head_of_a_store_is_not_to_be_deleted(store: ResultsStore) -> None:
    (store.folder / "results-store.json").write_text("{")
    with pytest.raises(UsageError, match=r"damaged file.*results-store.json") as caught:
        ResultsStore(store.folder)
    assert "restore this file" in caught.value.remedy
    assert "delete" not in caught.value.remedy


def test_a_file_of_a_killed_writer_is_removed(store: ResultsStore) -> None:
    import os

    left = store.folder / "ab" / ".cd.json.1234.unfinished"
    left.parent.mkdir()
    left.write_text("{")
    ResultsStore(store.folder)
    assert left.exists(), "its writer may still be at work"
    os.utime(left, (0, 0))
    ResultsStore(store.folder)
    assert not left.exists()


def test_a_file_that_its_writer_renames_meanwhile_disturbs_no_other(
    store: ResultsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([self / "ab" / ".renamed.unfinished"]))
    ResultsStore(store.folder)


def test_a_store_of_another_version_is_refused(store: ResultsStore) -> None:
    (store.folder / "results-store.json").write_text('{"apiVersion": "trivet.dev/results/v9", "kind": "ResultsStore"}')
    with pytest.raises(
        UsageError, match=r"has the version trivet.dev/results/v9, and this version of trivet reads .*v1alpha1"
    ):
        ResultsStore(store.folder)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not a results store: it has no results-store\.json"):
        ResultsStore(tmp_path)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot use the results store"):
        ResultsStore(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Input data was truncated"),
        (b'{"apiVersion": "trivet.dev/results/v1alpha1", "kind": "KeptResult"', "truncated"),
        (b"[]", "no object with a kind"),
        (b'{"apiVersion": "trivet.dev/results/v1alpha1", "kind": "Other"}', "its kind is 'Other'"),
        (b'{"apiVersion": "trivet.dev/results/v1alpha1", "kind": "KeptResult"}', "missing required field"),
    ],
)
def test_a_damaged_file_is_named(store: ResultsStore, fixed: Stack, content: bytes, words: str) -> None:
    judge(store, fixed, of_trainer)
    (file,) = store.folder.glob("??/*.json")
    file.write_bytes(content)
    with pytest.raises(UsageError, match=rf"damaged file, {file}: .*{words}"):
        judge(store, fixed, of_trainer)


def test_a_file_under_a_wrong_name_is_noticed(store: ResultsStore, fixed: Stack) -> None:
    judge(store, fixed, of_trainer)
    (file,) = store.folder.glob("??/*.json")
    asked = ask(of_tracking, fixed, KeepingTarget())
    wrong = store.folder / asked.key[:2] / f"{asked.key[2:]}-{file.stem[-16:]}.json"
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_bytes(file.read_bytes())
    with pytest.raises(UsageError, match="its inputs are not those of its name"):
        judge(store, fixed, of_tracking)


def test_a_target_that_does_not_say_what_results_rest_on_is_refused(store: ResultsStore, fixed: Stack) -> None:
    with pytest.raises(UsageError, match="results of the target fake cannot be kept"):
        run([of_trainer], target=FakeTarget(), stack=fixed, profile="core", emit=lambda event: None, results=store)


def test_what_a_target_measures_at_a_moment_is_judged_in_every_run(store: ResultsStore, fixed: Stack) -> None:
    class MeasuringTarget(KeepingTarget):
        def result_inputs(self, stack: Stack) -> ResultInputs:
            return replace(super().result_inputs(stack), momentary=frozenset({"grams"}))

    target = MeasuringTarget()
    for _ in range(2):
        judge(store, fixed, of_trainer, of_tracking, target=target)
    assert judged == ["of_trainer", "of_tracking", "of_tracking"]
    assert [kept.contract.rpartition(".")[2] for kept in store] == ["of_trainer"]
    newer = compose(fixed, {"runtime": "current"})
    expected = {store.expected(ask(of_tracking, stack, target)) for stack in (fixed, newer)}
    assert len(expected) == 2, "no cell of a matrix waits for the measurement of another"


def test_equal_questions_of_two_stacks_are_expected_to_have_one_result(store: ResultsStore, fixed: Stack) -> None:
    target, newer = KeepingTarget(), compose(fixed, {"runtime": "current"})
    asked = [ask(reads_runtime, stack, target) for stack in (fixed, newer)]
    assert len({store.expected(one) for one in asked}) == 1, "nothing is known of what it reads"
    judge(store, fixed, reads_runtime, target=target)
    assert len({store.expected(one) for one in asked}) == 2


def test_a_recorded_stack_is_the_stack(fixed: Stack) -> None:
    read = RecordedStack(fixed)
    assert isinstance(read, Stack)
    assert read.components["mlflow"] == "2.17.2"
    assert read.components.get("store") is None
    assert read.settings.get("serving") == fixed.settings["serving"]
    assert (read.name, read.runtime_image) == (fixed.name, fixed.runtime_image)
    assert read.parts_read == {"components.mlflow", "components.store", "settings.serving", "name", "runtime_image"}
    list(read.roles)
    assert "stack" in read.parts_read


def test_what_results_rest_on_is_asked_once_for_all_contracts_of_a_run(tmp_path: Path, fixed: Stack) -> None:
    asked: list[str] = []

    class CountingTarget(KeepingTarget):
        def result_inputs(self, stack: Stack) -> ResultInputs:
            asked.append(stack.name)
            return super().result_inputs(stack)

    target = CountingTarget()
    contracts = [of_trainer, of_tracking]
    run(contracts, target=target, stack=fixed, profile="core", emit=lambda event: None, results=ResultsStore(tmp_path))
    assert asked == [fixed.name], "a model's files are read for it"
