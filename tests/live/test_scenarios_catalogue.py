"""Incidents about models on a cluster: each happens, and its remedy protects."""

from __future__ import annotations

import pytest

from trivet.engine.registry import Registry
from trivet.engine.scenarios.choose import choose
from trivet.engine.scenarios.play import play_all
from trivet.model.scenario import Verdict
from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.catalogue


@pytest.mark.parametrize(
    ("module", "bare", "remedy"),
    [
        ("environment_skew", "runtime-default", "gate"),
        ("unlocked_image", "unbounded", "locked"),
        ("alias_moved", "resolved-twice", "pinned"),
        ("signature_changed", "added-column", "checked"),
    ],
)
def test_an_incident_about_models_happens_and_its_remedy_protects(
    cluster_session: ClusterSession, module: str, bare: str, remedy: str
) -> None:
    chosen = choose(Registry().scenarios, (f"{module}.*[{bare}]", f"{module}.*[{remedy}]"))
    (result,) = play_all(chosen, cluster_session, lambda event: None, allow_faults=False)
    assert {one.name: one.verdict for one in result.variants} == {
        bare: Verdict.VULNERABLE,
        remedy: Verdict.PROTECTED,
    }, [one.reason for one in result.variants]
