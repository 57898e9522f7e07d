"""Running a contract on the shared live session, with some of what it observes replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from contract_examples.static import contract, stack

from trivet.model.contract import STATIC_SUBJECTS
from trivet.model.finding import Finding
from trivet.model.handover import Handover, LoggedModel
from trivet.model.subjects import ModelDirectory
from trivet.model.target import Session
from trivet.provision.access import PIPELINES
from trivet.provision.kind.state import folder_of
from trivet.settings import load_settings
from trivet.stacks.read import load_stack
from trivet.targets.cluster.session import ClusterSession
from trivet.targets.kind import kind_target
from trivet.targets.local.session import LocalSession
from trivet.toolkit.subjects import read_model_directory

STACK = "2024.11-fixed"
"""The stack of the shared session."""


@contextmanager
def pipelines_session() -> Iterator[ClusterSession]:
    """A session on the stack's kind cluster with KFP's backend; the test is skipped if the cluster does not have it."""
    settings, stack = load_settings(Path.cwd()), load_stack(STACK)
    if folder_of(stack).read_addon(PIPELINES) is None:
        pytest.skip(
            f"the cluster has no Kubeflow Pipelines: trivet up --stack {STACK} --images build --addon {PIPELINES}"
        )
    target = kind_target(settings.images, settings.mirror, addons=[PIPELINES], as_is=settings.as_is)
    with target.start(stack, lambda event: None) as running:
        yield running


def findings(session: Session, identifier: str, **replaced: Any) -> list[Finding]:
    """The findings of a contract; what it wants comes from ``replaced``, and what is not there from the session."""
    judged = contract(identifier)
    assert set(replaced) <= set(judged.wants), f"{identifier} wants {judged.wants}"
    given = {name: replaced[name] if name in replaced else _real(session, name) for name in judged.wants}
    return list(judged.check(**given))


def _real(session: Session, name: str) -> Any:
    if name == "stack":
        return stack(STACK)
    if name in STATIC_SUBJECTS:
        (subject,) = session.subjects(name)
        return subject
    return session.client(name)


class Instead:
    """A real client with some of its members replaced: ``Instead(store, download=…)``."""

    def __init__(self, real: Any, **replaced: Any) -> None:
        self._real = real
        vars(self).update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def served_model(session: Session) -> ModelDirectory:
    """What the storage initializer fetched for the session's runtime."""
    (model,) = session.subjects("model_directory")
    assert isinstance(model, ModelDirectory)
    return model


def model_in(directory: Path) -> ModelDirectory:
    """The model in a directory."""
    (model,) = read_model_directory(directory).subjects
    assert isinstance(model, ModelDirectory)
    return model


def handed_over(session: LocalSession, model: LoggedModel) -> Handover:
    """The session's handover, as if it had been of another registered model."""
    handover: Handover = session.client("handover")
    uri = session.client("tracking").get_download_uri(model.registered_name, model.version)
    return replace(served_from(handover, f"{uri}/"), model=model)


def served_from(handover: Handover, storage_uri: str) -> Handover:
    """A handover whose service has another storage URI."""
    service = deepcopy(dict(handover.service))
    service["spec"]["predictor"]["model"]["storageUri"] = storage_uri
    return replace(handover, service=service)
