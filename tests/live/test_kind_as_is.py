"""A cluster of trivet's own that lacks a part: judged as it is, and repaired with a word about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract_examples.live import STACK

from trivet.model.events import Event, PhaseStarted
from trivet.model.report import PREPARATION
from trivet.provision.kind.up import ImageSource, open_cluster, up
from trivet.settings import load_settings
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.cluster

NAMESPACE, NAME = "knative-serving", "autoscaler-hpa"
MISSING = f"{NAMESPACE}/Deployment/{NAME} (not found)"


def test_a_deleted_part_is_left_alone_as_it_is_and_otherwise_put_back_with_a_word() -> None:
    settings, stack = load_settings(Path.cwd()), load_stack(STACK)
    source = ImageSource(kind=settings.images, mirror=settings.mirror)
    events: list[Event] = []
    complete = up(stack, events.append, source)
    kubectl = complete.kubectl
    kubectl.delete("deployment", NAME, namespace=NAMESPACE)
    try:
        with open_cluster(stack, events.append, source, as_is=True) as found:
            assert found.notes[PREPARATION] == f"judged as it is: not ready: {MISSING}"
            assert kubectl.get("deployment", NAME, namespace=NAMESPACE) is None
    finally:
        repaired = up(stack, events.append, source)
    assert repaired.notes[PREPARATION] == f"repaired in this run: {MISSING}"
    assert f"cluster repaired in this run: {MISSING}" in [one.name for one in events if isinstance(one, PhaseStarted)]
    assert kubectl.get("deployment", NAME, namespace=NAMESPACE) is not None
    assert up(stack, events.append, source).notes[PREPARATION].startswith("as found: ")
