"""A report of scenarios for tests: a rollback that lost requests, and the same with a remedy."""

from __future__ import annotations

from fakes.scenario_session import bad, good

from trivet.model.finding import Evidence
from trivet.model.report import Phase, Provenance, StackSummary
from trivet.model.scenario import Claim, ScenarioReport, ScenarioResult, Timeline, VariantResult, Verdict, Workload
from trivet.model.traffic import Answer
from trivet.toolkit.client_traffic import timeline

FLOW = Workload(service="returning-classifier", request={}, models={"version 1": [1], "version 2": [11]}, rate=5.0)


def stalled() -> Timeline:
    """Version 2 answers, the rollback stalls for 12 s and fails for 8 more, then version 1 answers."""
    answers: list[Answer] = []
    pods = []
    for tick in range(60 * 5):
        at = tick / 5
        if at < 10:
            answers.append(good(at, 11, 0.03))
        elif at < 22:
            answers.append(bad(at, 22 - at + 0.1))
        elif at < 30:
            answers.append(bad(at))
        else:
            answers.append(good(at, 1, 0.04))
    for second in range(60):
        pods.append((float(second), {"revision 1": float(second > 21), "revision 2": float(second < 40)}))
    marks = {"fault": 10.0, "injected": 12.5, "revert": 50.0, "recovered": 56.0}
    return timeline(answers, FLOW, began=0.0, ended=60.0, marks=marks, gauges={"pods ready": pods})


def report() -> ScenarioReport:
    """Vulnerable as it is, protected with a remedy, and a remedy that is not one."""
    common = {
        "steady_state": "3 of 3 answers are of version 2",
        "effect": "the status gives revision 1 all traffic",
        "recovery": "3 of 3 answers are of version 2",
        "changed_objects": ("patch inferenceservice/returning-classifier in trivet-serving-1",),
        "phases": (
            Phase(name="steady state", started=0.0, seconds=1.5),
            Phase(name="symptom", started=13.0, seconds=37.0),
        ),
    }
    bare = VariantResult(
        name="percent-zero",
        text="canaryTrafficPercent: 0",
        remedy=False,
        expected=Verdict.VULNERABLE,
        verdict=Verdict.VULNERABLE,
        reason="100 of 200 requests lost over 20.0 s <script>alert(1)</script>",
        measured={"lost": 100, "outage_seconds": 20.0},
        timeline=stalled(),
        evidence=(Evidence(name="events", kind="text", text="0 replicas", sha256="0" * 64),),
        **common,  # type: ignore[arg-type]
    )
    library = VariantResult(
        name="library",
        text="the core library's plan",
        remedy=True,
        expected=Verdict.PROTECTED,
        verdict=Verdict.PROTECTED,
        reason="none of 200 requests lost",
        **common,  # type: ignore[arg-type]
    )
    disproved = VariantResult(
        name="probe",
        text="a readiness probe",
        remedy=True,
        expected=Verdict.PROTECTED,
        verdict=Verdict.VULNERABLE,
        reason="40 of 200 requests lost",
    )
    result = ScenarioResult(
        id="rollback.revision_at_zero",
        title="Rolling back to a revision that was scaled to zero loses requests",
        happens="The old revision has no pod.",
        recognise="All requests stall.",
        remedy="Deploy the earlier model anew.",
        variants=(bare, library, disproved),
        claims=(Claim(text="minReplicas keeps it warm.", holds=False, found="it does not", variants=("probe",)),),
        seconds=120.0,
    )
    return ScenarioReport(
        target="kind",
        stack=StackSummary(name="2024.11", title="November 2024", digest="0" * 64, components={"kserve": "0.14.1"}),
        scenarios=(result,),
        provenance=Provenance(
            trivet="0.1.0", python="3.11.7", platform="linux", started="2026-11-25T01:00:00+00:00", seconds=130.0
        ),
        cluster={"context": "kind-trivet"},
    )
