"""What several kinds of tests share: real sessions, which tests leave as they found them, and a third party's target."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from contract_examples.live import STACK
from hypothesis import HealthCheck, settings

from trivet.model.events import Event
from trivet.model.handover import Handover
from trivet.settings import load_settings
from trivet.stacks.read import load_stack
from trivet.targets.cluster.session import ClusterSession
from trivet.targets.kind import kind_target
from trivet.targets.local import LocalTarget
from trivet.targets.local.session import LocalSession

GRID = Path(__file__).parent / "thirdparty"
"""The folder of the third party's target ``grid``, whose checks note what they judge."""

# Another process on the machine makes any test slow: Hypothesis must not fail one for the time that it took.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture
def default_signals() -> Iterator[None]:
    """SIGINT and SIGHUP do what they do by default: under nohup or in a shell's background they are ignored, which children inherit."""
    defaults: dict[signal.Signals, Callable[..., Any] | signal.Handlers] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def events() -> list[Event]:
    """The events that ``session`` emitted."""
    return []


@pytest.fixture(scope="session")
def session(events: list[Event]) -> Iterator[LocalSession]:
    """The stack, running for the whole of the tests. Who logs a model into it takes a registered name of its own."""
    with LocalTarget().start(load_stack(STACK), events.append) as running:
        yield running


@pytest.fixture(scope="session")
def handover(session: LocalSession) -> Handover:
    """What the session's pipeline handed over."""
    found = session.client("handover")
    assert isinstance(found, Handover)
    return found


@pytest.fixture(scope="session")
def cluster_session() -> Iterator[ClusterSession]:
    """The stack on its own cluster, for tests that leave it as they found it. The images come from where the settings say."""
    settings = load_settings(Path.cwd())
    with kind_target(settings.images, settings.mirror).start(load_stack(STACK), lambda event: None) as running:
        yield running


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the checks of the grid target noted since the last call."""
    file = tmp_path / "judged.txt"
    monkeypatch.setenv("ACME_JUDGED", str(file))
    monkeypatch.syspath_prepend(GRID)

    def read() -> list[str]:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return [line for line in lines if line != "start"]

    return read


@pytest.fixture
def variables(tmp_path: Path) -> Mapping[str, str]:
    """Of a process of the command line: its cache, with its results, and the grid's notes are the test's own."""
    return {
        "PYTHONPATH": str(GRID),
        "TRIVET_CACHE": str(tmp_path / "cache"),
        "ACME_JUDGED": str(tmp_path / "judged.txt"),
    }
