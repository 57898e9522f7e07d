"""On a kind cluster: a canary from deployment to promotion, and one to rollback, without a hand, while the judge's pod is killed at random.

It needs the image source `build`: no registry has the image trivet/operations."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from trivet.authoring import DEFAULT_ROWS, ModelMaker, ServableModel
from trivet.integration import build_inference_service, connect, v2_request
from trivet.integration.deployment import RegistryNames
from trivet.integration.inference_service import MODEL_VERSION
from trivet.integration.kubernetes_api import INFERENCE_SERVICES, LEASES, KubernetesApi
from trivet.integration.rollout import newest_revision, traffic_shares
from trivet.operations.deploying import deploy
from trivet.operations.lease import lease_name, record_of
from trivet.operations.manifests import CONTAINER, KNOWN_FILE, judge_job
from trivet.operations.rbac import canary_rbac
from trivet.provision.access import ClusterAccess
from trivet.provision.images.build import build
from trivet.provision.images.operations import operations_image
from trivet.provision.images.recipes import load_images
from trivet.provision.kind.up import ImageSource, up
from trivet.settings import load_settings
from trivet.stacks.read import load_stack
from trivet.targets.cluster.session import ClusterSession
from trivet.targets.kind import kind_target

pytestmark = pytest.mark.catalogue

STACK = "2024.11-fixed"
PROMETHEUS = "http://prometheus.trivet-platform.svc.cluster.local:9090"
RATE = 20.0
INTERVAL = 10
LIMITS = {"burst_size": 1, "min_seconds": 180, "warm_up": 30, "deadline": 1800}
"""Shorter than in production, and long enough for several kills."""
KNOWN_ROWS = [{"a": (i - 10) / 5, "b": (i % 7 - 3) / 3, "c": (i % 3 - 1) / 2} for i in range(20)]
FAILED = {"promotion": [], "errors": ["errors"], "wrong-values": ["values"]}
PATIENT = 2400.0
"""Seconds until a judgement must be over."""


@pytest.fixture(scope="module")
def access() -> ClusterAccess:
    """The stack's cluster, whose set of images has trivet's own."""
    settings = load_settings(Path.cwd())
    assert settings.images == "build", "no registry has the image trivet/operations: set TRIVET_IMAGES=build"
    stack = load_stack(STACK)
    build(load_images(stack), only=[operations_image()])
    return up(stack, lambda event: None, ImageSource(kind=settings.images, mirror=settings.mirror))


@pytest.fixture(scope="module")
def session(access: ClusterAccess) -> Iterator[ClusterSession]:
    settings = load_settings(Path.cwd())
    with kind_target(settings.images, settings.mirror).start(load_stack(STACK), lambda event: None) as running:
        yield running


class Rehearsal:
    """One service in the session's namespace, its judge, and what happened."""

    def __init__(self, name: str, session: ClusterSession, access: ClusterAccess) -> None:
        self.name = name
        self.session = session
        self.namespace = session.client("cluster").namespace
        self.kubectl = access.kubectl
        self.api: KubernetesApi = connect(kubeconfig=access.kubectl.kubeconfig, context=access.kubectl.context)
        self.models = ModelMaker(session.client("trainer"), session.client("tracking"))
        self.kills: list[float] = []

    def deploy(self, model: ServableModel) -> str:
        """Deploy a model, and return its revision."""
        document = build_inference_service(
            name=self.name,
            namespace=self.namespace,
            storage_uri=model.storage_uri,
            run_id=model.run_id,
            pipeline="rehearsal",
            model_name=model.registered,
            model_version=model.version,
            exists=True,
            min_replicas=1,
            max_replicas=1,
            cpu_target=None,
        )
        tracking = self.session.client("tracking")
        return deploy(document, cluster=self.api, tracking=tracking, registry=RegistryNames()).revision

    def start_judge(self, known: Mapping[str, Any]) -> str:
        """Apply the printed permissions and a ConfigMap with a known request, start the Job, and return its name."""
        config_map: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{self.name}-known", "namespace": self.namespace},
            "data": {KNOWN_FILE: json.dumps([known])},
        }
        for document in (*canary_rbac(self.name, self.namespace), config_map):
            self.kubectl.run("apply", "-f", "-", stdin=json.dumps(document))
        limits = [word for name, value in LIMITS.items() for word in ("--limit", f"{name}={value}")]
        job = judge_job(
            self.name,
            self.namespace,
            image=str(operations_image().reference),
            arguments=["--prometheus", PROMETHEUS, "--interval", str(INTERVAL), *limits],
            known_config_map=config_map["metadata"]["name"],
        )
        created = self.kubectl.run("create", "-o", "json", "-f", "-", stdin=json.dumps(job))
        return str(json.loads(created)["metadata"]["name"])

    def judged(self, job: str) -> Mapping[str, Any]:
        """The Job when it is over; until then its pod is killed again and again, at random moments, without a grace period."""
        moments = random.Random(14)
        deadline = time.monotonic() + PATIENT
        next_kill = time.monotonic() + moments.uniform(5, 15)
        while time.monotonic() < deadline:
            found = self.kubectl.get("job", job, namespace=self.namespace) or {}
            if any(one["status"] == "True" for one in (found.get("status") or {}).get("conditions") or ()):
                return found
            # A judge that has acted only ends, and its exit code would go with its pod.
            if time.monotonic() >= next_kill and not self.record().get("acted"):
                for pod in self.running(job):
                    self.kubectl.run("delete", "pod", pod, "-n", self.namespace, "--grace-period=0", "--force")
                    self.kills.append(time.time())
                next_kill = time.monotonic() + moments.uniform(10, 60)
            time.sleep(1)
        pytest.fail(f"the job {job} is not over after {PATIENT:g} s; record: {self.record()}")

    def running(self, job: str) -> Sequence[str]:
        """The names of the Job's pods whose container runs."""
        pods = self.kubectl.objects("pods", namespace=self.namespace, selector=f"job-name={job}")
        return [pod["metadata"]["name"] for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]

    def record(self) -> Mapping[str, Any]:
        """What the judge saved."""
        return record_of(self.api.get(LEASES, self.namespace, lease_name(self.name)))

    def service(self) -> Mapping[str, Any]:
        """The service as it is."""
        found = self.api.get(INFERENCE_SERVICES, self.namespace, self.name)
        assert found is not None
        return found

    def exit_codes(self, job: str) -> list[int]:
        """The exit codes of the judges that ended by themselves."""
        pods = self.kubectl.objects("pods", namespace=self.namespace, selector=f"job-name={job}")
        return [
            container["state"]["terminated"]["exitCode"]
            for pod in pods
            for container in (pod.get("status") or {}).get("containerStatuses") or ()
            if container["name"] == CONTAINER and "terminated" in container["state"]
        ]


@pytest.mark.parametrize(
    ("name", "variation", "decision", "code", "kills"),
    # A canary of which every request fails, or is answered wrongly, is rolled back within a minute.
    [
        ("promotion", {}, "PROMOTE", 0, 3),
        ("errors", {"predict_fails": True}, "ROLL_BACK", 1, 1),
        ("wrong-values", {"label_offset": 10}, "ROLL_BACK", 1, 1),
    ],
    ids=["promotion", "errors", "wrong-values"],
)
def test_a_canary_is_decided_without_a_hand_while_its_judge_is_killed(
    session: ClusterSession,
    access: ClusterAccess,
    name: str,
    variation: Mapping[str, Any],
    decision: str,
    code: int,
    kills: int,
) -> None:
    rehearsal = Rehearsal(f"rehearsal-{name}", session, access)
    stable, canary = rehearsal.models.make("stable model"), rehearsal.models.make(f"canary {name}", **variation)
    answers = session.client("trainer").predict(f"models:/{stable.registered}/{stable.version}", KNOWN_ROWS)
    known = {"request": v2_request(None, KNOWN_ROWS), "answers": list(answers)}
    try:
        rehearsal.deploy(stable)
        with session.client("traffic").background(rehearsal.name, v2_request(None, DEFAULT_ROWS), rate=RATE):
            revision = rehearsal.deploy(canary)
            job = rehearsal.start_judge(known)
            ended = rehearsal.judged(job)
        record, service = rehearsal.record(), rehearsal.service()
        print(f"{name}: {record['windows']} windows, {len(rehearsal.kills)} kills, {record['reason']}")

        assert len(rehearsal.kills) >= kills
        assert record["judge"]["judgement"]["failed"] == FAILED[name]
        assert (record["decision"], record["acted"], record["canary"]) == (decision, True, revision)
        assert code in rehearsal.exit_codes(job)
        complete = {one["type"]: one["status"] for one in ended["status"]["conditions"]}
        assert complete.get("Complete" if code == 0 else "Failed") == "True"
        serving = canary if code == 0 else stable
        assert service["metadata"]["labels"][MODEL_VERSION] == serving.version
        assert traffic_shares(service) == {newest_revision(service): 100}
    finally:
        session.client("cluster").delete("inferenceservice", rehearsal.name)
