"""Building images: existing layers are reused, interrupted work is discarded, and errors name the failed step."""

from __future__ import annotations

import json
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.image_registry import Content, registry, small_image, small_layer, small_set

from trivet.errors import PlatformError, UsageError
from trivet.model.stack import Role
from trivet.provision.docker import docker
from trivet.provision.images import archive, build, layers
from trivet.provision.images.build import StepEnded, StepNote, StepStarted
from trivet.provision.images.layer_tools import run_logged
from trivet.provision.images.layers import BuildContext, make_layer
from trivet.provision.images.recipes import File, FilesLayer, ImageSet, RoleLayer, inputs_digest
from trivet.provision.images.registry import ImageRegistry
from trivet.provision.images.store import LAYERS, Store, hosts_toml, images_home
from trivet.provision.images.tars import Descriptor
from trivet.stacks.environments import MARKER, RoleEnvironment

A, B = small_layer("a"), small_layer("b")


class BuildFixture:
    """An existing store, its content, and the events of builds."""

    def __init__(self, client: ImageRegistry, content: Content) -> None:
        self.store = Store(registry=client, port=1, inside="store:5000")
        self.content = content
        self.events: list[StepStarted | StepEnded | StepNote] = []

    def build(self, images: ImageSet) -> list[str]:
        """Build; the names of the finished steps."""
        self.events.clear()
        build.build(images, on_step=self.events.append)
        return [event.name for event in self.events if isinstance(event, StepEnded)]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BuildFixture]:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    with registry() as (client, content):
        made = BuildFixture(client, content)
        for module in (build, archive):
            monkeypatch.setattr(module, "open_store", lambda inputs, make: made.store)
        monkeypatch.setattr(build, "running_store", lambda: made.store)
        yield made


def test_a_second_build_builds_nothing(kept: BuildFixture) -> None:
    images = small_set(small_image("one/a:1", A), small_image("one/ab:1", A, B))
    assert not any(state.present for state in build.image_states(images))
    assert set(kept.build(images)) >= {"a (files)", "b (files)", "docker.io/one/a:1", "docker.io/one/ab:1"}
    assert kept.build(images) == []
    assert all(state.present for state in build.image_states(images))


def test_shared_layers_are_built_and_stored_once(kept: BuildFixture) -> None:
    kept.build(small_set(small_image("one/a:1", A), small_image("one/ab:1", A, B)))
    assert [event.name for event in kept.events if isinstance(event, StepStarted)].count("a (files)") == 1
    assert len({digest for where, digest in kept.content.blobs if where == LAYERS}) == 3


def test_a_changed_layer_is_built_again_and_only_its_images_are_assembled(kept: BuildFixture) -> None:
    kept.build(small_set(small_image("one/a:1", A), small_image("one/ab:1", A, B)))
    steps = kept.build(small_set(small_image("one/a:1", A), small_image("one/ab:1", A, small_layer("b", "other"))))
    assert steps == ["b (files)", "docker.io/one/ab:1"]


def test_a_manifest_has_the_digests_of_its_inputs_in_order(kept: BuildFixture) -> None:
    image = small_image("one/ab:1", A, B)
    kept.build(small_set(image))
    manifest = json.loads(kept.content.manifests["small-0123/one/ab", "1"])
    assert manifest["annotations"]["dev.trivet.inputs"] == image.inputs
    assert [one["annotations"]["dev.trivet.inputs"] for one in manifest["layers"]] == [
        inputs_digest(A),
        inputs_digest(B),
    ]
    config = json.loads(kept.content.blobs["small-0123/one/ab", manifest["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [one["digest"] for one in manifest["layers"]]
    assert config["config"] == {"Cmd": ["x"]}


def test_only_named_images_are_built(kept: BuildFixture) -> None:
    images = small_set(small_image("one/a:1", A), small_image("one/b:1", B))
    build.build(images, only=[images.image("one/b")], on_step=kept.events.append)
    assert ("small-0123/one/b", "1") in kept.content.manifests
    assert ("small-0123/one/a", "1") not in kept.content.manifests


def test_a_layer_that_the_registry_lost_is_built_again(kept: BuildFixture) -> None:
    images = small_set(small_image("one/a:1", A))
    kept.build(images)
    kept.content.blobs.clear()
    kept.content.manifests.clear()
    assert "a (files)" in kept.build(images)


def test_unfinished_work_of_a_killed_build_is_not_used(kept: BuildFixture) -> None:
    work = images_home() / "work"
    (work / inputs_digest(A)).mkdir(parents=True)
    (work / inputs_digest(A) / "layer.tar").write_bytes(b"half")
    (work / f"{inputs_digest(A)}.tar").write_bytes(b"whole, but its note was not written")
    (images_home() / "layers").mkdir()
    (images_home() / "layers" / f"{inputs_digest(A)}.json").write_bytes(b'{"digest": "sha256:')
    assert "a (files)" in kept.build(small_set(small_image("one/a:1", A)))
    assert list(work.iterdir()) == []


def test_an_archive_that_was_finished_but_not_pushed_is_not_built_twice(
    kept: BuildFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = small_set(small_image("one/a:1", A))

    push_blob = ImageRegistry.push_blob

    def refuse(self: ImageRegistry, repository: str, file: Path, descriptor: Descriptor) -> None:
        # Only this layer's: a refused push stops the build of the other layers, finished or not.
        if file.stem == inputs_digest(A):
            raise PlatformError("no store")
        push_blob(self, repository, file, descriptor)

    with monkeypatch.context() as broken:
        broken.setattr(ImageRegistry, "push_blob", refuse)
        with pytest.raises(PlatformError, match="no store"):
            kept.build(images)
    assert "a (files)" not in kept.build(images)
    assert kept.content.manifests.keys() >= {("small-0123/one/a", "1")}


def test_a_failed_step_stops_the_build_and_finished_layers_are_kept(kept: BuildFixture) -> None:
    broken = FilesLayer(name="broken", files=(File(path="/x", mode="not octal"),))
    images = small_set(small_image("one/a:1", A), small_image("one/broken:1", broken))
    with pytest.raises(ValueError, match="not octal"):
        kept.build(images)
    (failed,) = [event for event in kept.events if isinstance(event, StepEnded) and event.failure]
    assert failed.name == "broken (files)"
    assert ("small-0123/one/broken", "1") not in kept.content.manifests
    assert list((images_home() / "layers").glob("*.json"))


def test_two_concurrent_builds_build_each_layer_once(kept: BuildFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    images = small_set(*(small_image(f"one/{name}:1", small_layer(name)) for name in "abcdef"))
    made: list[str] = []

    def slowly(layer: FilesLayer, context: BuildContext) -> object:
        made.append(layer.name)
        time.sleep(0.05)
        return make_layer(layer, context)

    monkeypatch.setattr(build, "make_layer", slowly)
    builders = [threading.Thread(target=build.build, args=(images,)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert sorted(made) == ["a", "b", "c", "d", "e", "f", "store"]
    assert all(state.present for state in build.image_states(images))


def test_a_build_stops_when_its_stop_event_is_set(kept: BuildFixture) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(PlatformError, match="the run is stopping"):
        build.build(small_set(small_image("one/a:1", A)), stop=stop)
    assert kept.content.manifests == {}


def test_loaded_images_keep_the_digests_of_their_inputs(
    kept: BuildFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = small_set(small_image("one/a:1", A), small_image("one/ab:1", A, B))
    kept.build(images)
    file = tmp_path / "images.tar"
    assert archive.save(images, file) == file.stat().st_size
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert len(names) == len(set(names))
    assert {"oci-layout", "index.json"} < set(names)

    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "elsewhere"))
    with registry() as (client, content):
        kept.store, kept.content = Store(registry=client, port=1, inside="store:5000"), content
        assert archive.load(file) == [str(image.reference) for image in images.images]
        assert all(state.present for state in build.image_states(images))
        assert kept.build(images) == []


def test_images_that_are_not_built_cannot_be_saved(kept: BuildFixture, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 of 2 images are not built"):
        archive.save(small_set(small_image("one/a:1", A)), tmp_path / "images.tar")
    assert list(tmp_path.glob("images*")) == []


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_archive_is_refused(kept: BuildFixture, tmp_path: Path, share: float) -> None:
    images = small_set(small_image("one/a:1", small_layer("a", "x" * 100_000)))
    kept.build(images)
    whole = tmp_path / "images.tar"
    archive.save(images, whole)
    cut = tmp_path / "cut.tar"
    content = whole.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    kept.content.blobs.clear()
    with pytest.raises(UsageError) as error:
        archive.load(cut)
    assert str(cut) in str(error.value)
    with pytest.raises(UsageError, match="does not exist"):
        archive.load(tmp_path / "none.tar")


def test_hosts_toml_redirects_upstream_names_to_the_set_in_the_store(kept: BuildFixture) -> None:
    text = hosts_toml("small-0123")
    assert ":5000/v2/small-0123" in text
    assert "override_path = true" in text


def context(tmp_path: Path) -> BuildContext:
    folder = tmp_path / "bench"
    folder.mkdir()
    return BuildContext(folder=folder, log=tmp_path / "log", progress=lambda _: None, stop=threading.Event())


def test_layers_are_reproducible(tmp_path: Path) -> None:
    files = FilesLayer(name="f", files=(File(path="/etc/x", text="1"), File(path="/tmp/", mode="1777", owner="7")))
    one, _ = make_layer(files, context(tmp_path))
    first = one.read_bytes()
    time.sleep(0.01)
    one.unlink()
    (tmp_path / "bench").rmdir()
    two, _ = make_layer(files, context(tmp_path))
    assert two.read_bytes() == first
    with tarfile.open(two) as tar:
        assert [(member.name, oct(member.mode), member.uid) for member in tar] == [
            ("etc", "0o755", 0),
            ("etc/x", "0o644", 0),
            ("tmp", "0o1777", 7),
        ]


def test_the_paths_of_a_role_s_environment_are_those_in_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "environment"
    (folder / "bin").mkdir(parents=True)
    (folder / "lib" / "package").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/somewhere/python3.11")
    (folder / "bin" / "tool").write_text(f"#!{folder}/bin/python\nprint()\n", encoding="utf-8")
    (folder / "bin" / "activate").write_text("", encoding="utf-8")
    (folder / "pyvenv.cfg").write_text("home = /somewhere\n", encoding="utf-8")
    (folder / "lib" / "package" / "a.py").write_text("", encoding="utf-8")
    (folder / "lib64").symlink_to("lib")
    (folder / MARKER).write_text("{}", encoding="utf-8")
    realised = RoleEnvironment(python=folder / "bin" / "python", folder=folder, built=False, seconds=0)
    monkeypatch.setattr(layers, "build_environment", lambda role, **_: realised)
    role = Role(name="trainer", python="3.11", requires=(), cutoff="2024-01-01", lock=tmp_path / "x.lock", pins={})
    made, _ = make_layer(RoleLayer(name="trainer", role=role), context(tmp_path))
    with tarfile.open(made) as tar:
        names = set(tar.getnames())
        tool = tar.extractfile("opt/role/bin/tool")
        home = tar.extractfile("opt/role/pyvenv.cfg")
        assert tool
        assert home
        assert tool.read().startswith(b"#!/opt/role/bin/python\n")
        assert home.read() == b"home = /usr/bin\n"
        assert tar.getmember("opt/role/bin/python").linkname == "/usr/bin/python3.11"
        assert tar.getmember("opt/role/lib64").linkname == "lib"
        source = tar.getmember("opt/role/lib/package/a.py")
    assert source.mtime == int((folder / "lib" / "package" / "a.py").stat().st_mtime)
    assert not names & {f"opt/role/{MARKER}", "opt/role/bin/activate"}


def test_the_error_of_a_failed_tool_has_the_log_tail_and_the_path_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    program = "import sys; print('\\n'.join(map(str, range(99)))); sys.exit('boom')"
    with pytest.raises(PlatformError) as error:
        run_logged([sys.executable, "-c", program], what="make it", log=log, stop=threading.Event())
    words = str(error.value)
    assert "cannot make it" in words
    assert "boom" in words
    assert str(log) in words
    assert "\n    9\n" not in words
    assert "\n9\n" in log.read_text(encoding="utf-8")


def test_a_tool_that_is_not_installed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no surely-no-such-tool on this machine"):
        run_logged(["surely-no-such-tool"], what="x", log=tmp_path / "log", stop=threading.Event())


def test_stopping_ends_a_tool_and_its_child_processes(tmp_path: Path) -> None:
    import psutil

    stop, log = threading.Event(), tmp_path / "log"
    program = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    threading.Timer(0.8, stop.set).start()
    started = time.monotonic()
    with pytest.raises(PlatformError, match="the run is stopping"):
        run_logged([sys.executable, "-c", program], what="x", log=log, stop=stop)
    assert time.monotonic() - started < 10
    sleeper = int(log.read_text(encoding="utf-8").split()[-1])
    for _ in range(50):
        if not psutil.pid_exists(sleeper) or psutil.Process(sleeper).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.1)
    else:
        pytest.fail("what the tool started is still there")


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "start the Docker daemon"),
        ("permission denied while trying to connect", "give this user access to Docker"),
        ("write /x: no space left on device", "free some disk space"),
    ],
)
def test_errors_of_docker_get_a_remedy(
    words: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "docker"
    fake.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n", encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PlatformError) as error:
        docker(["info"], what="look")
    assert words in error.value.message
    assert remedy in error.value.remedy


def test_a_missing_docker_command_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlatformError, match="no docker command on this machine"):
        docker(["info"], what="look")
