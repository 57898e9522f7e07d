"""The verdict on each registered version whose directory is on this machine, and how reports show it. No server is asked."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from contract_examples.pickles import LINEAR, pickled
from contract_examples.static import model_findings
from contract_examples.test_static_environment import SOUND, model

from trivet.engine.acceptance import NO_WAIVERS, Waivers
from trivet.engine.fleet import Registered, judge_versions
from trivet.engine.fleet_serving import names_of_model
from trivet.engine.registry import Registry
from trivet.engine.run import Recorder, summary_of
from trivet.errors import UsageError
from trivet.integration import TrackingApi
from trivet.model.fleet import FleetReport, JudgedModel, ModelVerdict
from trivet.model.outcome import Outcome
from trivet.model.report import InputError
from trivet.model.subjects import ModelDirectory
from trivet.model.waiver import Waiver
from trivet.render import fleet_github, fleet_html, fleet_json, fleet_junit, fleet_markdown
from trivet.render.fleet import FleetText, sentence
from trivet.stacks.read import load_stack
from trivet.toolkit.subjects import read_model_directory

STACK = load_stack("2024.11")
BREAKING = pickled("_loss:CyHalfBinomialLoss", sklearn="1.5.2")
LOADER = "loader_module: mlflow.sklearn"
SIGNED = """\
signature:
  inputs: '[{"type": "double", "name": "x", "required": true}]'
  outputs: '[{"type": "long", "required": true}]'
"""


def nobody() -> TrackingApi:
    """A client of port 9 (discard): asking it anything is an error."""
    return TrackingApi("http://127.0.0.1:9", retries=0)


def judged(
    tmp_path: Path, *models: Mapping[str, str | bytes], waivers: Waivers = NO_WAIVERS, **entry: str
) -> list[JudgedModel]:
    versions = []
    for number, files in enumerate(models, 1):
        directory = tmp_path / f"model{number}"
        directory.mkdir()
        for name, content in files.items():
            (directory / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        mlmodel = (directory / "MLmodel").read_text().replace(LOADER, f"{LOADER}\n    model_path: model.pkl")
        (directory / "MLmodel").write_text(mlmodel if "signature:" in mlmodel else mlmodel + SIGNED)
        known = {"name": "churn", "version": str(number), "source": str(directory), **entry}
        versions.append(Registered(entry=known, aliases=("production",) if number == 1 else ()))
    contracts = list(Registry().contracts.values())
    return list(
        judge_versions(
            versions,
            contracts,
            STACK,
            connect=nobody,
            max_bytes=2**20,
            directory=tmp_path / "downloads",
            waivers=waivers,
        )
    )


@pytest.fixture(autouse=True)
def downloads(tmp_path: Path) -> Path:
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads"


NEWER = {"1.4.1.post1": "1.5.2"}
VERDICTS: list[tuple[Mapping[str, str | bytes], ModelVerdict, str]] = [
    (SOUND, ModelVerdict.FINE, ""),
    (model(BREAKING, **NEWER), ModelVerdict.BREAKS, "_loss.CyHalfBinomialLoss"),
    (
        model(LINEAR, **NEWER),
        ModelVerdict.UNSUPPORTED,
        "saved with scikit-learn 1.5.2, and the runtime has 1.4.1.post1",
    ),
    (model(pickled("house.secret:Model")), ModelVerdict.UNKNOWN, "house.secret.Model"),
    (model(None), ModelVerdict.BREAKS, "model.pkl"),
]


@pytest.mark.parametrize(("files", "verdict", "words"), VERDICTS, ids=[str(each[1]) for each in VERDICTS])
def test_a_verdict_follows_from_the_files_and_names_its_reason(
    tmp_path: Path, files: Mapping[str, str | bytes], verdict: ModelVerdict, words: str
) -> None:
    (one,) = judged(tmp_path, files)
    assert one.verdict is verdict
    assert words in " ".join(reason.message for reason in one.reasons)
    assert bool(one.reasons) == (verdict is not ModelVerdict.FINE)
    assert str(tmp_path) not in " ".join(reason.place + reason.message + reason.remedy for reason in one.reasons)


def test_models_are_judged_in_order_with_what_their_mlmodel_says(tmp_path: Path) -> None:
    first, second = judged(tmp_path, SOUND, model(BREAKING, **NEWER))
    assert (first.uri, first.aliases, second.uri, second.aliases) == (
        "models:/churn/1",
        ("production",),
        "models:/churn/2",
        (),
    )
    assert first.flavors == ("python_function", "sklearn")
    assert first.writer == "2.10.2"


def waivers(expires: str, object: str = "models:/churn/*") -> Waivers:
    waiver = Waiver(
        contract="environment.dependencies_fit_the_runtime",
        reason="retrained next week",
        expires=date.fromisoformat(expires),
        object=object,
    )
    return Waivers({"old-models": waiver}, Path(), day=date(2026, 11, 30))


@pytest.mark.parametrize(
    ("accepting", "code", "words"),
    [
        (waivers("2027-01-01"), 0, "nothing is seen that 2024.11 breaks in 1 model; 1 accepted"),
        (waivers("2026-11-01"), 1, "the waiver old-models expired on 2026-11-01"),
        (waivers("2027-01-01", "models:/other/*"), 1, "2024.11 breaks 1 of 1 models"),
    ],
)
def test_a_waiver_accepts_what_breaks_a_model_until_it_expires(
    tmp_path: Path, accepting: Waivers, code: int, words: str
) -> None:
    (one,) = judged(tmp_path, model(BREAKING, **NEWER), waivers=accepting)
    made = report(one)
    assert (one.verdict, made.exit_code) == (ModelVerdict.BREAKS, code)
    text = FleetText()
    shown = text.lines(one) + text.summary(made)
    assert words in shown
    assert "_loss.CyHalfBinomialLoss" in shown, "what is accepted stays visible"
    suite = ET.fromstring(fleet_junit.write(made))
    assert (suite.get("failures"), suite.get("skipped")) == (("0", "1") if code == 0 else ("1", "0"))
    assert fleet_json.read(fleet_json.write(made)) == made
    assert ("retrained next week" in fleet_html.write(made)) is (code == 0 or "expired" in words)


def test_a_signature_that_breaks_clients_of_the_version_before_is_named_with_it(tmp_path: Path) -> None:
    more = SIGNED.replace("true}]", 'true}, {"type": "long", "name": "age", "required": true}]', 1)
    first, second, third = judged(tmp_path, SOUND, {**SOUND, "MLmodel": str(SOUND["MLmodel"]) + more}, SOUND)
    assert (first.predecessor, first.breaks_clients) == ("", ())
    assert second.predecessor == "1"
    assert "'age' is required, and clients of the current version do not send it" in second.breaks_clients[0]
    assert third.breaks_clients == ()
    one, other = a_model(ModelVerdict.FINE), a_model(ModelVerdict.FINE, 2)
    changed = replace(other, predecessor="1", breaks_clients=("column 'age' is required",))
    text = FleetText()
    assert text.lines(one) == ""
    assert text.lines(changed) == "models:/<b>churn</b>/2 (prod): breaks clients of version 1: column 'age' is required"
    assert "1 change their signature so that clients of the version before break" in text.summary(report(one, changed))
    assert "breaks clients of version 1: column &#39;age&#39; is required" in fleet_html.write(report(one, changed))


def test_a_model_whose_files_cannot_be_found_is_unknown_with_the_reason(tmp_path: Path, downloads: Path) -> None:
    entry = {"name": "churn", "version": "7", "source": "s3://elsewhere/model", "run_id": ""}
    contracts = list(Registry().contracts.values())
    (one,) = judge_versions(
        [Registered(entry=entry, aliases=())], contracts, STACK, connect=nobody, max_bytes=1, directory=downloads
    )
    assert one.verdict is ModelVerdict.UNKNOWN
    assert "its source 's3://elsewhere/model' is not below no run" in one.reasons[0].message
    assert list(downloads.iterdir()) == []


class CopyingRegistry(TrackingApi):
    """A registry in which version 1 of ``churn`` is the directory ``source``, and every other one a copy of version 1 or of itself."""

    source = ""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", retries=0)

    def get_model_version(self, name: str, version: str) -> dict[str, Any]:
        source = self.source if version == "1" else f"models:/{name}/{version}"
        return {"name": name, "version": version, "source": source}


def of_copies(source: str, downloads: Path, monkeypatch: pytest.MonkeyPatch, *sources: str) -> list[JudgedModel]:
    """The copies of ``sources``, where churn's version 1 has its files at ``source``."""
    monkeypatch.setattr(CopyingRegistry, "source", source)
    versions = [
        Registered(entry={"name": "copied", "version": str(number), "source": one}, aliases=())
        for number, one in enumerate(sources, 1)
    ]
    contracts = list(Registry().contracts.values())
    return list(
        judge_versions(versions, contracts, STACK, connect=CopyingRegistry, max_bytes=2**20, directory=downloads)
    )


def test_a_copy_is_judged_by_the_files_of_its_original_and_says_where_they_are(
    tmp_path: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (original,) = judged(tmp_path, SOUND)
    directory = original.source
    copy, same = of_copies(directory, downloads, monkeypatch, "models:/churn/1", directory)
    assert (copy.verdict, copy.source) == (ModelVerdict.FINE, directory)
    assert names_of_model(copy, copy.uri) & names_of_model(same, same.uri) == {directory}
    assert not names_of_model(copy, copy.uri) & names_of_model(replace(same, source="elsewhere"), same.uri)


def test_a_copy_whose_files_cannot_be_found_is_named_itself_and_a_cycle_of_copies_ends(
    downloads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, cycle = of_copies("s3://elsewhere", downloads, monkeypatch, "models:/churn/1", "models:/churn/2")
    for one, source in ((lost, "s3://elsewhere"), (cycle, "models:/churn/2")):
        assert one.verdict is ModelVerdict.UNKNOWN
        assert f"the files of {one.uri} cannot be listed: its source {source!r}" in one.reasons[0].message


def test_a_pickle_that_was_not_downloaded_is_not_taken_for_a_broken_one(tmp_path: Path) -> None:
    for name, content in SOUND.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "model.pkl").write_bytes(b"\0" * 100)
    (subject,) = read_model_directory(tmp_path).subjects
    assert isinstance(subject, ModelDirectory)
    contract = Registry().contract("environment.dependencies_fit_the_runtime")
    (finding,) = contract.check(model_directory=replace(subject, left_out={"model.pkl": 3_000_000_000}), stack=STACK)
    assert finding.outcome is Outcome.INCONCLUSIVE
    assert finding.message == "model.pkl cannot be examined: it has 3,000,000,000 bytes and was not downloaded"
    (broken,) = model_findings(contract.id, {**SOUND, "model.pkl": b"\0" * 100})
    assert broken.outcome is Outcome.FAILED


def test_contracts_that_judge_no_model_directory_are_refused(tmp_path: Path, downloads: Path) -> None:
    contracts = [Registry().contract("manifests.fields_are_known")]
    with pytest.raises(UsageError, match="none of the chosen contracts judges a model directory"):
        list(judge_versions([], contracts, STACK, connect=nobody, max_bytes=1, directory=downloads))


def report(*models: JudgedModel, errors: tuple[InputError, ...] = ()) -> FleetReport:
    return FleetReport(
        server="https://mlflow.example",
        stack=summary_of(STACK),
        models=models,
        total=len(models),
        errors=errors,
        provenance=Recorder(lambda event: None).provenance("trivet fleet"),
    )


def a_model(verdict: ModelVerdict, number: int = 1) -> JudgedModel:
    return JudgedModel(
        name="<b>churn</b>", version=str(number), verdict=verdict, aliases=("prod",), flavors=("sklearn",)
    )


FAILURE = InputError(message="the server failed", remedy="mend it", exit_code=2)


@pytest.mark.parametrize(
    ("verdicts", "errors", "code", "words"),
    [
        ([ModelVerdict.FINE, ModelVerdict.UNSUPPORTED], (), 0, "nothing is seen that 2024.11 breaks in 2 models"),
        ([ModelVerdict.FINE, ModelVerdict.BREAKS], (FAILURE,), 1, "2024.11 breaks 1 of 2 models; 1 error"),
        ([ModelVerdict.FINE, ModelVerdict.UNKNOWN], (), 2, "it is unknown whether 2024.11 serves 1 of 2 models"),
        ([ModelVerdict.FINE], (FAILURE,), 2, "1 error while reading the server"),
        ([], (), 2, "no model was judged"),
    ],
)
def test_the_exit_code_and_its_sentence(
    verdicts: list[ModelVerdict], errors: tuple[InputError, ...], code: int, words: str
) -> None:
    made = report(*(a_model(verdict, number) for number, verdict in enumerate(verdicts)), errors=errors)
    assert made.exit_code == code
    assert words in sentence(made)
    suite = ET.fromstring(fleet_junit.write(made))
    assert (int(suite.get("failures", 0)) + int(suite.get("errors", 0)) > 0) == (code != 0)
    assert ("::error " in fleet_github.write(made)) == (code != 0)


def test_json_is_read_back_whole_and_html_escapes_names() -> None:
    made = report(*(a_model(verdict) for verdict in ModelVerdict))
    text = fleet_json.write(made)
    assert fleet_json.read(text) == made
    assert json.loads(text)["verdicts"] == {"breaks": 1, "unknown": 1, "unsupported": 1, "fine": 1}
    page = fleet_html.write(made)
    assert "<b>churn</b>" not in page
    assert "&lt;b&gt;churn&lt;/b&gt;" in page


def test_of_models_that_are_unsupported_only_the_first_are_printed_and_the_rest_is_counted() -> None:
    text = FleetText(most=2)
    models = [a_model(ModelVerdict.UNSUPPORTED, number) for number in range(5)]
    assert [bool(text.lines(model)) for model in models] == [True, True, False, False, False]
    assert all(text.lines(a_model(ModelVerdict.BREAKS, number)) for number in range(5))
    assert "not shown: 3 unsupported; --max-lines N shows more" in text.summary(report(*models))


def test_the_summary_of_a_job_has_a_row_for_each_model_that_is_not_fine_worst_first() -> None:
    text = fleet_markdown.write(report(*(a_model(verdict) for verdict in reversed(ModelVerdict))))
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split(" | ")[1] for row in rows] == ["breaks", "unknown", "unsupported"]
    assert text.startswith("### 2024.11 breaks 1 of 4 models")
    many = fleet_markdown.write(report(*(a_model(ModelVerdict.BREAKS, number) for number in range(201))))
    assert many.endswith("\n1 more\n")
