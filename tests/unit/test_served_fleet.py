"""Members of a fleet whose checks end in every way: what is measured of each, and what each check is given. No check is started."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import pytest

from trivet.engine.acceptance import NO_WAIVERS
from trivet.engine.registry import Registry
from trivet.engine.run import Recorder, fold
from trivet.errors import PlatformError
from trivet.model.finding import passed
from trivet.model.fleet import JudgedModel, Measured, ModelVerdict
from trivet.render import report_json
from trivet.served_fleet import Serving, folder_name
from trivet.stacks.read import load_stack

READY = "serving.model_becomes_ready"
SERVER = "https://user:hunter2@mlflow.example"
Ending = Callable[[Path], int]


class Children:
    """Child runs, each of which ends as ``ending`` does with the folder of its report."""

    def __init__(self, folder: Path, ending: Ending) -> None:
        self._folder = folder
        self._ending = ending
        self.arguments: list[str] = []
        self.environment: Mapping[str, str] = {}

    def __call__(self) -> Children:
        return self

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def close(self) -> None:
        pass

    def folder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder

    def call(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        self.arguments += arguments
        self.environment = environment or {}
        return self._ending(folder), "the last line"


def a_report() -> str:
    result = fold(Registry().contract(READY), [passed("it is ready")], 1.0)
    report = Recorder(lambda event: None).report([result], target="model", stack=load_stack("2024.11"), profile="core")
    return report_json.write(report)


def conformant(folder: Path) -> int:
    (folder / report_json.filename).write_text(a_report(), encoding="utf-8")
    return 0


def killed_while_it_wrote(folder: Path) -> int:
    (folder / report_json.filename).write_text(a_report()[:200], encoding="utf-8")
    return -9


def without_a_report(folder: Path) -> int:
    return 3


def interrupted(folder: Path) -> int:
    raise PlatformError("this run of trivet was interrupted")


def on_a_full_disk(folder: Path) -> int:
    raise OSError(28, "No space left on device")


def served(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: Ending,
    write: Callable[..., object] | None = None,
    *,
    members: Sequence[JudgedModel] = (
        JudgedModel(name="churn", version="1", verdict=ModelVerdict.FINE, flavors=("sklearn",)),
    ),
    jobs: int = 1,
) -> tuple[JudgedModel, Children]:
    (tmp_path / "children").mkdir()
    children = Children(tmp_path / "children", ending)
    monkeypatch.setattr("trivet.host.child_runs.ChildRuns", children)
    serving = Serving(
        arguments=["--profile", "core"],
        server=SERVER,
        models={},
        waivers=NO_WAIVERS,
        directory=tmp_path / "report" if write else None,
        write=write or (lambda report, folder: None),
        jobs=jobs,
    )
    found, *_ = serving.serve(members, range(len(members)), lambda member, remaining: None)
    assert isinstance(found, JudgedModel)
    assert not list((tmp_path / "children").iterdir()), "what a check wrote is removed"
    return found, children


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (killed_while_it_wrote, "ended with exit code -9, and its report cannot be read"),
        (without_a_report, "ended with exit code 3: the last line"),
        (interrupted, "was interrupted"),
        (on_a_full_disk, "No space left on device"),
    ],
)
def test_a_check_that_ends_without_a_report_leaves_its_model_unmeasured_and_the_fleet_going(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: Ending, words: str
) -> None:
    found, _ = served(tmp_path, monkeypatch, ending)
    assert found.measured
    assert found.measured.outcome is Measured.UNKNOWN
    assert words in found.measured.reasons[0].message


def test_a_report_that_cannot_be_written_leaves_its_model_unmeasured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(report: object, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    found, _ = served(tmp_path, monkeypatch, conformant, full)
    assert found.measured
    assert found.measured.outcome is Measured.UNKNOWN
    assert "its report cannot be written" in found.measured.reasons[0].message
    assert found.measured.report == ""


def test_the_tracking_server_is_no_argument_of_a_check_since_its_url_may_hold_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, children = served(tmp_path, monkeypatch, conformant)
    assert found.measured
    assert found.measured.outcome is Measured.WORKS
    assert "hunter2" not in " ".join(children.arguments)
    assert children.environment == {"MLFLOW_TRACKING_URI": SERVER}


def test_versions_with_the_same_files_are_never_served_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving_one = threading.Lock()
    alone: list[bool] = []

    def slow(folder: Path) -> int:
        alone.append(serving_one.acquire(blocking=False))
        time.sleep(0.2)
        if alone[-1]:
            serving_one.release()
        return conformant(folder)

    original = JudgedModel(
        name="churn", version="1", verdict=ModelVerdict.FINE, flavors=("sklearn",), source="s3://store/churn"
    )
    served(tmp_path, monkeypatch, slow, members=(original, replace(original, name="copied")), jobs=2)
    assert alone == [True, True]


@pytest.mark.parametrize("name", ["models:/a b/1", "models:/" + "\U0001f600" * 300, "models:/größe/1"])
def test_folders_of_models_have_names_that_every_file_system_takes(name: str) -> None:
    assert len(os.fsencode(folder_name(name))) <= 100
    assert folder_name(name) != folder_name(f"{name}0")
