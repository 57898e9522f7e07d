"""Playing an incident on a cluster, without a remedy and with one."""

from __future__ import annotations

from trivet.engine.registry import Registry
from trivet.engine.scenarios.choose import choose
from trivet.engine.scenarios.play import play_all
from trivet.model.scenario import Verdict
from trivet.targets.cluster.session import ClusterSession


def happens_and_remedy_protects(session: ClusterSession, scenario: str, bare: str, remedy: str) -> None:
    """Assert that the incident of ``scenario``, an id or a pattern of one, happens in the variant ``bare`` and not in ``remedy``."""
    chosen = choose(Registry().scenarios, (f"{scenario}[{bare}]", f"{scenario}[{remedy}]"))
    (result,) = play_all(chosen, session, lambda event: None, allow_faults=False)
    assert {one.name: one.verdict for one in result.variants} == {
        bare: Verdict.VULNERABLE,
        remedy: Verdict.PROTECTED,
    }, [one.reason for one in result.variants]
