"""Planning a roll-out: patches, and reading from a status that they have come about."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from trivet.errors import UsageError
from trivet.integration import (
    build_inference_service,
    canary_patch,
    is_ready,
    newest_revision,
    plan_rollback,
    promotion_patch,
    revision_url,
    traffic_shares,
)


def service(version: str, **status: Any) -> dict[str, Any]:
    """The service with the model of a version, as the API server has it."""
    built = build_inference_service(
        name="classifier",
        storage_uri=f"s3://models/{version}/",
        run_id=f"run-{version}",
        pipeline="training",
        model_name="classifier",
        model_version=version,
    )
    traffic = [
        {"revisionName": name, "percent": percent, "latestRevision": name == status["latestCreatedRevision"]}
        for name, percent in status.pop("traffic", {}).items()
    ]
    conditions = [{"type": "PredictorReady", "status": "False"}, {"type": "Ready", "status": "True"}]
    return built | {"status": {"conditions": conditions, "components": {"predictor": {**status, "traffic": traffic}}}}


CANARY = service(
    "2",
    latestCreatedRevision="c-00002",
    latestReadyRevision="c-00002",
    latestRolledoutRevision="c-00001",
    traffic={"c-00002": 20, "c-00001": 80},
)
PROMOTED = service(
    "2",
    latestCreatedRevision="c-00002",
    latestReadyRevision="c-00002",
    latestRolledoutRevision="c-00002",
    previousRolledoutRevision="c-00001",
    traffic={"c-00002": 100},
)
PREVIOUS = service("1", latestCreatedRevision="c-00001")


def merged(document: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def test_a_canary_is_a_percentage_and_nothing_else() -> None:
    assert canary_patch(35) == {"spec": {"predictor": {"canaryTrafficPercent": 35}}}


@pytest.mark.parametrize("percent", [-1, 101, True, 2.5])
def test_a_percentage_that_kserve_would_admit_and_misread_is_refused(percent: Any) -> None:
    with pytest.raises(UsageError, match="0 to 100"):
        canary_patch(percent)


def test_a_promotion_takes_the_percentage_away_and_makes_no_new_revision() -> None:
    promoted = merged(merged(PROMOTED, canary_patch(20)), promotion_patch())
    assert promoted == PROMOTED


def test_a_canary_is_rolled_back_by_its_percentage() -> None:
    plan = plan_rollback(CANARY, previous=PREVIOUS)
    assert (plan.patch, plan.revision) == (canary_patch(0), "c-00001")


def test_a_canary_that_never_got_ready_is_rolled_back_too() -> None:
    starting = deepcopy(CANARY)
    starting["status"]["components"]["predictor"] |= {"latestReadyRevision": "c-00001", "traffic": []}
    assert plan_rollback(starting).revision == "c-00001"


def test_after_a_promotion_the_earlier_model_is_deployed_again() -> None:
    plan = plan_rollback(PROMOTED, previous=PREVIOUS)
    restored = merged(PROMOTED, plan.patch)
    assert plan.revision == ""
    assert restored["spec"] == PREVIOUS["spec"]
    assert restored["metadata"] == PREVIOUS["metadata"]


def test_fields_that_the_new_model_added_are_removed_by_the_rollback() -> None:
    observed = deepcopy(PROMOTED)
    observed["spec"]["predictor"]["model"]["env"] = [{"name": "NEW", "value": "1"}]
    observed["spec"]["predictor"]["canaryTrafficPercent"] = 100
    observed["metadata"]["annotations"]["trivet.dev/model-name"] = "a name that was too long for a label"
    assert merged(observed, plan_rollback(observed, previous=PREVIOUS).patch)["spec"] == PREVIOUS["spec"]
    assert merged(observed, plan_rollback(observed, previous=PREVIOUS).patch)["metadata"] == PREVIOUS["metadata"]


def test_labels_and_annotations_of_others_stay() -> None:
    observed = deepcopy(PROMOTED)
    observed["metadata"]["labels"]["team"] = "search"
    assert merged(observed, plan_rollback(observed, previous=PREVIOUS).patch)["metadata"]["labels"]["team"] == "search"


def test_pods_that_still_run_take_over_at_once() -> None:
    plan = plan_rollback(PROMOTED, previous_is_warm=True)
    assert (plan.patch, plan.revision) == (canary_patch(0), "c-00001")


def test_without_the_earlier_service_there_is_no_way_back() -> None:
    with pytest.raises(UsageError, match="keep the InferenceService from before"):
        plan_rollback(PROMOTED)


def test_going_back_to_what_is_served_is_refused() -> None:
    with pytest.raises(UsageError, match="serves s3://models/2/, and the InferenceService passed as previous"):
        plan_rollback(PROMOTED, previous=PROMOTED)


def test_shares_add_up_per_revision_and_leave_out_those_without_traffic() -> None:
    twice = deepcopy(CANARY)
    twice["status"]["components"]["predictor"]["traffic"] = [
        {"revisionName": "a", "percent": 30, "latestRevision": True},
        {"revisionName": "a", "percent": 70},
        {"revisionName": "b", "percent": 0, "tag": "prev"},
        {"revisionName": "c", "tag": "debug"},
    ]
    assert traffic_shares(twice) == {"a": 100}
    assert traffic_shares(CANARY) == {"c-00002": 20, "c-00001": 80}


def test_an_object_without_status_is_not_ready_and_has_no_shares() -> None:
    built = {key: value for key, value in CANARY.items() if key != "status"}
    assert (traffic_shares(built), is_ready(built), newest_revision(built)) == ({}, False, "")


def test_the_newest_revision_counts_once_it_is_ready() -> None:
    starting = deepcopy(CANARY)
    starting["status"]["components"]["predictor"]["latestReadyRevision"] = "c-00001"
    assert newest_revision(CANARY) == "c-00002"
    assert newest_revision(starting) == ""


def test_only_the_condition_ready_says_that_a_service_is_ready() -> None:
    assert is_ready(CANARY)
    not_ready = deepcopy(CANARY)
    not_ready["status"]["conditions"][1]["status"] = "Unknown"
    assert not is_ready(not_ready)


def test_a_revision_is_asked_at_the_service_of_its_name() -> None:
    assert revision_url("c-00001", "ml") == "http://c-00001.ml.svc.cluster.local"


def test_a_rollback_brings_back_the_class_of_the_autoscaler() -> None:
    without_target = deepcopy(PROMOTED)
    del without_target["metadata"]["annotations"]["autoscaling.knative.dev/class"]
    for key in ("scaleMetric", "scaleTarget"):
        del without_target["spec"]["predictor"][key]

    restored = merged(without_target, plan_rollback(without_target, previous=PREVIOUS).patch)

    assert restored["metadata"] == PREVIOUS["metadata"]
    assert restored["spec"] == PREVIOUS["spec"]


def test_a_bad_change_of_settings_with_the_same_model_is_rolled_back() -> None:
    starved = deepcopy(PROMOTED)
    starved["spec"]["predictor"]["model"]["resources"]["limits"]["memory"] = "64Mi"

    plan = plan_rollback(starved, previous=PROMOTED)

    assert merged(starved, plan.patch)["spec"] == PROMOTED["spec"]
    assert "earlier settings" in plan.reason
