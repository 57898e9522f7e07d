"""The parts of a session on a cluster that need no cluster."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from trivet.errors import PlatformError, UsageError
from trivet.host.journal import Run
from trivet.host.kubectl import Kubectl
from trivet.model.platform_config import platform_of
from trivet.model.settings import Existing
from trivet.provision.access import ClusterAccess, PipelinesAccess, StoreAccess
from trivet.stacks.read import load_stack
from trivet.targets.cluster.namespaces import Namespaces, make_namespaces
from trivet.targets.cluster.pods import container_state, pod_document
from trivet.targets.cluster.session import ClusterSession
from trivet.targets.cluster.store import ClusterStore
from trivet.targets.cluster.target import ClusterTarget
from trivet.targets.existing.rbac import manifest_for
from trivet.targets.existing.target import REQUIRED, existing_access, existing_target

OURS = Namespaces(id="abc", pipelines="p", serving="s")


def access(**changes: Any) -> ClusterAccess:
    given = {
        "kubectl": Kubectl(context="c", binary="/nothing/kubectl"),
        "ingress": "http://127.0.0.1:1",
        "tracking_uri": "http://mlflow.platform:5000",
        "tracking_url": "",
        "prometheus_url": "",
        "store": StoreAccess(root="s3://mlflow", access_key="key", secret_key="hidden"),
        "images": {},
        "owned": True,
    }
    return ClusterAccess(**{**given, **changes})


def test_the_platform_is_what_the_api_server_says_and_whose_cluster_it_is() -> None:
    described = platform_of(load_stack("current"))
    stated = replace(described, kfp_backend="2.17.0", kfp_stated="2.17.0")
    session = ClusterSession.__new__(ClusterSession)
    session.access = access()
    session._health = {}
    assert session.observed_platform(stated) == stated
    backend = PipelinesAccess(namespace="team", step_image="", url="http://127.0.0.1:9")
    session.access = access(owned=False, pipeline_namespace="p", serving_namespace="s", pipelines=backend)
    session._health = {"tag_name": "2.16.1", "multi_user": True}
    observed = session.observed_platform(stated)
    assert (observed.is_users, observed.tracking_uri) == (True, "http://mlflow.platform:5000")
    assert (observed.kfp_backend, observed.kfp_stated) == ("2.16.1", "2.17.0")
    assert (observed.kfp_namespace, observed.kfp_multi_user) == ("team", True)


def test_a_document_goes_to_the_serving_namespace_with_the_sessions_label() -> None:
    labelled = OURS.labelled({"kind": "Pod", "metadata": {"name": "x", "labels": {"a": "b"}}})
    assert labelled["metadata"] == {"name": "x", "namespace": "s", "labels": {"a": "b", "trivet.dev/run": "abc"}}
    assert OURS.labelled({"metadata": {"namespace": "p"}})["metadata"]["namespace"] == "p"


def test_objects_in_other_namespaces_are_refused() -> None:
    with pytest.raises(UsageError, match="is not a namespace of this session"):
        OURS.labelled({"metadata": {"name": "x", "namespace": "kube-system"}})


def test_the_cleanup_of_namespaces_is_in_the_journal_before_they_are_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    with Run() as run:
        with pytest.raises(PlatformError, match="there is no /nothing/kubectl"):
            make_namespaces(access(), run)
        entries = [json.loads(line) for line in (run.directory / "journal.jsonl").read_text().splitlines()]
    (cleanup,) = [entry for entry in entries if entry["event"] == "cleanup"]
    assert cleanup["command"][:5] == ["/nothing/kubectl", "--context", "c", "delete", "namespace"]
    assert any(part.startswith("trivet.dev/run=") for part in cleanup["command"])


def test_in_a_user_s_namespaces_only_labelled_objects_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    theirs = access(owned=False, pipeline_namespace="teams", serving_namespace="models")
    with Run() as run:
        made = make_namespaces(theirs, run)
        entries = [json.loads(line) for line in (run.directory / "journal.jsonl").read_text().splitlines()]
    assert (made.pipelines, made.serving) == ("teams", "models")
    commands = [entry["command"] for entry in entries if entry["event"] == "cleanup"]
    assert [command[command.index("-n") + 1] for command in commands] == ["teams", "models"]
    assert all(f"trivet.dev/run={made.id}" in command and "namespace" not in command for command in commands)


def test_a_cluster_that_is_not_trivets_needs_both_namespaces() -> None:
    with pytest.raises(ValueError, match="both pipeline_namespace and serving_namespace"):
        access(owned=False)


def test_secrets_of_an_access_are_not_in_its_text() -> None:
    assert "hidden" not in repr(access())


def test_a_job_pod_is_admitted_where_pods_are_restricted() -> None:
    pod = pod_document(
        "x", namespace="n", image="i", labels={}, environment={"A": "b"}, secret="s", pull_policy="IfNotPresent"
    )
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["envFrom"] == [{"secretRef": {"name": "s"}}]
    assert {"name": "A", "value": "b"} in container["env"]


def test_the_state_of_a_container_has_its_reason() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    assert container_state(waiting) == "waiting ImagePullBackOff no such image"
    assert container_state({}) == "unknown"


@pytest.fixture
def store(tmp_path: Path) -> ClusterStore:
    unasked: Any = None
    return ClusterStore(
        artifact_root="s3://mlflow", root="s3://mlflow/t", downloads=tmp_path, store=unasked, initializer=unasked
    )


@pytest.mark.parametrize("uri", ["s3://mlflows/x", "file:///x", "models:/m/1"])
def test_the_store_refuses_uris_of_other_stores(store: ClusterStore, uri: str) -> None:
    with pytest.raises(UsageError, match="not in this store"):
        store.files(uri)


@pytest.mark.parametrize("relative", ["../other", "/etc", "a/../../b"])
def test_the_store_refuses_to_write_outside_the_sessions_part(store: ClusterStore, relative: str) -> None:
    with pytest.raises(UsageError, match="outside the store"):
        store.write(relative, {})


def test_existing_lists_its_missing_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivet.targets.existing.target.contexts", lambda kubeconfig: ["prod", "test"])
    stack = load_stack("2024.11-fixed")
    with pytest.raises(UsageError, match="never uses the current context") as caught:
        existing_access(Existing(), stack)
    assert "prod, test" in caught.value.remedy
    with pytest.raises(UsageError, match="serving_namespace, tracking_uri"):
        existing_access(Existing(context="test", pipeline_namespace="p"), stack)
    whole = Existing(
        context="other",
        pipeline_namespace="p",
        serving_namespace="s",
        tracking_uri="http://m.p:5000",
        artifact_root="s3://b",
        ingress="http://i",
    )
    with pytest.raises(UsageError, match="unknown context of the kubeconfig 'other'"):
        existing_access(whole, stack)


def test_existing_can_be_planned_without_access_to_the_cluster() -> None:
    target: ClusterTarget = existing_target(Existing(context="c", pipeline_namespace="p", serving_namespace="s"))
    lines = target.plan(load_stack("2024.11-fixed"))
    assert "context c: nothing is installed" in lines[0]
    assert "p and s" in lines[1]


def test_a_plan_shows_no_password_of_an_address() -> None:
    settings = Existing(context="c", kfp_url="https://me:hidden@kfp.example.com", kfp_namespace="team")
    plan = "\n".join(existing_target(settings).plan(load_stack("2024.11-fixed")))
    assert "kfp.example.com" in plan
    assert "hidden" not in plan


def test_the_permissions_are_roles_in_the_two_namespaces_and_nothing_on_the_cluster() -> None:
    text = manifest_for(Existing(pipeline_namespace="p", serving_namespace="s"))
    documents = list(yaml.safe_load_all(text))
    assert [(d["kind"], d["metadata"]["namespace"]) for d in documents] == [
        ("ServiceAccount", "p"),
        ("Role", "p"),
        ("RoleBinding", "p"),
        ("Role", "s"),
        ("RoleBinding", "s"),
    ]
    rules = [rule for document in documents if document["kind"] == "Role" for rule in document["rules"]]
    assert not any("*" in rule["verbs"] + rule["resources"] for rule in rules)
    assert not any("secrets" in rule["resources"] for rule in rules)
    assert "&id" not in text


def test_one_namespace_for_both_gets_one_role() -> None:
    documents = list(yaml.safe_load_all(manifest_for(Existing(pipeline_namespace="n", serving_namespace="n"))))
    assert [document["kind"] for document in documents] == ["ServiceAccount", "Role", "RoleBinding"]


def test_runs_of_kfp_are_read_and_their_workflows_deleted_in_their_namespace_only() -> None:
    settings = Existing(pipeline_namespace="p", serving_namespace="s", kfp_url="http://kfp", kfp_namespace="team")
    roles = [one for one in yaml.safe_load_all(manifest_for(settings)) if one["kind"] == "Role"]
    (team,) = (role for role in roles if role["metadata"]["namespace"] == "team")
    assert {resource: rule["verbs"] for rule in team["rules"] for resource in rule["resources"]} == {
        "pods": ["get", "list"],
        "pods/log": ["get"],
        "workflows": ["list", "delete"],
    }
    others = [rule["resources"] for role in roles if role is not team for rule in role["rules"]]
    assert ["workflows"] not in others


@pytest.mark.parametrize(
    ("settings", "absent"),
    [({"kfp_url": "http://kfp"}, "kfp_namespace"), ({"kfp_namespace": "team"}, "kfp_url")],
)
def test_an_address_of_kfp_without_the_namespace_of_its_runs_is_wrong_usage(
    settings: dict[str, str], absent: str
) -> None:
    whole = Existing(**dict.fromkeys(REQUIRED, "x"), **settings)
    with pytest.raises(UsageError, match=f"and no {absent}"):
        existing_access(whole, load_stack("2024.11-fixed"))
