"""The fault injector: each change is declared, is in the journal before it is made, and is reverted exactly.

kubectl is a fake, whose cluster is a directory.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import kubectl as fake_kubectl
from fakes.kubectl_program import kubectl_program

from trivet.errors import PlatformError, UsageError
from trivet.host import journal
from trivet.host.journal import Run, clean, leftovers
from trivet.host.kubectl import Kubectl, KubectlError
from trivet.model.fault import SERVING, AffectedObject, Verb
from trivet.provision.access import ClusterAccess, StoreAccess
from trivet.targets.cluster import lease
from trivet.targets.cluster.fault_injector import ClusterFaults
from trivet.targets.cluster.lease import NAME, expired
from trivet.targets.cluster.namespaces import Namespaces
from trivet.toolkit.merge_patch import holds, reverse

DEPLOYMENT: dict[str, Any] = {
    "kind": "Deployment",
    "metadata": {"name": "features", "namespace": "serving", "labels": {"app": "features"}},
    "spec": {
        "replicas": 2,
        "template": {"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}},
    },
}
POLICY: dict[str, Any] = {"kind": "NetworkPolicy", "metadata": {"name": "cut", "namespace": SERVING}, "spec": {}}
LEASE = f"serving/lease/{NAME}.json"
AFFECTED = (
    AffectedObject(verb=Verb.PATCH, kind="deployment", name="features", namespace=SERVING, count=2),
    AffectedObject(verb=Verb.CREATE, kind="networkpolicy", name="cut", namespace=SERVING),
    AffectedObject(verb=Verb.REPLACE, kind="pod", name="features-*", namespace=SERVING),
)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a cluster with one Deployment; the cache is elsewhere too."""
    root = tmp_path / "cluster"
    monkeypatch.setenv("FAKE_CLUSTER", str(root))
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fake_kubectl, "ROOT", root)
    fake_kubectl.store(fake_kubectl.place("deployment", "features", "serving"), DEPLOYMENT)
    return root


def kubectl(folder: Path) -> Kubectl:
    return Kubectl(context="fake", binary=kubectl_program(folder))


def faults(run: Run, folder: Path, identifier: str = "abcd1234") -> ClusterFaults:
    access = ClusterAccess(
        kubectl=kubectl(folder),
        ingress="",
        tracking_uri="",
        tracking_url="",
        prometheus_url="",
        store=StoreAccess(root="s3://x"),
        images={},
        owned=False,
        pipeline_namespace="pipelines",
        serving_namespace="serving",
    )
    return ClusterFaults(access, Namespaces(id=identifier, pipelines="pipelines", serving="serving"), run)


def everything(root: Path) -> dict[str, Any]:
    return {str(path.relative_to(root)): json.loads(path.read_text()) for path in root.rglob("*.json")}


def test_a_crash_is_a_declared_change(cluster: Path, tmp_path: Path) -> None:
    with Run() as run:
        injector = faults(run, tmp_path).injector(AFFECTED)
        injector.crash("features-1", "a", namespace=SERVING)
        assert "features-1" in injector.changed_objects[-1]
        with pytest.raises(UsageError, match="more objects"):
            injector.crash("features-2", "a", namespace=SERVING)
        with pytest.raises(UsageError, match="does not declare that it would replace pod/other-1"):
            injector.crash("other-1", "a", namespace=SERVING)
        assert injector.revert() == ()


def test_a_revert_restores_every_changed_object(cluster: Path, tmp_path: Path) -> None:
    before = everything(cluster)
    with Run() as run:
        injector = faults(run, tmp_path).injector(AFFECTED)
        injector.create(POLICY)
        injector.patch("deployment", "features", {"spec": {"replicas": 0, "paused": True}}, namespace=SERVING)
        injector.patch("deployment", "features", {"metadata": {"labels": {"app": None, "new": "x"}}}, namespace=SERVING)
        changed = everything(cluster)
        assert changed["serving/deployment/features.json"]["spec"]["replicas"] == 0
        assert changed["serving/networkpolicy/cut.json"]["metadata"]["labels"] == {"trivet.dev/run": "abcd1234"}
        assert injector.revert() == ()
        assert everything(cluster) == before
    assert not leftovers()


def test_custom_changes_are_reverted_and_a_failed_revert_is_reported(cluster: Path, tmp_path: Path) -> None:
    alias = ["1"]

    def away() -> None:
        raise PlatformError("MLflow does not answer")

    with Run() as run:
        injector = faults(run, tmp_path).injector(())
        injector.change("alias → 2", lambda: alias.append("2"), lambda: alias.remove("2"))
        assert alias == ["1", "2"]
        assert injector.changed_objects == ("alias → 2",)
        assert injector.revert() == ()
        assert alias == ["1"]
        injector.change("alias → 3", lambda: None, away)
        assert injector.revert() == (("alias → 3: MLflow does not answer", ""),)


def test_a_failed_revert_does_not_prevent_the_others(cluster: Path, tmp_path: Path) -> None:
    def broken() -> None:
        raise ValueError("no such alias")

    before = everything(cluster)
    with Run() as run:
        injector = faults(run, tmp_path).injector(AFFECTED)
        injector.patch("deployment", "features", {"spec": {"replicas": 0}}, namespace=SERVING)
        injector.change("move the alias", lambda: None, broken)
        assert injector.revert() == (("move the alias: ValueError: no such alias", ""),)
    assert everything(cluster) == before


def test_the_next_run_reverts_the_faults_of_a_killed_run_from_its_journal(cluster: Path, tmp_path: Path) -> None:
    before = everything(cluster)
    run = Run()
    run.__enter__()
    injector = faults(run, tmp_path).injector(AFFECTED)
    injector.create(POLICY)
    injector.patch("deployment", "features", {"spec": {"replicas": 0}}, namespace=SERVING)
    run._lock.release()
    (left,) = leftovers()
    assert "a fault: patch deployment/features in serving" in str(left)
    assert clean(left) == ""
    assert everything(cluster) == before
    assert not leftovers()


def test_a_reverted_fault_is_not_reverted_again_by_a_later_clean_up(cluster: Path, tmp_path: Path) -> None:
    run = Run()
    run.__enter__()
    injector = faults(run, tmp_path).injector(AFFECTED)
    injector.patch("deployment", "features", {"spec": {"replicas": 0}}, namespace=SERVING)
    injector.revert()
    theirs = {**DEPLOYMENT, "spec": {"replicas": 7}}
    fake_kubectl.store(fake_kubectl.place("deployment", "features", "serving"), theirs)
    run._lock.release()
    (left,) = leftovers()
    clean(left)
    assert everything(cluster)["serving/deployment/features.json"] == theirs


def test_a_change_that_cannot_be_reverted_is_reported_with_the_command(cluster: Path, tmp_path: Path) -> None:
    with Run() as run:
        injector = faults(run, tmp_path).injector(AFFECTED)
        injector.patch("deployment", "features", {"spec": {"replicas": 0}}, namespace=SERVING)
        fake_kubectl.place("deployment", "features", "serving").unlink()
        ((why, command),) = injector.revert()
        assert "deployment features no longer exists" in why
        assert "patch deployment features -n serving --type=merge" in command
    assert leftovers(), "the journal stays, for the next run to try again"


def test_an_undeclared_change_is_refused_and_changes_nothing(cluster: Path, tmp_path: Path) -> None:
    before = everything(cluster)
    with Run() as run:
        injector = faults(run, tmp_path).injector(AFFECTED[:1])
        with pytest.raises(UsageError, match="does not declare that it would create NetworkPolicy/cut"):
            injector.create(POLICY)
        with pytest.raises(UsageError, match="no fault may change the namespace"):
            faults(run, tmp_path).injector(
                [AffectedObject(verb=Verb.PATCH, kind="deployment", name="x", namespace="platform")]
            ).patch("deployment", "x", {}, namespace="platform")
        for _ in range(2):
            injector.patch("deployment", "features", {"spec": {"replicas": 2}}, namespace=SERVING)
        with pytest.raises(UsageError, match="more objects than it declares"):
            injector.patch("deployment", "features", {"spec": {"replicas": 2}}, namespace=SERVING)
    assert everything(cluster) == before


def test_an_existing_object_is_not_treated_as_the_fault_s(cluster: Path, tmp_path: Path) -> None:
    path = fake_kubectl.place("networkpolicy", "cut", "serving")
    fake_kubectl.store(path, POLICY)
    with Run() as run:
        injector = faults(run, tmp_path).injector(AFFECTED)
        with pytest.raises(UsageError, match="NetworkPolicy cut for the fault: it already exists in serving"):
            injector.create(POLICY)
        assert injector.revert() == ()
    assert path.exists()


def test_a_pod_without_a_controller_is_not_deleted(cluster: Path, tmp_path: Path) -> None:
    pod = {"kind": "Pod", "metadata": {"name": "features-x", "namespace": "serving"}}
    fake_kubectl.store(fake_kubectl.place("pod", "features-x", "serving"), pod)
    owned = {"kind": "Pod", "metadata": {"name": "features-y", "ownerReferences": [{"controller": True}]}}
    fake_kubectl.store(fake_kubectl.place("pod", "features-y", "serving"), owned)
    with Run() as run:
        with pytest.raises(UsageError, match="has no controller that creates it again"):
            faults(run, tmp_path).injector(AFFECTED).delete_pod("features-x", namespace=SERVING)
        faults(run, tmp_path).injector(AFFECTED).delete_pod("features-y", namespace=SERVING)
    assert [path for path in everything(cluster) if "/pod/" in path] == ["serving/pod/features-x.json"]


def test_a_patch_of_a_secret_is_stored_in_a_file_that_only_this_user_can_read(cluster: Path, tmp_path: Path) -> None:
    with Run() as run:
        injector = faults(run, tmp_path).injector(AFFECTED)
        injector.patch("deployment", "features", {"spec": {"replicas": 0}}, namespace=SERVING)
        (kept,) = run.directory.glob("revert-*.json")
        assert kept.stat().st_mode & 0o077 == 0
        injector.revert()


def test_one_run_at_a_time_holds_the_lease_and_releases_it(cluster: Path, tmp_path: Path) -> None:
    lease = fake_kubectl.place("lease", NAME, "serving")
    with Run() as run, Run() as other:
        with faults(run, tmp_path, "first").lease():
            assert lease.exists()
            with pytest.raises(UsageError, match="first holds the lease"), faults(other, tmp_path, "second").lease():
                pass
            assert lease.exists(), "who was refused removes nothing"
        assert not lease.exists()


def test_a_run_that_waits_gets_the_lease_after_its_release(cluster: Path, tmp_path: Path) -> None:
    with Run() as run, Run() as other:
        first = faults(run, tmp_path, "first").lease()
        first.__enter__()
        threading.Timer(0.3, first.__exit__, (None, None, None)).start()
        with faults(other, tmp_path, "second").lease(wait=20.0):
            assert everything(cluster)[f"serving/lease/{NAME}.json"]["spec"]["holderIdentity"] == "second"


def test_a_lease_that_is_released_before_it_is_read_is_acquired(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Kubectl.get
    with Run() as run, Run() as other:
        first = faults(run, tmp_path, "first").lease()
        first.__enter__()

        def given_back(self: Kubectl, *arguments: Any, **more: Any) -> Any:
            first.__exit__(None, None, None)
            monkeypatch.setattr(Kubectl, "get", look)
            return look(self, *arguments, **more)

        monkeypatch.setattr(Kubectl, "get", given_back)
        with faults(other, tmp_path, "second").lease():
            assert everything(cluster)[f"serving/lease/{NAME}.json"]["spec"]["holderIdentity"] == "second"


def test_an_interrupt_during_the_acquisition_releases_the_lease(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = lease._acquire

    def interrupted(*arguments: Any) -> None:
        taken(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(lease, "_acquire", interrupted)
    before = everything(cluster)
    with Run() as run, suppress(KeyboardInterrupt), faults(run, tmp_path).lease():
        pytest.fail("the block is not entered")
    assert everything(cluster) == before
    assert leftovers() == []


def test_a_lease_that_is_not_renewed_is_acquired_by_another_run(cluster: Path, tmp_path: Path) -> None:
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    dead = {"kind": "Lease", "metadata": {"name": NAME, "resourceVersion": "7"}, "spec": {"renewTime": long_ago}}
    fake_kubectl.store(fake_kubectl.place("lease", NAME, "serving"), dead)
    with Run() as run, faults(run, tmp_path, "next").lease():
        assert everything(cluster)[f"serving/lease/{NAME}.json"]["spec"]["holderIdentity"] == "next"


def test_of_two_runs_that_find_a_lease_expired_one_is_refused_by_the_name_of_the_other(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Kubectl.get
    long_ago = "2020-01-01T00:00:00.000000Z"
    dead = {"kind": "Lease", "metadata": {"name": NAME, "resourceVersion": "7"}, "spec": {"renewTime": long_ago}}
    fake_kubectl.store(fake_kubectl.place("lease", NAME, "serving"), dead)
    with Run() as run, Run() as other, ExitStack() as stack:

        def overtaken(self: Kubectl, *arguments: Any, **more: Any) -> Any:
            monkeypatch.setattr(Kubectl, "get", look)
            found = look(self, *arguments, **more)
            stack.enter_context(faults(run, tmp_path, "first").lease())
            return found

        monkeypatch.setattr(Kubectl, "get", overtaken)
        with pytest.raises(UsageError, match="first holds the lease"), faults(other, tmp_path, "second").lease():
            pass
        assert everything(cluster)[f"serving/lease/{NAME}.json"]["spec"]["holderIdentity"] == "first"


def test_a_renewal_keeps_the_lease(cluster: Path, tmp_path: Path) -> None:
    with Run() as run, faults(run, tmp_path).lease() as held:
        first = everything(cluster)[LEASE]["spec"]
        held.renew()
        second = everything(cluster)[LEASE]["spec"]
        assert second["renewTime"] > first["renewTime"]
        assert {**second, "renewTime": ""} == {**first, "renewTime": ""}
        assert held.lost == ""


def test_verifying_a_lease_changes_nothing_while_it_is_held_and_notices_that_it_is_lost(
    cluster: Path, tmp_path: Path
) -> None:
    with Run() as run, faults(run, tmp_path, "first").lease() as held:
        stored = everything(cluster)
        held.verify()
        assert (everything(cluster), held.lost) == (stored, "")
        lease = stored[LEASE]
        theirs = {**lease, "spec": {**lease["spec"], "holderIdentity": "second"}}
        fake_kubectl.store(cluster / LEASE, theirs)
        held.verify()
        assert held.lost == f"this run lost the lease serving/{NAME}: second holds it"
        (cluster / LEASE).unlink()
        held.verify()
        assert held.lost == f"this run lost the lease serving/{NAME}: it no longer exists"


def test_a_renewal_notices_that_another_run_holds_the_lease_and_leaves_it_to_that_run(
    cluster: Path, tmp_path: Path
) -> None:
    with Run() as run:
        with faults(run, tmp_path, "first").lease() as held:
            stored = everything(cluster)[LEASE]
            stored["metadata"]["labels"] = {"trivet.dev/run": "second"}
            theirs = {**stored, "spec": {**stored["spec"], "holderIdentity": "second"}}
            fake_kubectl.store(cluster / LEASE, theirs)
            held.renew()
            assert held.lost == f"this run lost the lease serving/{NAME}: second holds it"
        assert everything(cluster)[LEASE] == theirs


def test_a_renewal_notices_that_the_lease_was_deleted(cluster: Path, tmp_path: Path) -> None:
    with Run() as run, faults(run, tmp_path).lease() as held:
        (cluster / LEASE).unlink()
        held.renew()
        assert held.lost == f"this run lost the lease serving/{NAME}: it no longer exists"


def test_a_renewal_does_not_overwrite_a_run_that_acquires_the_lease_at_that_moment(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Kubectl.get

    def overtaken(self: Kubectl, *arguments: Any, **more: Any) -> Any:
        found = look(self, *arguments, **more)
        assert found
        stored = {**found, "metadata": {**found["metadata"], "resourceVersion": "8"}}
        fake_kubectl.store(cluster / LEASE, {**stored, "spec": {**stored["spec"], "holderIdentity": "second"}})
        return found

    with Run() as run, faults(run, tmp_path, "first").lease() as held:
        monkeypatch.setattr(Kubectl, "get", overtaken)
        with pytest.raises(KubectlError, match="Conflict"):
            held.renew()
        monkeypatch.setattr(Kubectl, "get", look)
        held.renew()
        assert "second holds it" in held.lost


def test_a_lost_lease_is_renewed_no_longer(cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_INTERVAL", 0.01)
    with Run() as run, faults(run, tmp_path).lease() as held:
        (cluster / LEASE).unlink()
        held._thread.join(5)
        assert not held._thread.is_alive()
        assert held.lost


def test_a_lease_that_other_runs_change_at_every_attempt_is_given_up(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "POLL", 0.0)
    monkeypatch.setattr(Kubectl, "get", lambda *_, **__: None)
    fake_kubectl.store(cluster / LEASE, {"kind": "Lease", "metadata": {"name": NAME}})
    with (
        Run() as run,
        pytest.raises(PlatformError, match="changed it during each of 5 attempts"),
        faults(run, tmp_path).lease(),
    ):
        pass


def test_a_lease_that_cannot_be_released_is_an_error_with_a_remedy_unless_the_block_raised(
    cluster: Path, tmp_path: Path
) -> None:
    def use(run: Run, ending: type[BaseException] | None = None) -> None:
        (cluster / LEASE).unlink(missing_ok=True)
        with faults(run, tmp_path).lease():
            (tmp_path / "kubectl").write_text("#!/bin/sh\necho no route to host >&2; exit 1\n")
            if ending:
                raise ending

    with Run() as run:
        with pytest.raises(PlatformError, match=f"cannot release the lease serving/{NAME}: .*no route") as caught:
            use(run)
        assert "trivet doctor --clean deletes it" in caught.value.remedy
        with pytest.raises(KeyboardInterrupt):
            use(run, KeyboardInterrupt)
    (left,) = leftovers()
    assert len(left.required) == 2


def test_a_lease_expires_when_it_was_not_renewed_for_as_long_as_it_lasts() -> None:
    now = datetime.now(UTC)
    fresh = {"spec": {"renewTime": (now - timedelta(seconds=50)).isoformat(), "leaseDurationSeconds": 60}}
    assert not expired(fresh, now)
    assert expired(fresh, now + timedelta(seconds=20))
    assert expired({}, now)


@pytest.mark.parametrize(
    ("before", "patch", "back"),
    [
        ({"a": 1}, {"a": 2}, {"a": 1}),
        ({}, {"a": 2}, {"a": None}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [1, 2]}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": 7}, {"a": {"b": 1}}),
        ({}, {"a": {"b": 1}}, {"a": None}),
    ],
)
def test_a_merge_patch_is_reversed_exactly(before: Any, patch: Any, back: Any) -> None:
    assert reverse(patch, before) == back
    after = fake_kubectl.merged(before, patch)
    assert holds(after, patch)
    assert fake_kubectl.merged(after, back) == before


def test_the_mark_of_a_run_is_on_its_kubectl(cluster: Path, tmp_path: Path) -> None:
    script = tmp_path / "kubectl"
    script.write_text(f'#!/bin/sh\necho "${journal.MARK}"\n')
    script.chmod(0o755)
    assert Kubectl(context="x", binary=str(script), mark="r1").run("get").strip() == "r1"
    assert os.environ.get(journal.MARK, "") == ""
