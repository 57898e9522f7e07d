"""The lifecycle of a cluster: the effect of each state on disk and in Docker, and the errors."""

from __future__ import annotations

import shutil
import subprocess
import threading
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from trivet.errors import PlatformError, UsageError
from trivet.host.kubectl import Kubectl
from trivet.provision.kind import cluster, limits, tools, up
from trivet.provision.kind.cluster import ClusterSpec, configuration, delete_cluster, ensure_cluster, mirror_hosts
from trivet.provision.kind.machine import docker_info, shortages
from trivet.provision.kind.nodes import NodeContainer
from trivet.provision.kind.state import (
    CREATED,
    CREATING,
    DELETING,
    READY,
    Busy,
    ClusterFolder,
    ClusterState,
    InUse,
    folder_of,
    known_clusters,
)
from trivet.provision.kind.up import ImageSource
from trivet.stacks.read import load_stack

STATE = ClusterState(stage=READY, digest="d", source="build", ingress=1, tracking=2, prometheus=3, secret="s")
NODE = NodeContainer(name="trivet-a-control-plane", state="running")


class Machine:
    """Fakes of nodes and kind. ``fails`` are the errors of the next calls of kind; ``answers``: whether the API server responds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes: list[NodeContainer] = []
        self.calls: list[str] = []
        self.fails: list[str] = []
        self.answers = True
        monkeypatch.setattr(cluster, "node_containers", lambda name: list(self.nodes))
        monkeypatch.setattr(cluster, "start_node", lambda node: self.calls.append(f"start {node.name}"))
        monkeypatch.setattr(cluster, "delete_nodes", self.remove)
        monkeypatch.setattr(cluster, "run_kind", self.kind)
        monkeypatch.setattr(limits, "RETURN", 0.01)
        monkeypatch.setattr(limits, "POLL", 0.001)
        monkeypatch.setattr(Kubectl, "raw", self.raw)

    def kind(self, _: Path, *arguments: str, log: Path, seconds: float) -> None:
        self.calls.append(" ".join(arguments[:2]))
        if self.fails:
            raise PlatformError(self.fails.pop(0))
        (log.parent / "kubeconfig").touch()
        self.nodes = [NODE]

    def remove(self, gone: list[NodeContainer]) -> None:
        self.calls.append("remove")
        self.nodes = []

    def raw(self, *_: Any, **__: Any) -> str:
        if not self.answers:
            raise PlatformError("no answer")
        return "ok"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def spec(tmp_path: Path) -> ClusterSpec:
    folder = ClusterFolder(name="trivet-a", path=tmp_path / "clusters" / "trivet-a")
    return ClusterSpec(folder=folder, digest="d", source="build", node_image="node:1", own_network=True)


def brought_up(spec: ClusterSpec) -> ClusterState:
    return ensure_cluster(spec, Path("kind"), Kubectl(context="c"))


def there(spec: ClusterSpec, machine: Machine, state: ClusterState) -> None:
    spec.folder.write(state)
    spec.folder.kubeconfig.touch()
    machine.nodes = [NODE]


def test_a_missing_cluster_is_created(spec: ClusterSpec, machine: Machine) -> None:
    state = brought_up(spec)
    assert machine.calls == ["create cluster"]
    assert (state.stage, state.digest) == (CREATED, "d")
    assert spec.folder.read() == state


def test_a_running_cluster_as_specified_is_reused(spec: ClusterSpec, machine: Machine) -> None:
    there(spec, machine, STATE)
    assert brought_up(spec) == STATE
    assert machine.calls == [f"start {NODE.name}"]


@pytest.mark.parametrize(
    "state", [replace(STATE, stage=CREATING), replace(STATE, stage=DELETING), replace(STATE, digest="other")]
)
def test_an_incomplete_or_different_cluster_is_created_again(
    spec: ClusterSpec, machine: Machine, state: ClusterState
) -> None:
    there(spec, machine, state)
    assert brought_up(spec).stage == CREATED
    assert machine.calls == ["remove", "create cluster"]


def test_a_cluster_without_nodes_is_created_again(spec: ClusterSpec, machine: Machine) -> None:
    spec.folder.write(STATE)
    assert brought_up(spec).stage == CREATED


def test_a_cluster_whose_api_server_does_not_become_ready_is_created_again(spec: ClusterSpec, machine: Machine) -> None:
    there(spec, machine, STATE)
    machine.answers = False
    assert brought_up(spec).stage == CREATED


def test_a_cluster_that_trivet_did_not_create_is_not_changed(spec: ClusterSpec, machine: Machine) -> None:
    machine.nodes = [NODE]
    for attempt in (brought_up, lambda spec: delete_cluster(spec.folder)):
        with pytest.raises(PlatformError, match="'trivet-a' that trivet did not create") as caught:
            attempt(spec)
        assert "kind delete cluster --name trivet-a" in caught.value.remedy
    assert machine.calls == []


def test_ports_that_are_taken_meanwhile_are_replaced(spec: ClusterSpec, machine: Machine) -> None:
    machine.fails = ["Bind for 127.0.0.1:1 failed: port is already allocated"]
    assert brought_up(spec).stage == CREATED
    assert machine.calls == ["create cluster"] * 2


def test_a_failed_creation_is_repeated_by_the_next_one(spec: ClusterSpec, machine: Machine) -> None:
    machine.fails = ["kind create failed: no"]
    with pytest.raises(PlatformError, match="no"):
        brought_up(spec)
    state = spec.folder.read()
    assert state
    assert state.stage == CREATING
    assert brought_up(spec).stage == CREATED


def test_deleting_removes_nodes_and_folder(spec: ClusterSpec, machine: Machine) -> None:
    there(spec, machine, STATE)
    assert delete_cluster(spec.folder)
    assert machine.nodes == []
    assert not spec.folder.path.exists()
    assert not delete_cluster(spec.folder)


def test_a_cluster_in_use_is_neither_deleted_nor_created_again(spec: ClusterSpec, machine: Machine) -> None:
    there(spec, machine, STATE)
    with spec.folder.shared_use(), spec.folder.shared_use():
        assert brought_up(spec) == STATE
        for attempt in (lambda: delete_cluster(spec.folder), lambda: brought_up(replace(spec, digest="other"))):
            with pytest.raises(InUse, match="in use by another run of trivet"):
                attempt()
    assert spec.folder.read() == STATE
    assert delete_cluster(spec.folder)


def test_kind_processes_of_a_killed_run_are_ended_before_the_cluster_is_deleted(
    spec: ClusterSpec, machine: Machine, tmp_path: Path
) -> None:
    there(spec, machine, replace(STATE, stage=CREATING))
    kind = tmp_path / "kind"
    kind.symlink_to(shutil.which("tail") or "")
    (tmp_path / "kubeconfig").touch()
    orphan, other = (
        subprocess.Popen([kind, "-f", config], stdout=subprocess.DEVNULL)
        for config in (spec.folder.kubeconfig, tmp_path / "kubeconfig")
    )
    try:
        delete_cluster(spec.folder)
        assert orphan.poll() is not None
        assert other.poll() is None
    finally:
        for process in (orphan, other):
            process.kill()
            process.wait()


def test_a_truncated_state_file_counts_as_an_interrupted_creation(spec: ClusterSpec) -> None:
    spec.folder.path.mkdir(parents=True)
    (spec.folder.path / "state.json").write_text('{"stage": "rea')
    state = spec.folder.read()
    assert state
    assert state.stage == CREATING


def test_the_state_file_is_readable_by_its_owner_only(spec: ClusterSpec) -> None:
    spec.folder.write(STATE)
    assert (spec.folder.path / "state.json").stat().st_mode & 0o077 == 0
    assert "secret='s'" not in repr(STATE)


def test_a_second_process_waits_for_the_lock_of_the_cluster(spec: ClusterSpec) -> None:
    with spec.folder.locked():
        with pytest.raises(Busy, match="another trivet"), spec.folder.locked(0.05):
            raise AssertionError
        got = threading.Event()

        def second() -> None:
            with spec.folder.locked(10):
                got.set()

        thread = threading.Thread(target=second)
        thread.start()
        assert not got.wait(0.1)
    thread.join(10)
    assert got.is_set()


def test_clusters_are_named_by_their_stack_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    folder = folder_of(load_stack("2024.11-fixed"))
    assert folder.name == "trivet-2024-11-fixed"
    assert known_clusters() == []
    folder.write(STATE)
    assert known_clusters() == [folder]


def test_the_node_has_ports_mirrors_and_cpu_requests_as_specified(spec: ClusterSpec, machine: Machine) -> None:
    brought_up(replace(spec, hosts="[host]\n", kubelet={"failCgroupV1": False}, control_plane={"etcd": "50m"}))
    folder = spec.folder.path
    made = yaml.safe_load((folder / "kind.yaml").read_text())
    (node,) = made["nodes"]
    state = spec.folder.read()
    assert state
    assert made["networking"] == {"disableDefaultCNI": True}
    assert node["image"] == "node:1"
    assert {one["containerPort"]: one["hostPort"] for one in node["extraPortMappings"]} == {
        31080: state.ingress,
        31500: state.tracking,
        31090: state.prometheus,
    }
    assert {one["listenAddress"] for one in node["extraPortMappings"]} == {"127.0.0.1"}
    kubelet, init = map(yaml.safe_load, node["kubeadmConfigPatches"])
    assert kubelet["failCgroupV1"] is False
    mounted = {one["containerPath"]: Path(one["hostPath"]) for one in node["extraMounts"]}
    assert (mounted["/etc/containerd/certs.d"] / "_default/hosts.toml").read_text() == "[host]\n"
    patch = yaml.safe_load((mounted[init["patches"]["directory"]] / "etcd+strategic.yaml").read_text())
    assert patch["spec"]["containers"] == [{"name": "etcd", "resources": {"requests": {"cpu": "50m"}}}]


def test_a_pulled_node_has_kinds_own_network_and_no_mirror(spec: ClusterSpec) -> None:
    made = configuration(replace(spec, own_network=False), {})
    assert made["networking"] == {"disableDefaultCNI": False}
    assert [one["containerPath"] for one in made["nodes"][0]["extraMounts"]] == ["/kind/patches"]


@pytest.mark.parametrize(
    ("mirror", "host", "override"),
    [
        ("https://mirror.example", "https://mirror.example", None),
        ("https://mirror.example/a/b/", "https://mirror.example/v2/a/b", True),
        ("http://10.0.0.1:5000", "http://10.0.0.1:5000", None),
    ],
)
def test_a_mirror_applies_to_every_registry(mirror: str, host: str, override: bool | None) -> None:
    table = tomllib.loads(mirror_hosts(mirror))["host"]
    assert list(table) == [host]
    assert table[host]["capabilities"] == ["pull", "resolve"]
    assert table[host].get("override_path") is override


def test_a_machine_without_docker_gets_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlatformError, match="there is no docker command on this machine") as caught:
        docker_info()
    assert "install Docker" in caught.value.remedy


@pytest.mark.parametrize(
    "script",
    [
        'echo "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is it running?" >&2; exit 1',
        """echo '{"ServerErrors": ["Cannot connect to the Docker daemon at unix:///var/run/docker.sock"]}'""",
    ],
)
def test_a_stopped_daemon_gets_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    command = tmp_path / "docker"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PlatformError, match="Cannot connect to the Docker daemon") as caught:
        docker_info()
    assert "start the Docker daemon" in caught.value.remedy


def test_shortages_of_docker_are_reported_with_numbers() -> None:
    ((memory, more), (disk, free)) = shortages(2 * 2**30, 3 * 2**30)
    assert "2.0 GiB of memory" in memory
    assert "give Docker more memory" in more
    assert "3.0 GiB are free" in disk
    assert "free some disk space" in free
    assert shortages(limits.MEMORY, None) == []


def test_a_machine_that_is_too_small_is_refused_unless_the_cluster_exists(
    spec: ClusterSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "docker_info", lambda: {"MemTotal": 2**30, "DockerRootDir": "/nowhere"})
    monkeypatch.setattr(up, "node_containers", lambda name: [])
    with pytest.raises(PlatformError, match=r"1\.0 GiB of memory"):
        up.check_machine(spec.folder)
    monkeypatch.setattr(up, "node_containers", lambda name: [NODE])
    up.check_machine(spec.folder)


@pytest.mark.parametrize("output", ["kind v0.20.0 go1.20.4 linux/amd64", "", "nonsense"])
def test_an_old_kind_gets_one_clear_message(output: str) -> None:
    with pytest.raises(PlatformError, match=r"/bin/kind reports version .*, and v0\.27 or newer is needed") as caught:
        tools.check_kind_version("/bin/kind", output)
    assert "install a newer kind" in caught.value.remedy


def test_a_new_kind_is_accepted() -> None:
    tools.check_kind_version("/bin/kind", "kind v0.30.0 go1.24.2 linux/amd64")


def test_an_unknown_source_of_images_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown source of images 'guess'"):
        up.ImageSource(kind="guess")


def test_the_error_of_kind_has_its_error_line_and_the_path_of_its_log(tmp_path: Path) -> None:
    kind = tmp_path / "kind"
    kind.write_text("#!/bin/sh\necho 'Creating …'\necho 'ERROR: failed to create cluster: no such image' >&2\nexit 1\n")
    kind.chmod(0o755)
    with pytest.raises(
        PlatformError, match="kind create cluster failed: ERROR: failed to create cluster: no such image"
    ) as caught:
        cluster.run_kind(kind, "create", "cluster", log=tmp_path / "kind.log", seconds=10)
    assert str(tmp_path / "kind.log") in caught.value.remedy


def test_a_stack_without_a_platform_is_refused_before_the_machine_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    monkeypatch.setattr(up, "check_machine", lambda folder: pytest.fail("the machine was looked at"))
    stack = replace(load_stack("2024.11"), platform="", no_platform="nobody wrote recipes of its images")
    with pytest.raises(
        UsageError, match=r"stack 2024\.11 has no platform, so no cluster can be created for it: nobody wrote recipes"
    ):
        up.up(stack, lambda event: None, ImageSource(kind="build", mirror=""))
