"""A third party's contract in one module: every service of Acme names the team that answers for it."""

from collections.abc import Iterator

import trivet.authoring as trivet


@trivet.contract(
    title="An InferenceService of Acme must name its team",
    level=trivet.MUST,
    seam=("kfp", "kserve"),
    rationale="Whoever is on call must know whom to wake.",
    remedy="Set the label acme.example/team.",
)
def service_names_its_team(manifest: trivet.Manifest) -> Iterator[trivet.Finding]:
    team = manifest.document["metadata"].get("labels", {}).get("acme.example/team")
    if team:
        yield trivet.passed(f"team {team}", location=manifest.at("metadata", "labels", "acme.example/team"))
    else:
        yield trivet.failed("the label acme.example/team is missing", location=manifest.at("metadata", "labels"))
