"""Which members of a fleet are served, what the report of a check says of one, and how both are shown. Serves nothing."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from trivet.engine.acceptance import NO_WAIVERS, Waivers
from trivet.engine.fleet import waiver_uses
from trivet.engine.fleet_serving import measurement_of, of_the_runtime, sample, with_members
from trivet.engine.registry import Registry
from trivet.engine.results_store import inputs_of, question
from trivet.engine.run import Recorder, fold, summary_of
from trivet.errors import PlatformError
from trivet.model.finding import Finding, failed, inconclusive, passed
from trivet.model.fleet import (
    FleetReport,
    JudgedModel,
    JudgedService,
    Measured,
    Measurement,
    Member,
    ModelReason,
    ModelVerdict,
    Sample,
)
from trivet.model.outcome import Level, Outcome
from trivet.model.report import ConformanceReport, InputError
from trivet.model.subjects import ModelDirectory
from trivet.model.waiver import FindingWaiver, Waiver, WaiverStatus
from trivet.render import fleet_github, fleet_html, fleet_json, fleet_junit, fleet_markdown
from trivet.render.fleet import FleetText, deciding
from trivet.served_fleet import folder_name
from trivet.stacks.read import load_stack
from trivet.targets.local.model import ModelSession, ModelTarget
from trivet.targets.local.model_source import model_named
from trivet.toolkit.model_digest import files_digest
from trivet.toolkit.subjects import read_model_directory

STACK = load_stack("2024.11")
READY = "serving.model_becomes_ready"
EQUAL = "serving.predictions_equal_the_trainers"
REJECTED = "signatures.missing_column_is_rejected"


def checked(**findings: Finding) -> ConformanceReport:
    """The report of a check with one finding for each contract, whose dot is written as two underscores."""
    registry = Registry()
    results = [fold(registry.contract(name.replace("__", ".")), [one], 1.0) for name, one in findings.items()]
    return Recorder(lambda event: None).report(results, target="model", stack=STACK, profile="core")


def a_model(verdict: ModelVerdict, number: int = 1, measured: Measured | None = None) -> JudgedModel:
    reason = ModelReason(contract=READY, level=Level.MUST, outcome=Outcome.FAILED, message="it did not load")
    reasons = () if measured is Measured.WORKS else (reason,)
    return JudgedModel(
        name="churn",
        version=str(number),
        verdict=verdict,
        flavors=("sklearn",),
        measured=Measurement(outcome=measured, reasons=reasons, seconds=3.0, report="cells/x") if measured else None,
    )


def report(*models: JudgedModel) -> FleetReport:
    return FleetReport(
        server="https://mlflow.example",
        stack=summary_of(STACK),
        models=models,
        total=len(models),
        served=Sample(chosen=1, of=len(models), seed=4),
        provenance=Recorder(lambda event: None).provenance("trivet fleet"),
    )


def test_serving_judges_the_contracts_that_ask_the_runtime_and_none_over_files() -> None:
    chosen = {one.id: one for one in of_the_runtime(Registry().contracts.values(), ModelSession.CLIENTS)}
    assert {READY, EQUAL} <= chosen.keys()
    assert not [name for name, one in chosen.items() if one.static]
    assert "signatures.input_example_satisfies_the_signature" not in chosen, "that is about the model alone"
    assert not [one for one in chosen.values() if "handover" in one.clients]


@pytest.mark.parametrize(
    ("findings", "outcome", "words"),
    [
        ({"serving__model_becomes_ready": passed("ready")}, Measured.WORKS, []),
        ({"serving__model_becomes_ready": failed("no module named x")}, Measured.BREAKS, ["no module named x"]),
        (
            {
                "serving__model_becomes_ready": inconclusive("the environment cannot be made"),
                "serving__predictions_equal_the_trainers": failed("0.3 instead of 0.7"),
            },
            Measured.BREAKS,
            ["0.3 instead of 0.7"],
        ),
        ({"serving__model_becomes_ready": inconclusive("timed out")}, Measured.UNKNOWN, ["timed out"]),
        ({"serving__model_becomes_ready": failed("timed out after 90 s")}, Measured.UNKNOWN, ["timed out after 90 s"]),
        (
            {
                "serving__model_becomes_ready": passed("ready"),
                "signatures__missing_column_is_rejected": failed("it is accepted"),
            },
            Measured.WORKS,
            [],
        ),
        ({"signatures__missing_column_is_rejected": passed("rejected")}, Measured.UNKNOWN, []),
    ],
    ids=["works", "does not load", "answers wrongly", "unknown", "too slow", "advice", "no MUST"],
)
def test_what_serving_showed_is_the_worst_that_a_must_came_to(
    findings: dict[str, Finding], outcome: Measured, words: list[str]
) -> None:
    found = measurement_of(checked(**findings), "models:/churn/1", NO_WAIVERS)
    assert found.outcome is outcome
    assert [reason.message for reason in found.reasons] == words


@pytest.mark.parametrize(("uri", "accepted"), [("models:/churn/1", True), ("models:/other/1", False)])
def test_a_waiver_accepts_what_was_measured_of_the_model_that_it_names(uri: str, accepted: bool) -> None:
    waiver = Waiver(contract=READY, reason="retrained", expires=date(2027, 1, 1), object="models:/churn/*")
    waivers = Waivers({"old": waiver}, Path(), day=date(2026, 11, 30))
    found = measurement_of(checked(serving__model_becomes_ready=failed("no module")), uri, waivers)
    assert found.outcome is Measured.BREAKS
    assert (found.not_accepted is Measured.WORKS) is accepted
    one = replace(a_model(ModelVerdict.FINE), measured=found)
    assert one.blocks is (ModelVerdict.FINE if accepted else ModelVerdict.BREAKS)


def accepting(**given: Any) -> Waivers:
    """One waiver, called ``old``, on the day 2026-11-30."""
    values: dict[str, Any] = {"contract": "serving.*", "reason": "retrained", "expires": date(2027, 1, 1)} | given
    return Waivers({"old": Waiver(**values)}, Path(), day=date(2026, 11, 30))


def status(waivers: Waivers, *members: Member) -> tuple[WaiverStatus, int]:
    """What the waiver did for ``members``, and the number of findings."""
    (use,) = waiver_uses(waivers, members, Registry().contracts.values(), STACK)
    return use.status, use.findings


def served(waivers: Waivers, **findings: Finding) -> JudgedModel:
    measured = measurement_of(checked(**findings), "models:/churn/1", waivers)
    return replace(a_model(ModelVerdict.FINE), measured=measured)


def test_a_waiver_of_what_serving_shows_is_decided_by_the_members_in_which_it_was_shown() -> None:
    waivers = accepting(target="model")
    works = served(waivers, serving__model_becomes_ready=passed("ready"))
    assert status(waivers, works) == (WaiverStatus.UNUSED, 0)
    assert status(waivers, served(waivers, serving__model_becomes_ready=failed("no"))) == (WaiverStatus.USED, 1)
    late = accepting(expires=date(2026, 11, 1))
    assert status(late, served(late, serving__model_becomes_ready=failed("no"))) == (WaiverStatus.EXPIRED, 1)
    unseen = served(waivers, serving__model_becomes_ready=inconclusive("timed out"))
    assert status(waivers, unseen) == (WaiverStatus.UNDECIDED, 0), "it was not observed"
    assert status(waivers, a_model(ModelVerdict.FINE)) == (WaiverStatus.UNDECIDED, 0), "it was not served"
    other = accepting(object="models:/other/*")
    assert status(other, works, replace(a_model(ModelVerdict.FINE), name="other")) == (WaiverStatus.UNDECIDED, 0)


def test_a_waiver_of_advice_that_serving_gives_is_used() -> None:
    waivers = accepting(contract=REJECTED)
    one = served(
        waivers, serving__model_becomes_ready=passed("ready"), signatures__missing_column_is_rejected=failed("accepted")
    )
    assert status(waivers, one) == (WaiverStatus.USED, 1)
    assert one.measured
    assert (one.measured.outcome, one.measured.not_accepted) == (Measured.WORKS, None)


def test_a_waiver_of_what_files_show_is_undecided_where_no_file_could_be_read() -> None:
    waivers = accepting(contract="environment.*")
    one = a_model(ModelVerdict.UNKNOWN)
    assert status(waivers, one) == (WaiverStatus.UNUSED, 0)
    assert status(waivers, replace(one, flavors=())) == (WaiverStatus.UNDECIDED, 0)
    exact = "environment.serialization_is_readable"
    left_out = accepting(contract=exact)
    unclear = ModelReason(contract=exact, level=Level.MUST, outcome=Outcome.INCONCLUSIVE, message="too large")
    assert status(left_out, replace(one, reasons=(unclear,))) == (WaiverStatus.UNDECIDED, 0), "it was not judged"
    assert status(left_out, replace(one, advice=(exact,))) == (WaiverStatus.UNDECIDED, 0)
    of_manifests = accepting(contract="manifests.*")
    assert status(of_manifests, one) == (WaiverStatus.UNDECIDED, 0), "there is no service"


WAIVED = FindingWaiver(name="old", reason="retrained", owner="", expires=date(2027, 1, 1), expired=False)


def reason(message: str, outcome: Outcome = Outcome.FAILED, **given: Any) -> ModelReason:
    return ModelReason(contract=READY, level=Level.MUST, outcome=outcome, message=message, **given)


def test_every_format_gives_the_reasons_that_nobody_accepts() -> None:
    accepted = reason("a pickle of 1.5.2", waiver=WAIVED)
    one = replace(
        a_model(ModelVerdict.BREAKS),
        reasons=(accepted,),
        not_accepted=ModelVerdict.FINE,
        measured=Measurement(outcome=Measured.BREAKS, reasons=(reason("no module named x"),)),
    )
    assert one.blocks is ModelVerdict.BREAKS
    assert [each.message for each in deciding(one)] == ["no module named x"]
    for written in (fleet_junit, fleet_github, fleet_markdown):
        assert "no module named x" in written.write(report(one))
    works = replace(one, measured=Measurement(outcome=Measured.WORKS))
    assert deciding(works) == (accepted,)
    assert "retrained" in fleet_junit.write(report(works))


def test_what_is_measured_of_a_model_replaces_what_its_files_left_open_and_nothing_of_the_manifest() -> None:
    manifest = reason("the probe executes a command", Outcome.INCONCLUSIVE, place="manifest spec.predictor")
    files = reason("a package that nobody lists", Outcome.INCONCLUSIVE, place="model MLmodel")
    service = JudgedService(
        namespace="n",
        name="s",
        verdict=ModelVerdict.UNKNOWN,
        manifest=ModelVerdict.UNKNOWN,
        model=ModelVerdict.UNKNOWN,
        flavors=("sklearn",),
        reasons=(manifest, files),
    )
    slow = reason("timed out", Outcome.INCONCLUSIVE)
    assert deciding(service) == (manifest, files)
    assert deciding(replace(service, measured=Measurement(outcome=Measured.UNKNOWN, reasons=(slow,)))) == (
        manifest,
        slow,
    )
    broken = reason("no module named x")
    assert deciding(replace(service, measured=Measurement(outcome=Measured.BREAKS, reasons=(broken,)))) == (broken,)


def test_suites_of_models_namespaces_and_trivet_itself_are_never_one() -> None:
    service = JudgedService(
        namespace="server", name="s", verdict=ModelVerdict.FINE, manifest=ModelVerdict.FINE, model=ModelVerdict.FINE
    )
    error = InputError(message="the server failed", remedy="mend it", exit_code=2)
    made = replace(report(replace(a_model(ModelVerdict.FINE), name="server")), services=(service,), errors=(error,))
    suites = [one.get("name") for one in ET.fromstring(fleet_junit.write(made)).iter("testsuite")]
    assert suites == ["server", "InferenceService/server", "trivet: errors"]


@pytest.mark.parametrize(
    ("predicted", "measured", "blocks"),
    [
        (ModelVerdict.UNKNOWN, Measured.WORKS, ModelVerdict.FINE),
        (ModelVerdict.UNSUPPORTED, Measured.WORKS, ModelVerdict.FINE),
        (ModelVerdict.FINE, Measured.BREAKS, ModelVerdict.BREAKS),
        (ModelVerdict.FINE, Measured.UNKNOWN, ModelVerdict.UNKNOWN),
        (ModelVerdict.BREAKS, Measured.WORKS, ModelVerdict.BREAKS),
    ],
)
def test_what_is_measured_settles_what_is_predicted_except_that_it_breaks(
    predicted: ModelVerdict, measured: Measured, blocks: ModelVerdict
) -> None:
    one = a_model(predicted, measured=measured)
    assert one.blocks is blocks
    made = report(one)
    code = {ModelVerdict.FINE: 0, ModelVerdict.BREAKS: 1, ModelVerdict.UNKNOWN: 2}[blocks]
    assert made.exit_code == code
    assert ("::error " in fleet_github.write(made)) == (code != 0)
    root = ET.fromstring(fleet_junit.write(made))
    assert (root.get("failures"), root.get("errors")) == (str(int(code == 1)), str(int(code == 2)))
    assert fleet_json.read(fleet_json.write(made)) == made


def test_a_sample_is_of_those_that_can_be_read_and_stays_as_the_fleet_grows() -> None:
    models = [a_model(ModelVerdict.FINE, number) for number in range(50)]
    unread = JudgedService(
        namespace="n", name="s", verdict=ModelVerdict.UNKNOWN, manifest=ModelVerdict.FINE, model=ModelVerdict.UNKNOWN
    )
    assert sample([unread, *models], None, 0) == list(range(1, 51))
    first, other = (sample(models, 10, seed) for seed in (0, 1))
    assert len(first) == 10
    assert first != other
    grown = sample([*models, a_model(ModelVerdict.FINE, 99)], 10, 0)
    assert len(set(first) & set(grown)) >= 9


def test_predicted_and_measured_stand_side_by_side_in_every_format() -> None:
    made = report(
        a_model(ModelVerdict.UNSUPPORTED, 1, Measured.WORKS),
        a_model(ModelVerdict.FINE, 2, Measured.BREAKS),
        a_model(ModelVerdict.FINE, 3),
    )
    text = FleetText()
    assert text.measured(made.models[1], 0).splitlines() == [
        "models:/churn/2: predicted fine, measured breaks (3 s; 0 left)",
        f"  it did not load [{READY}]",
    ]
    assert "predicted unsupported: 1 measured works" in text.summary(made)
    assert "served: 1 of 3 models, --serve 1 --seed 4" in text.summary(made)
    assert "predicted fine, measured breaks" in fleet_markdown.write(made)
    assert "predicted fine, measured breaks: it did not load" in fleet_junit.write(made)
    page = fleet_html.write(made)
    assert "Predicted and measured" in page
    assert 'href="cells/x/report.html"' in page
    assert with_members(made, list(made.members)) == made


def test_folders_of_models_have_names_that_differ_where_the_models_do() -> None:
    names = {folder_name(uri) for uri in ("models:/a b/1", "models:/a_b/1", "models:/a/b_1", "InferenceService/a/b")}
    assert len(names) == 4
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") for name in names)


@pytest.fixture
def stored(tmp_path: Path) -> ModelDirectory:
    model = tmp_path / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {python_function: {}}\nutc_time_created: '2024-05-31 10:00:00'\n")
    return read_stored(model)


def read_stored(directory: Path) -> ModelDirectory:
    (found,) = read_model_directory(directory).subjects
    assert isinstance(found, ModelDirectory)
    return found


def test_the_digest_of_a_model_follows_its_files_and_not_its_bytecode(stored: ModelDirectory, tmp_path: Path) -> None:
    before = files_digest(stored)
    (stored.path / "code" / "__pycache__").mkdir(parents=True)
    with_folder = files_digest(stored)
    (stored.path / "code" / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert files_digest(stored) == with_folder
    (stored.path / "link").symlink_to("code")
    (stored.path / "loop").symlink_to("loop")
    linked = files_digest(stored)
    (tmp_path / "other name").symlink_to(stored.path)
    assert files_digest(read_stored(tmp_path / "other name")) == linked, "its own path does not count"
    (stored.path / "model.pkl").write_bytes(b"2")
    assert len({before, linked, with_folder, files_digest(stored), None}) == 5


@pytest.mark.parametrize("target", ["latest.pkl", "shared", "missing"])
def test_results_on_a_model_with_a_link_that_leads_out_of_it_are_not_kept(
    stored: ModelDirectory, tmp_path: Path, target: str
) -> None:
    (tmp_path / "latest.pkl").write_bytes(b"1")
    (tmp_path / "shared").mkdir()
    ready = Registry().contract(READY)
    model = ModelTarget(stored)
    assert not question(ready, STACK, model.name, inputs_of(model, STACK)).momentary
    (stored.path / "model.pkl").symlink_to(tmp_path / target)
    assert files_digest(stored) is None
    assert question(ready, STACK, model.name, inputs_of(model, STACK)).momentary, "what it leads to may change"


def test_results_on_a_model_rest_on_the_day_as_of_which_its_requirements_are_resolved(stored: ModelDirectory) -> None:
    def asked_of(model: ModelDirectory) -> Mapping[str, str]:
        target = ModelTarget(model)
        return question(Registry().contract(EQUAL), STACK, target.name, inputs_of(target, STACK)).inputs

    assert asked_of(stored)["option environment as of"] == "2024-06-01"
    undated = replace(stored, mlmodel={"flavors": {"python_function": {}}})
    tomorrow = (date.today() + timedelta(days=1)).isoformat()
    assert asked_of(undated)["option environment as of"] in (tomorrow, (date.today() + timedelta(days=1)).isoformat())


def test_a_directory_that_cannot_be_read_has_no_digest(stored: ModelDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    (stored.path / "code").mkdir()
    listed = os.scandir

    def refusing(path: str) -> Any:
        if str(path).endswith("code"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PlatformError, match="cannot be read"):
        files_digest(stored)


def test_a_file_uri_is_read_where_it_is_and_as_the_storage_initializer_spells_it(tmp_path: Path) -> None:
    directory = tmp_path / "a%20b"
    directory.mkdir()
    (directory / "MLmodel").write_text("flavors: {python_function: {}}\n")
    with model_named(f"file://{directory}", STACK, lambda event: None, server="", max_bytes=1) as found:
        assert found.directory.path == directory
