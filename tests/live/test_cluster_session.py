"""A session on a real cluster: its clients, its clean-up, and an account with only the printed permissions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from contract_examples.live import served_model

from trivet.errors import PlatformError, UsageError
from trivet.host.journal import clean, leftovers
from trivet.host.kubectl import Kubectl
from trivet.integration import TrackingError, read_signature, v2_request, v2_values
from trivet.model import feature
from trivet.model.redaction import redact
from trivet.model.settings import Existing
from trivet.provision.access import ClusterAccess
from trivet.provision.kind.up import ImageSource, up
from trivet.settings import load_settings
from trivet.stacks.read import load_stack
from trivet.targets.cluster.session import ClusterSession
from trivet.targets.cluster.target import ClusterTarget
from trivet.targets.existing.rbac import manifest_for
from trivet.targets.existing.target import existing_target
from trivet.targets.kind import kind_target

pytestmark = pytest.mark.cluster

STACK = "2024.11-fixed"
PLANTED = "planted-4711-credential"


@pytest.fixture(scope="module")
def access() -> ClusterAccess:
    settings = load_settings(Path.cwd())
    return up(load_stack(STACK), lambda event: None, ImageSource(kind=settings.images, mirror=settings.mirror))


@pytest.fixture(scope="module")
def target() -> ClusterTarget:
    settings = load_settings(Path.cwd())
    return kind_target(settings.images, settings.mirror)


@pytest.fixture(scope="module")
def session(target: ClusterTarget, access: ClusterAccess) -> Iterator[ClusterSession]:
    with target.start(load_stack(STACK), lambda event: None) as running:
        yield running


def namespaces_of(kubectl: Kubectl, identifier: str) -> list[str]:
    found = kubectl.objects("namespaces", selector=f"trivet.dev/run={identifier}")
    return [one["metadata"]["name"] for one in found if one["status"]["phase"] == "Active"]


def served_equals_trained(session: ClusterSession) -> None:
    handover, signature = session.client("handover"), read_signature(served_model(session).mlmodel)
    assert signature is not None
    rows = [
        {column.name: number if column.type == "long" else number / 3 - 1 for column in signature.columns}
        for number in range(8)
    ]
    answer = session.client("serving").infer(v2_request(signature, rows))
    assert answer.status == 200, answer.body
    assert v2_values(answer.body) == session.client("trainer").predict(
        f"models:/{handover.model.registered_name}/{handover.model.version}", rows
    )


def test_the_model_answers_through_the_ingress_what_the_trainer_says(session: ClusterSession) -> None:
    served_equals_trained(session)
    assert session.client("serving").log(), "the runtime's log can be read"


def test_network_policies_are_found_to_be_enforced_by_trying(session: ClusterSession) -> None:
    assert "a connection between two pods was" in session.features()[feature.NETWORK_POLICY_ENFORCED]


def test_a_directory_of_this_machine_reaches_jobs_in_pods(session: ClusterSession) -> None:
    directory = str(served_model(session).path)
    assert session.client("runtime").call("load", directory=directory)["loaded"]


def test_unknown_fields_are_refused_when_strict_and_dropped_otherwise(session: ClusterSession) -> None:
    cluster = session.client("cluster")
    document = session.service_document("", session.client("handover").storage_uri)
    document["spec"]["predictor"]["containerSpec"] = {"x": 1}
    with pytest.raises(PlatformError, match="containerSpec"):
        cluster.apply(document, dry_run=True)
    assert "containerSpec" not in cluster.apply(document, strict=False, dry_run=True)["spec"]["predictor"]


def test_nothing_outside_the_sessions_namespaces_can_be_changed(session: ClusterSession) -> None:
    with pytest.raises(UsageError, match="it is not a namespace of this session"):
        session.client("cluster").delete("pod", "whatever", namespace="kube-system")


def test_a_planted_credential_is_in_the_cluster_and_not_in_the_evidence(session: ClusterSession) -> None:
    cluster = session.client("cluster")
    say = f"echo password={PLANTED}; sleep 600"
    container = {
        "name": "talker",
        "image": cluster.images["initializer"],
        "command": ["sh", "-c", say],
        "env": [{"name": "DATABASE_PASSWORD", "value": PLANTED}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "talker"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    cluster.apply(pod)
    try:
        deadline = time.monotonic() + 60
        while PLANTED not in cluster.log("talker", "talker") and time.monotonic() < deadline:
            time.sleep(0.5)
        assert PLANTED in cluster.log("talker", "talker"), "the credential must be there to be left out"
        texts = {name: redact(path.read_text()) for name, path in session.documents(everything=True).items()}
    finally:
        cluster.delete("pod", "talker")
    assert "cluster/logs/talker/talker.log" in texts
    assert "cluster/stored/Pod-talker.yaml" in texts
    assert [name for name, text in texts.items() if PLANTED in text] == []


def test_evidence_holds_events_conditions_manifests_and_the_logs_of_every_container(session: ClusterSession) -> None:
    session.client("serving")
    names = set(session.documents(everything=True))
    service = f"InferenceService-{session.service}"
    assert {
        f"cluster/applied/{service}.1.yaml",
        f"cluster/stored/{service}.yaml",
        f"cluster/conditions/{service}.txt",
    } <= names
    assert f"cluster/events/{session.namespaces.serving}.txt" in names
    logs = {name.rpartition("/")[2] for name in names if name.startswith("cluster/logs/recommendation")}
    assert {"storage-initializer.log", "kserve-container.log", "queue-proxy.log"} <= logs


def test_what_a_killed_session_left_is_removed_by_the_next(access: ClusterAccess) -> None:
    program = (
        "import time\nfrom pathlib import Path\n"
        "from trivet.settings import load_settings\nfrom trivet.stacks.read import load_stack\n"
        "from trivet.targets.kind import kind_target\nsettings = load_settings(Path.cwd())\n"
        f"with kind_target(settings.images, settings.mirror).start(load_stack({STACK!r}), lambda event: None) as session:\n"
        "    print(session.namespaces.id, flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        identifier = process.stdout.readline().strip()
        assert len(namespaces_of(access.kubectl, identifier)) == 2
        os.kill(process.pid, signal.SIGKILL)
    (left,) = [one for one in leftovers() if any(identifier in what for what in one.cleanups)]
    assert clean(left) == ""
    assert namespaces_of(access.kubectl, identifier) == []
    assert left.run not in {one.run for one in leftovers()}


# -- the target existing -------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(access: ClusterAccess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Existing]:
    """Two namespaces with the store's credentials, and an account with only the printed permissions."""
    identifier = uuid4().hex[:6]
    pipelines, serving = f"team-pipelines-{identifier}", f"team-models-{identifier}"
    kubectl, store = access.kubectl, access.store
    annotations = {
        "serving.kserve.io/s3-endpoint": store.endpoint.partition("://")[2],
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": store.region,
    }
    documents: list[dict[str, object]] = []
    for name, role in ((pipelines, "pipelines"), (serving, "serving")):
        labels = {"trivet.dev/role": role}
        documents.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        keys = {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}
        metadata = {"name": "store-keys", "namespace": name, "annotations": annotations}
        documents.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys})
    metadata = {"name": "models", "namespace": serving}
    documents.append(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "secrets": [{"name": "store-keys"}]}
    )
    kubectl.apply(
        *documents, *yaml.safe_load_all(manifest_for(Existing(pipeline_namespace=pipelines, serving_namespace=serving)))
    )
    token = kubectl.run("create", "token", "trivet", "-n", pipelines, "--duration=2h").strip()
    config = json.loads(kubectl.run("config", "view", "--raw", "--minify", "-o", "json"))
    cluster = config["clusters"][0]["cluster"]
    kubeconfig = tmp_path_factory.mktemp("existing") / "kubeconfig"
    kubeconfig.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "theirs", "cluster": cluster}],
                "users": [{"name": "trivet", "user": {"token": token}}],
                "contexts": [{"name": "theirs", "context": {"cluster": "theirs", "user": "trivet"}}],
            }
        )
    )
    try:
        yield Existing(
            context="theirs",
            kubeconfig=str(kubeconfig),
            pipeline_namespace=pipelines,
            serving_namespace=serving,
            tracking_uri=access.tracking_uri,
            tracking_url=access.tracking_url,
            artifact_root=store.root,
            store_endpoint=store.endpoint,
            store_secret="store-keys",
            service_account="models",
            ingress=access.ingress,
            trainer_image=access.images["trainer"],
            initializer_image=access.images["initializer"],
            runtime_image=access.images["runtime"],
        )
    finally:
        kubectl.run("delete", "namespace", pipelines, serving, "--wait=false")


def test_an_account_with_the_printed_permissions_runs_a_whole_session(theirs: Existing, access: ClusterAccess) -> None:
    namespace = theirs.serving_namespace
    foreign = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign", "namespace": namespace}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "foreign", "namespace": namespace},
        "spec": {"containers": [{"name": "idle", "image": theirs.initializer_image, "command": ["sleep", "3600"]}]},
    }
    access.kubectl.apply(foreign, pod)
    with existing_target(theirs).start(load_stack(STACK), lambda event: None) as session:
        served_equals_trained(session)
        with pytest.raises(UsageError, match="this session did not create it"):
            session.client("cluster").delete("pod", "foreign")
        identifier, tracking = session.namespaces.id, session.client("tracking")
        registered = session.client("handover").model.registered_name
    with pytest.raises(TrackingError, match=registered):
        tracking.get_registered_model(registered)
    assert access.kubectl.get("pod", "foreign", namespace=namespace) is not None
    deadline = time.monotonic() + 120
    kinds = "inferenceservices,networkpolicies,pods"
    while left := access.kubectl.objects(kinds, namespace=namespace, selector=f"trivet.dev/run={identifier}"):
        assert time.monotonic() < deadline, [one["metadata"]["name"] for one in left]
        time.sleep(2)


def test_a_missing_permission_is_named_before_anything_is_created(theirs: Existing, access: ClusterAccess) -> None:
    forbidden = replace(theirs, serving_namespace="default")
    with (
        pytest.raises(PlatformError, match=r"this account may not .* in namespace default") as caught,
        existing_target(forbidden).start(load_stack(STACK), lambda event: None),
    ):
        pass
    assert "--rbac" in caught.value.remedy
