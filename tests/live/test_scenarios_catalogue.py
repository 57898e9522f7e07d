"""Incidents about models on a cluster: each happens, and its remedy protects."""

from __future__ import annotations

import pytest
from played_incidents import happens_and_remedy_protects

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
    happens_and_remedy_protects(cluster_session, f"{module}.*", bare, remedy)
