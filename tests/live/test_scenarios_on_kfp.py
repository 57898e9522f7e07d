"""Incidents of KFP's backend on a cluster that has it: each happens, and its remedy protects. It needs the add-on `pipelines`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from contract_examples.live import pipelines_session
from played_incidents import happens_and_remedy_protects

from trivet.targets.cluster.session import ClusterSession

pytestmark = pytest.mark.catalogue


@pytest.fixture(scope="module")
def session() -> Iterator[ClusterSession]:
    """A session on the stack's cluster with KFP's backend."""
    with pipelines_session() as running:
        yield running


@pytest.mark.parametrize(
    ("name", "bare", "remedy"),
    [
        ("cached_run_is_gone", "cached", "uncached"),
        ("tracking_uri_is_unset", "by-default", "required"),
        ("terminated_while_recording", "plain", "swept"),
        ("part_away_as_a_step_ends", "api-server", "api-server-uncached"),
    ],
)
def test_an_incident_of_the_backend_happens_and_its_remedy_protects(
    session: ClusterSession, name: str, bare: str, remedy: str
) -> None:
    happens_and_remedy_protects(session, f"kfp_backend.{name}", bare, remedy)
