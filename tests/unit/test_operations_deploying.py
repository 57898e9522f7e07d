"""From deployment to promotion or rollback on a stand-in for the platform: with the permissions that are printed and no others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from fakes.canary import ScriptedMetrics
from fakes.kserve_controller import KserveController
from fakes.kubernetes_api import StoredObjects
from fakes.registered_versions import RegisteredVersions

from trivet.errors import PlatformError
from trivet.integration.canary import CanaryLimits
from trivet.integration.deployment import PREDICTOR_DIGEST, PreconditionFailed, RegistryNames
from trivet.integration.inference_service import MODEL_VERSION, build_inference_service
from trivet.integration.kubernetes_api import INFERENCE_SERVICES, KNATIVE_REVISIONS, LEASES
from trivet.model.operation import Decision, OperationReport
from trivet.operations.canary_run import run_canary
from trivet.operations.deploying import PREVIOUS, canary_actions, deploy, previous_service
from trivet.operations.lease import lease_name
from trivet.operations.rbac import canary_rbac

NAME, NAMESPACE = "rec", "ml"
VERBS = {"replace": "update"}


class Platform:
    """A cluster with a controller, and what is deployed to it."""

    def __init__(self) -> None:
        self.cluster = StoredObjects()
        self.controller = KserveController(self.cluster)
        self.time = 1_800_000_000.0
        self.tracking: RegisteredVersions | None = None
        self.messages: list[str] = []

    def deploy(self, version: int, **settings: Any) -> OperationReport:
        document = build_inference_service(
            name=NAME,
            namespace=NAMESPACE,
            storage_uri=f"s3://models/{version}/",
            run_id=f"run{version}",
            pipeline="p",
            model_name="rec",
            model_version=str(version),
            exists=True,
            **settings,
        )
        return deploy(document, cluster=self.cluster, tracking=self.tracking, registry=RegistryNames(), timeout=5)

    def judge(self, errors: int) -> OperationReport:
        return run_canary(
            NAME,
            NAMESPACE,
            cluster=self.cluster,
            metrics=ScriptedMetrics(lambda: self.time, errors=errors),
            actions=self.actions(),
            limits=CanaryLimits(),
            clock=lambda: self.time,
            sleep=self.sleep,
        )

    def actions(self) -> Any:
        return canary_actions(
            NAME,
            NAMESPACE,
            cluster=self.cluster,
            tracking=self.tracking,
            registry=RegistryNames(),
            progress=self.messages.append,
        )

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    @property
    def service(self) -> dict[str, Any]:
        found = self.cluster.get(INFERENCE_SERVICES, NAMESPACE, NAME)
        assert found is not None
        return found

    @property
    def served(self) -> Mapping[str, int]:
        """Version → percentage of the traffic."""
        found: dict[str, int] = {}
        for one in self.service["status"]["components"]["predictor"]["traffic"]:
            revision = self.cluster.get(KNATIVE_REVISIONS, NAMESPACE, one["revisionName"])
            assert revision is not None
            found[revision["metadata"]["labels"][MODEL_VERSION]] = one["percent"]
        return found


@pytest.fixture
def platform() -> Platform:
    return Platform()


def test_a_first_deployment_gets_all_traffic_and_keeps_nothing(platform: Platform) -> None:
    report = platform.deploy(1)
    assert (report.decision, report.revision, report.exit_code) == (Decision.DEPLOYED, "rec-predictor-00001", 0)
    assert platform.served == {"1": 100}
    assert previous_service(platform.cluster, NAMESPACE, NAME) is None


def test_the_next_one_is_a_canary_and_what_served_is_kept(platform: Platform) -> None:
    platform.deploy(1)
    report = platform.deploy(2)
    assert report.evidence["traffic"] == {"rec-predictor-00002": 20, "rec-predictor-00001": 80}
    kept = previous_service(platform.cluster, NAMESPACE, NAME)
    assert kept is not None
    assert kept["metadata"]["labels"][MODEL_VERSION] == "1"
    assert "uid" not in kept["metadata"]


def test_deploying_the_same_again_changes_nothing_and_keeps_what_is_kept(platform: Platform) -> None:
    platform.deploy(1)
    platform.deploy(2)
    before = platform.cluster.get(LEASES, NAMESPACE, lease_name(NAME))
    assert platform.deploy(2).decision is Decision.UNCHANGED
    assert platform.cluster.get(LEASES, NAMESPACE, lease_name(NAME)) == before


@pytest.mark.parametrize("percent", [None, 100])
def test_deploying_again_what_is_promoted_leaves_traffic_and_aliases_as_they_are(
    platform: Platform, percent: int | None
) -> None:
    platform.tracking = RegisteredVersions(2)
    platform.deploy(1)
    report = platform.deploy(2, canary_percent=percent)
    if percent is None:
        platform.actions().promote(report.revision)
    service = platform.service
    assert (platform.served, platform.tracking.aliases) == ({"2": 100}, {"production": "2"})

    again = platform.deploy(2)

    assert (again.decision, again.evidence["traffic"]) == (Decision.UNCHANGED, {"rec-predictor-00002": 100})
    assert platform.service == service
    assert (platform.served, platform.tracking.aliases) == ({"2": 100}, {"production": "2"})


@pytest.mark.parametrize("change", [{"env": {"THREADS": "many"}}, {"labels": {"cost": "a"}}])
def test_another_setting_of_the_promoted_version_is_a_canary(platform: Platform, change: dict[str, Any]) -> None:
    platform.deploy(1)
    platform.deploy(1, **change)
    traffic = platform.service["status"]["components"]["predictor"]["traffic"]
    assert [one["percent"] for one in traffic] == [20, 80]


def test_a_promoted_service_that_somebody_edited_is_deployed_again(platform: Platform) -> None:
    platform.deploy(1)
    edited = platform.service
    edited["spec"]["predictor"]["model"]["storageUri"] = "s3://models/9/"
    platform.cluster.replace(INFERENCE_SERVICES, edited, field_manager="somebody")
    platform.deploy(1)
    assert platform.service["spec"]["predictor"]["model"]["storageUri"] == "s3://models/1/"


def test_a_sound_canary_is_promoted_from_deployment_on_without_a_hand(platform: Platform) -> None:
    platform.deploy(1)
    platform.deploy(2)
    assert platform.judge(errors=0).decision is Decision.PROMOTE
    assert platform.served == {"2": 100}
    assert platform.judge(errors=0).decision is Decision.NO_CANARY


def test_a_bad_canary_is_rolled_back_to_the_model_and_labels_of_before(platform: Platform) -> None:
    platform.deploy(1)
    platform.deploy(2)
    assert platform.judge(errors=30).decision is Decision.ROLL_BACK
    assert platform.served == {"1": 100}
    assert platform.service["metadata"]["labels"][MODEL_VERSION] == "1"
    assert platform.service["spec"]["predictor"]["model"]["storageUri"] == "s3://models/1/"
    assert platform.judge(errors=0).decision is Decision.NO_CANARY


def test_a_canary_over_a_canary_is_rolled_back_to_what_is_stable(platform: Platform) -> None:
    platform.deploy(1)
    platform.deploy(2)
    platform.deploy(3)
    assert platform.served == {"3": 20, "1": 80}
    assert platform.judge(errors=30).decision is Decision.ROLL_BACK
    assert platform.served == {"1": 100}


def test_a_change_of_resources_alone_can_be_rolled_back(platform: Platform) -> None:
    platform.deploy(1)
    platform.deploy(1, env={"THREADS": "many"})
    assert platform.judge(errors=30).decision is Decision.ROLL_BACK
    assert "env" not in platform.service["spec"]["predictor"]["model"]


def test_a_service_whose_newest_change_has_no_revision_yet_is_not_judged(platform: Platform) -> None:
    platform.deploy(1)
    platform.deploy(2)
    platform.cluster.before = lambda verb, plural, name: None  # KServe does not look any more
    changed = platform.service
    changed["metadata"]["annotations"][PREDICTOR_DIGEST] = "of another predictor"
    platform.cluster.replace(INFERENCE_SERVICES, changed)
    with pytest.raises(PlatformError, match="00002 is the newest revision of rec, made of an earlier predictor"):
        platform.judge(errors=0)
    assert platform.served == {"2": 20, "1": 80}


def foreign(platform: Platform, version: int) -> None:
    """Apply a version with kubectl: without trivet's labels and annotations."""
    predictor = {"model": {"storageUri": f"s3://models/{version}/"}, "canaryTrafficPercent": 20}
    metadata = {"name": NAME, "namespace": NAMESPACE, "labels": {"team": "search"}, "annotations": {}}
    existing = platform.cluster.get(INFERENCE_SERVICES, NAMESPACE, NAME)
    if existing is None:
        platform.cluster.create(INFERENCE_SERVICES, {"metadata": metadata, "spec": {"predictor": predictor}})
    else:
        platform.cluster.replace(INFERENCE_SERVICES, {**existing, "spec": {"predictor": predictor}})


@pytest.mark.parametrize("action", ["promote", "roll_back"])
def test_a_service_without_registered_version_moves_its_traffic_and_no_alias(platform: Platform, action: str) -> None:
    platform.tracking = RegisteredVersions(2)
    foreign(platform, 1)
    foreign(platform, 2)

    getattr(platform.actions(), action)("rec-predictor-00002")

    traffic = platform.service["status"]["components"]["predictor"]["traffic"]
    kept = "rec-predictor-00002" if action == "promote" else "rec-predictor-00001"
    assert traffic == [{"revisionName": kept, "percent": 100}]
    assert platform.tracking.aliases == {}
    assert platform.messages == [
        "rec states no registered version in its labels: links, aliases and stages stay as they are"
    ]


def test_a_first_version_of_trivets_is_rolled_back_to_what_something_else_deployed(platform: Platform) -> None:
    platform.tracking = RegisteredVersions(2)
    foreign(platform, 1)
    report = platform.deploy(2)
    assert platform.tracking.aliases == {"canary": "2"}

    platform.actions().roll_back(report.revision)

    assert MODEL_VERSION not in platform.service["metadata"]["labels"]
    assert (platform.tracking.aliases, platform.tracking.tags["2"]) == ({}, {})


def test_promotion_by_hand_has_the_revision_as_precondition(platform: Platform) -> None:
    platform.deploy(1)
    platform.deploy(2)
    with pytest.raises(PreconditionFailed):
        platform.actions().promote("rec-predictor-00001")
    assert platform.served == {"2": 20, "1": 80}
    platform.actions().promote("rec-predictor-00002")
    assert platform.served == {"2": 100}


def test_what_is_kept_and_cannot_be_read_is_an_error(platform: Platform) -> None:
    platform.deploy(1)
    platform.deploy(2)
    lease = platform.cluster.get(LEASES, NAMESPACE, lease_name(NAME))
    assert lease is not None
    lease["metadata"]["annotations"][PREVIOUS] = json.dumps([1])
    platform.cluster.replace(LEASES, lease)
    with pytest.raises(PlatformError, match="is no JSON object"):
        platform.actions().roll_back("rec-predictor-00002")


def needed(requests: list[tuple[str, str, str]]) -> set[tuple[str, str, str]]:
    return {
        (VERBS.get(verb, verb), plural, name if plural in ("inferenceservices", "leases") and verb != "create" else "")
        for verb, plural, name in requests
    }


def granted(deploying: bool) -> set[tuple[str, str, str]]:
    _, role, _ = canary_rbac(NAME, NAMESPACE, deploying=deploying)
    return {
        (verb, resource, name)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
    }


def test_the_printed_permissions_are_what_is_used_and_no_more(platform: Platform) -> None:
    platform.deploy(1)
    platform.deploy(2)
    deploying = needed(platform.controller.requests)
    platform.controller.requests.clear()
    platform.judge(errors=30)
    platform.deploy(3)
    platform.judge(errors=0)
    platform.actions().roll_back("rec-predictor-00004")  # after the promotion: which pods run is looked up
    judging = needed(platform.controller.requests)

    assert deploying | judging == granted(deploying=True)
    assert judging - deploying <= granted(deploying=False)
