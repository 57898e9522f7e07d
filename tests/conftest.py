"""Real sessions that several kinds of tests share; tests leave them as they found them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
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
