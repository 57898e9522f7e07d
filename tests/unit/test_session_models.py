"""The models client of a session: what it makes does not wait for the pipeline, whose run may take minutes or fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.target import STACK

from trivet.model.handover import LoggedModel
from trivet.targets.common.session import HandoverSession, Tracking


class Job:
    """A trainer that answers at once, or a pipeline driver that answers only after ``ended``."""

    def __init__(self, ended: threading.Event | None) -> None:
        self._ended = ended
        self.process = SimpleNamespace(stop=lambda: None, text=lambda: "")

    def call(self, operation: str, **arguments: Any) -> Any:
        if self._ended:
            self._ended.wait(30.0)
        logged = LoggedModel(
            run_id="0", artifact_path="model", registered_name=arguments.get("register_as", ""), version="1"
        )
        return {"predict": [11], "log_model": vars(logged)}.get(operation, "")


class Session(HandoverSession):
    """Everything but its pipeline is there at once."""

    target = "fake"
    artifact_root = "s3://store"

    def __init__(self, directory: Path, pipeline_ended: threading.Event) -> None:
        self._pipeline_ended = pipeline_ended
        run, processes = SimpleNamespace(directory=directory), SimpleNamespace(closed=threading.Event())
        super().__init__(STACK, run, processes, lambda event: None)  # type: ignore[arg-type]

    def _prepare(self) -> None:
        pass

    def _worker(self, role: str, name: str, job: str, *, background: bool = False) -> Any:
        return Job(self._pipeline_ended if job == "pipeline" else None)

    def _start_tracking(self) -> Tracking:
        return Tracking(uri="http://tracking", url="http://tracking")

    def _make_store(self) -> Any:
        return None

    def _serve(self) -> Any:
        return None

    def _job_path(self, role: str, path: Path) -> str:
        return str(path)

    def _outputs(self, driver: Any) -> str:
        return ""


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(
        "trivet.toolkit.models.resolve_storage_uri",
        lambda uri, *, tracking: f"{tracking.artifact_root}/{uri.removeprefix('models:/')}/",
    )
    ended = threading.Event()
    made = Session(tmp_path, ended)
    try:
        yield made
    finally:
        ended.set()
        made.close()


def test_a_model_is_made_and_resolved_while_the_pipeline_still_runs(session: Session) -> None:
    model = session.client("models").make("plain")

    assert model.storage_uri == f"s3://store/{model.registered}/1/"
    assert model.answer == [11]
    assert not session._main_run.ended, "nothing waited for the pipeline"
