"""Applying, waiting, promoting and rolling back: on a fake of the API server's storage, and in the layer ``cluster`` the same tests on a
real API server with KServe's CustomResourceDefinitions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
from api_server import TOKEN, api_server
from fakes.object_store import ObjectStore
from samples.serving_platform import ServingPlatform, StatusWriter

from trivet.errors import UsageError
from trivet.integration import (
    DeploymentError,
    KubernetesError,
    PreconditionFailed,
    apply_inference_service,
    build_inference_service,
    connect,
    promote,
    read_link,
    roll_back,
    traffic_shares,
    wait_until_serving,
)
from trivet.integration.deployment import has_all_traffic
from trivet.integration.inference_service import DEPLOYMENT_MODE
from trivet.integration.kubernetes_api import INFERENCE_SERVICES, PODS, ConflictError, KubernetesApi, Object, Resource
from trivet.stacks.read import load_stack

NAME = "classifier"
R1, R2, R3 = (f"{NAME}-predictor-{number:05}" for number in (1, 2, 3))
QUICK: Mapping[str, Any] = {"timeout": 5.0, "interval": 0.0}


@dataclass(frozen=True)
class Cluster:
    api: KubernetesApi
    write_status: StatusWriter
    namespace: str


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with api_server(load_stack("2024.11-fixed"), tmp_path_factory.mktemp("api-server")) as kubeconfig:
        yield kubeconfig


@pytest.fixture(params=["storage", pytest.param("API server", marks=pytest.mark.cluster)])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    if request.param == "storage":
        store = ObjectStore()
        return Cluster(store, store.set_status, "ml")
    return of_api_server(request.getfixturevalue("real"))


@pytest.fixture
def platform(cluster: Cluster) -> ServingPlatform:
    return ServingPlatform(cluster.api, cluster.write_status, cluster.namespace, NAME)


def of_api_server(kubeconfig: Path) -> Cluster:
    import yaml

    url = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {TOKEN}"
    session.trust_env = False  # requests prefers REQUESTS_CA_BUNDLE to what a session says
    session.verify = False
    namespace = f"ml-{uuid4().hex[:8]}"
    session.post(f"{url}/api/v1/namespaces", json={"metadata": {"name": namespace}}, timeout=30).raise_for_status()

    def write_status(resource: Resource, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        place = f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"
        answer = session.patch(
            f"{url}/{place}/namespaces/{namespace}/{resource.plural}/{name}/status",
            json={"status": status},
            headers={"Content-Type": "application/merge-patch+json"},
            timeout=30,
        )
        assert answer.ok, answer.text

    return Cluster(connect(kubeconfig=kubeconfig, context="admin"), write_status, namespace)


def service(cluster: Cluster, version: str, **changes: Any) -> dict[str, Any]:
    return build_inference_service(
        **{
            "name": NAME,
            "namespace": cluster.namespace,
            "storage_uri": f"s3://models/{version}/",
            "run_id": f"run-{version}",
            "pipeline": "training",
            "model_name": "classifier",
            "model_version": version,
            "exists": True,
            **changes,
        }
    )


def stored(cluster: Cluster) -> Object:
    found = cluster.api.get(INFERENCE_SERVICES, cluster.namespace, NAME)
    assert found is not None
    return found


def edited(cluster: Cluster, **predictor: Any) -> None:
    """Another client writes."""
    found = stored(cluster)
    found["spec"]["predictor"] |= predictor
    cluster.api.replace(INFERENCE_SERVICES, found, field_manager="somebody")


def deploy(cluster: Cluster, platform: ServingPlatform, version: str, **changes: Any) -> dict[str, Any] | None:
    """Apply a version, with what KServe makes of it; returns the service from before."""
    applied = apply_inference_service(service(cluster, version, **changes), cluster=cluster.api)
    platform.reconcile()
    wait_until_serving(applied.service, cluster=cluster.api, **QUICK)
    return applied.previous


@pytest.fixture
def reconciled(platform: ServingPlatform, monkeypatch: pytest.MonkeyPatch) -> None:
    """KServe's controller looks whenever the caller waits."""
    monkeypatch.setattr(time, "sleep", lambda seconds: platform.reconcile())


# applying


def test_a_first_deployment_is_created_and_gets_all_traffic(cluster: Cluster) -> None:
    applied = apply_inference_service(service(cluster, "1"), cluster=cluster.api)

    assert (applied.previous, applied.changed) == (None, True)
    assert "canaryTrafficPercent" not in stored(cluster)["spec"]["predictor"]
    assert stored(cluster)["spec"]["predictor"]["model"]["storageUri"] == "s3://models/1/"


def test_nothing_of_an_earlier_deployment_is_left(cluster: Cluster) -> None:
    first = {"model_name": "team/rec model", "runtime": "own-mlserver", "annotations": {"note": "first"}}
    apply_inference_service(service(cluster, "1", labels={"cost": "a"}, **first), cluster=cluster.api)
    apply_inference_service(service(cluster, "2"), cluster=cluster.api)

    apply_inference_service(service(cluster, "3", cpu_target=None, canary_percent=50), cluster=cluster.api)

    now = stored(cluster)
    assert read_link(now).model_name == "classifier"
    assert "autoscaling.knative.dev/class" not in now["metadata"]["annotations"]
    assert "note" not in now["metadata"]["annotations"]
    assert "cost" not in now["metadata"]["labels"]
    assert "runtime" not in now["spec"]["predictor"]["model"]
    assert "scaleTarget" not in now["spec"]["predictor"]
    assert now["spec"]["predictor"]["canaryTrafficPercent"] == 50

    apply_inference_service(service(cluster, "3", exists=False), cluster=cluster.api)
    assert "canaryTrafficPercent" not in stored(cluster)["spec"]["predictor"]


def test_what_others_wrote_stays(cluster: Cluster) -> None:
    apply_inference_service(service(cluster, "1"), cluster=cluster.api)
    found = stored(cluster)
    found["metadata"]["labels"]["team"] = "search"
    found["metadata"]["annotations"]["owner"] = "search"
    found["spec"]["transformer"] = {"containers": [{"name": "kserve-container", "image": "example/transformer"}]}
    cluster.api.replace(INFERENCE_SERVICES, found, field_manager="somebody")

    apply_inference_service(service(cluster, "2"), cluster=cluster.api)

    now = stored(cluster)
    assert (now["metadata"]["labels"]["team"], now["metadata"]["annotations"]["owner"]) == ("search", "search")
    assert "transformer" in now["spec"]


def test_a_service_has_all_traffic_whatever_kserve_calls_its_mode(cluster: Cluster) -> None:
    first = apply_inference_service(service(cluster, "1"), cluster=cluster.api).service
    first["metadata"]["annotations"][DEPLOYMENT_MODE] = "Knative"

    assert has_all_traffic(first, service(cluster, "1"))
    assert not has_all_traffic(first, service(cluster, "2"))
    first["spec"]["predictor"]["canaryTrafficPercent"] = 20
    assert not has_all_traffic(first, service(cluster, "1"))


def test_applying_the_same_again_changes_nothing(cluster: Cluster) -> None:
    apply_inference_service(service(cluster, "1", exists=False), cluster=cluster.api)
    again = apply_inference_service(service(cluster, "1", exists=False), cluster=cluster.api)

    assert not again.changed
    assert stored(cluster)["metadata"]["generation"] == 1


class Contended:
    """Between each reading and the first ``times`` writings another client writes."""

    def __init__(self, cluster: Cluster, times: int) -> None:
        self.cluster, self.times = cluster, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cluster.api, name)

    def replace(self, resource: Resource, document: Mapping[str, Any], **options: Any) -> Object:
        if self.times:
            self.times -= 1
            edited(self.cluster, timeout=60 + self.times)
        return self.cluster.api.replace(resource, document, **options)


def test_a_conflict_with_another_writer_is_tried_again(cluster: Cluster) -> None:
    apply_inference_service(service(cluster, "1"), cluster=cluster.api)
    apply_inference_service(service(cluster, "2"), cluster=Contended(cluster, 2))

    assert stored(cluster)["spec"]["predictor"]["model"]["storageUri"] == "s3://models/2/"
    assert "timeout" not in stored(cluster)["spec"]["predictor"]


def test_writers_without_end_are_an_error(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    apply_inference_service(service(cluster, "1"), cluster=cluster.api)
    with pytest.raises(ConflictError, match="at each of 5 attempts"):
        apply_inference_service(service(cluster, "2"), cluster=Contended(cluster, 99))


# waiting


def test_a_service_serves_when_the_newest_revision_has_its_share(cluster: Cluster, platform: ServingPlatform) -> None:
    deploy(cluster, platform, "1")
    applied = apply_inference_service(service(cluster, "2"), cluster=cluster.api)
    platform.reconcile()

    serving = wait_until_serving(applied.service, cluster=cluster.api, **QUICK)

    assert (serving.revision, serving.shares) == (R2, {R2: 20, R1: 80})


def test_the_revision_of_an_earlier_predictor_is_not_taken_for_the_new_one(
    cluster: Cluster, platform: ServingPlatform
) -> None:
    deploy(cluster, platform, "1", exists=False)
    changed = service(cluster, "1", exists=False, env={"WORKERS": "0"})
    applied = apply_inference_service(changed, cluster=cluster.api)

    with pytest.raises(DeploymentError, match=f"last seen {R1} as the newest revision, which was made of an earlier"):
        wait_until_serving(applied.service, cluster=cluster.api, timeout=0, interval=0.0)
    platform.reconcile()
    assert wait_until_serving(applied.service, cluster=cluster.api, **QUICK).revision == R2


def test_what_was_last_seen_is_said_when_the_time_is_over(cluster: Cluster, platform: ServingPlatform) -> None:
    deploy(cluster, platform, "1")
    platform.ready = False
    applied = apply_inference_service(service(cluster, "2"), cluster=cluster.api)
    platform.reconcile()
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    waiting = {
        "name": "storage-initializer",
        "state": state,
        "image": "",
        "imageID": "",
        "ready": False,
        "restartCount": 3,
    }
    cluster.write_status(PODS, cluster.namespace, f"{R2}-pod", {"initContainerStatuses": [waiting]})
    seen: list[str] = []

    with pytest.raises(DeploymentError) as failure:
        wait_until_serving(applied.service, cluster=cluster.api, timeout=0, interval=0.0, progress=seen.append)

    assert seen == [f"the newest revision {R2} not ready"]
    assert "timed out after 0 s" in failure.value.message
    assert f"last seen the newest revision {R2} not ready; Ready=Unknown (RevisionMissing" in failure.value.message
    assert f"pod {R2}-pod: storage-initializer CrashLoopBackOff" in failure.value.message


def test_a_service_that_another_client_changes_or_deletes_is_not_waited_for(
    cluster: Cluster, platform: ServingPlatform
) -> None:
    applied = apply_inference_service(service(cluster, "1"), cluster=cluster.api)
    edited(cluster, timeout=7)
    with pytest.raises(PreconditionFailed, match="another client changed"):
        wait_until_serving(applied.service, cluster=cluster.api, **QUICK)

    cluster.api.delete(INFERENCE_SERVICES, cluster.namespace, NAME)
    with pytest.raises(PreconditionFailed, match="there is no InferenceService"):
        wait_until_serving(applied.service, cluster=cluster.api, **QUICK)


def test_a_standard_mode_serves_when_ready_pods_of_it_are_alone(cluster: Cluster) -> None:
    wanted = service(cluster, "1", deployment_mode="RawDeployment", exists=False)
    applied = apply_inference_service(wanted, cluster=cluster.api)
    metadata = applied.service["metadata"]

    def pod(name: str, annotations: Mapping[str, str]) -> None:
        labels = {**metadata["labels"], "serving.kserve.io/inferenceservice": NAME, "component": "predictor"}
        described = {"name": name, "namespace": cluster.namespace, "labels": labels, "annotations": annotations}
        cluster.api.create(PODS, {"metadata": described, "spec": {"containers": [{"name": "c", "image": "i"}]}})
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        cluster.write_status(PODS, cluster.namespace, name, ready)

    def wait() -> None:
        wait_until_serving(applied.service, cluster=cluster.api, timeout=0, interval=0.0)

    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    cluster.write_status(INFERENCE_SERVICES, cluster.namespace, NAME, ready)
    pod("before", {})
    with pytest.raises(DeploymentError, match="no ready pod of it among 0"):
        wait()
    pod("after", metadata["annotations"])
    with pytest.raises(DeploymentError, match="1 pods of what was before"):
        wait()
    with pytest.raises(UsageError, match="no revisions to promote"):
        promote(NAME, cluster.namespace, revision=R1, cluster=cluster.api)


# promoting


def canary(cluster: Cluster, platform: ServingPlatform) -> dict[str, Any]:
    """Version 1 with 80 %, version 2 with 20 %; returns the service from before."""
    deploy(cluster, platform, "1")
    previous = deploy(cluster, platform, "2")
    assert previous is not None
    return previous


@pytest.mark.usefixtures("reconciled")
def test_a_promotion_moves_all_traffic_and_makes_no_revision(cluster: Cluster, platform: ServingPlatform) -> None:
    canary(cluster, platform)
    for _ in range(2):  # again, as after the caller was killed
        serving = promote(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)

        assert (serving.revision, serving.shares) == (R2, {R2: 100})
        assert "canaryTrafficPercent" not in stored(cluster)["spec"]["predictor"]


def test_a_newer_revision_than_the_judged_one_is_not_promoted(cluster: Cluster, platform: ServingPlatform) -> None:
    canary(cluster, platform)
    deploy(cluster, platform, "3")

    with pytest.raises(PreconditionFailed, match=f"is {R3}, not {R2}"):
        promote(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)
    assert traffic_shares(stored(cluster)) == {R3: 20, R1: 80}


def test_a_service_that_was_applied_again_since_is_not_promoted(cluster: Cluster, platform: ServingPlatform) -> None:
    canary(cluster, platform)
    apply_inference_service(service(cluster, "3"), cluster=cluster.api)  # KServe has not looked yet

    with pytest.raises(PreconditionFailed, match="was changed after"):
        promote(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)


@pytest.mark.usefixtures("reconciled")
def test_a_revision_that_comes_up_during_the_promotion_gets_its_percentage_back(
    cluster: Cluster, platform: ServingPlatform
) -> None:
    canary(cluster, platform)
    edited(cluster, timeout=9)  # by a client that leaves trivet's annotation as it is; KServe has not looked yet

    with pytest.raises(PreconditionFailed, match=rf"{R3} of .* came up while {R2} was promoted: it gets 20 %"):
        promote(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)
    assert stored(cluster)["spec"]["predictor"]["canaryTrafficPercent"] == 20


def test_the_percentage_of_another_deployment_stays_when_a_promotion_is_put_back(
    cluster: Cluster, platform: ServingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary(cluster, platform)

    def deployed_meanwhile(seconds: float) -> None:
        apply_inference_service(service(cluster, "3", canary_percent=50), cluster=cluster.api)
        platform.reconcile()

    monkeypatch.setattr(time, "sleep", deployed_meanwhile)
    with pytest.raises(PreconditionFailed, match=rf"{R3} of .* came up while {R2} was promoted\n") as failure:
        promote(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)

    assert "%" not in failure.value.message
    assert stored(cluster)["spec"]["predictor"]["canaryTrafficPercent"] == 50
    assert traffic_shares(stored(cluster)) == {R3: 50, R1: 50}


def test_a_revision_that_is_not_ready_is_not_promoted(cluster: Cluster, platform: ServingPlatform) -> None:
    deploy(cluster, platform, "1")
    platform.ready = False
    apply_inference_service(service(cluster, "2"), cluster=cluster.api)
    platform.reconcile()

    with pytest.raises(PreconditionFailed, match=f"{R2} .* is not ready; {R1} is"):
        promote(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)


# rolling back


@pytest.mark.usefixtures("reconciled")
def test_a_canary_loses_its_traffic_and_then_its_place(cluster: Cluster, platform: ServingPlatform) -> None:
    previous = canary(cluster, platform)
    for _ in range(2):  # again, as after the caller was killed
        serving = roll_back(NAME, cluster.namespace, revision=R2, cluster=cluster.api, previous=previous, **QUICK)

        assert (serving.revision, serving.shares) == (R3, {R3: 100})
        assert read_link(stored(cluster)).model_version == "1"
        assert stored(cluster)["spec"] == previous["spec"]


class Watched:
    """Notes the percentage of each write of the service, and the traffic after it."""

    def __init__(self, cluster: Cluster, platform: ServingPlatform) -> None:
        self.cluster, self.platform = cluster, platform
        self.seen: list[tuple[int | None, dict[str, int]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cluster.api, name)

    def replace(self, resource: Resource, document: Mapping[str, Any], **options: Any) -> Object:
        written = self.cluster.api.replace(resource, document, **options)
        self.platform.reconcile()
        percent = document["spec"]["predictor"].get("canaryTrafficPercent")
        self.seen.append((percent, traffic_shares(stored(self.cluster))))
        return written


@pytest.mark.usefixtures("reconciled")
@pytest.mark.parametrize("promoted", [False, True])
def test_repeating_a_complete_roll_back_moves_no_traffic_in_between(
    cluster: Cluster, platform: ServingPlatform, promoted: bool
) -> None:
    previous = canary(cluster, platform)
    if promoted:
        promote(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)
    watched = Watched(cluster, platform)
    roll_back(NAME, cluster.namespace, revision=R2, cluster=watched, previous=previous, **QUICK)
    assert watched.seen == [(0, {R1: 100}), (0, {R1: 100}), (None, {R3: 100})]
    watched.seen.clear()

    serving = roll_back(NAME, cluster.namespace, revision=R2, cluster=watched, previous=previous, **QUICK)

    assert serving.shares == {R3: 100}
    assert watched.seen == []


@pytest.mark.usefixtures("reconciled")
@pytest.mark.parametrize("writes", [1, 2])
def test_a_roll_back_that_was_killed_is_completed_without_traffic_for_the_bad_revision(
    cluster: Cluster, platform: ServingPlatform, writes: int
) -> None:
    class Killed(BaseException):
        pass

    class Dying(Watched):
        def replace(self, resource: Resource, document: Mapping[str, Any], **options: Any) -> Object:
            written = super().replace(resource, document, **options)
            if len(self.seen) == writes:
                raise Killed
            return written

    previous = canary(cluster, platform)
    with pytest.raises(Killed):
        roll_back(NAME, cluster.namespace, revision=R2, cluster=Dying(cluster, platform), previous=previous, **QUICK)
    watched = Watched(cluster, platform)

    serving = roll_back(NAME, cluster.namespace, revision=R2, cluster=watched, previous=previous, **QUICK)

    assert serving.shares == {R3: 100}
    assert all(R2 not in shares for _, shares in watched.seen)


@pytest.mark.usefixtures("reconciled")
def test_without_the_service_from_before_the_traffic_moves_alone(cluster: Cluster, platform: ServingPlatform) -> None:
    canary(cluster, platform)

    serving = roll_back(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)

    assert serving.shares == {R1: 100}
    assert read_link(stored(cluster)).model_version == "2"


@pytest.mark.usefixtures("reconciled")
def test_the_bad_revision_answers_nobody_while_the_earlier_one_is_made_again(
    cluster: Cluster, platform: ServingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    previous = canary(cluster, platform)
    promote(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)
    seen: list[dict[str, int]] = []

    def look(seconds: float) -> None:
        platform.reconcile()
        seen.append(traffic_shares(stored(cluster)))

    monkeypatch.setattr(time, "sleep", look)
    roll_back(NAME, cluster.namespace, revision=R2, cluster=cluster.api, previous=previous, **QUICK)

    assert seen[0] == {R1: 100}
    assert {R2: 100} not in seen
    assert seen[-1] == {R3: 100}


@pytest.mark.usefixtures("reconciled")
def test_an_earlier_revision_without_pods_is_deployed_again(cluster: Cluster, platform: ServingPlatform) -> None:
    previous = canary(cluster, platform)
    promote(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)
    platform.scale_to_zero(1)
    with pytest.raises(UsageError, match="no earlier revision whose pods run"):
        roll_back(NAME, cluster.namespace, revision=R2, cluster=cluster.api, **QUICK)

    serving = roll_back(NAME, cluster.namespace, revision=R2, cluster=cluster.api, previous=previous, **QUICK)

    assert serving.shares == {R3: 100}


@pytest.mark.usefixtures("reconciled")
def test_a_bad_change_of_settings_is_rolled_back(cluster: Cluster, platform: ServingPlatform) -> None:
    deploy(cluster, platform, "1", exists=False)
    previous = deploy(cluster, platform, "1", exists=False, env={"WORKERS": "64"}, cpu_target=None)

    serving = roll_back(NAME, cluster.namespace, revision=R2, cluster=cluster.api, previous=previous, **QUICK)

    assert serving.revision == R3
    assert "env" not in stored(cluster)["spec"]["predictor"]["model"]
    assert stored(cluster)["metadata"]["annotations"]["autoscaling.knative.dev/class"] == "hpa.autoscaling.knative.dev"


def test_a_newer_revision_is_not_rolled_back_in_place_of_the_judged_one(
    cluster: Cluster, platform: ServingPlatform
) -> None:
    previous = canary(cluster, platform)
    deploy(cluster, platform, "3")

    with pytest.raises(PreconditionFailed, match=f"is {R3}, not {R2}"):
        roll_back(NAME, cluster.namespace, revision=R2, cluster=cluster.api, previous=previous, **QUICK)


# the API server itself


@pytest.mark.cluster
def test_what_the_api_server_refuses_is_said_with_the_remedy(real: Path) -> None:
    cluster = of_api_server(real)
    reader = connect(kubeconfig=real, context="reader")
    with pytest.raises(KubernetesError, match="HTTP 403") as refused:
        apply_inference_service(service(cluster, "1"), cluster=reader)
    assert "auth can-i" in refused.value.remedy

    misspelt = service(cluster, "1")
    misspelt["spec"]["predictor"]["minReplica"] = 1
    with pytest.raises(KubernetesError, match="minReplica"):
        apply_inference_service(misspelt, cluster=cluster.api)

    with pytest.raises(KubernetesError, match="HTTP 404"):
        cluster.api.get(Resource("example.com", "v1", "nothings", "Nothing"), cluster.namespace, "x")
    with pytest.raises(UsageError, match="context 'nobody'"):
        connect(kubeconfig=real, context="nobody")


def test_an_api_server_that_is_away_is_named_with_the_remedy(tmp_path: Path) -> None:
    user = '{"name": "u", "user": {"token": "t"}}'
    clusters = '[{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}]'
    contexts = '[{"name": "x", "context": {"cluster": "c", "user": "u"}}]'
    config = tmp_path / "config"
    config.write_text(f'{{"clusters": {clusters}, "users": [{user}], "contexts": {contexts}, "current-context": "x"}}')

    with pytest.raises(KubernetesError, match="not reachable") as failure:
        connect(kubeconfig=config).get(INFERENCE_SERVICES, "ml", "x")
    assert "kubeconfig" in failure.value.remedy


def test_the_extra_is_named_when_the_client_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(UsageError) as refusal:
        connect()
    assert "trivet[kubernetes]" in refusal.value.remedy


@pytest.mark.parametrize(("release", "refused"), [("26.1.0", True), ("29.0.0", True), ("30.1.0", False)])
def test_a_client_that_is_too_old_is_refused_before_anything_is_asked(
    release: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import kubernetes

    monkeypatch.setattr(kubernetes, "__version__", release)
    with pytest.raises(UsageError) as failure:
        connect(kubeconfig=tmp_path / "none")
    assert (f"Python client is {release}, and 30.1 is the oldest" in failure.value.message) == refused
    assert ("trivet[kubernetes]" in failure.value.remedy) == refused
