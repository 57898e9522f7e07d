"""Pruning: exactly what no stack and no cluster needs is removed from the registry's folder, the cache and Docker."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.image_registry import Content, registry, small_image, small_layer, small_set

from trivet.cli import main
from trivet.errors import PlatformError
from trivet.host.journal import Run
from trivet.provision import prune as provision_prune
from trivet.provision.images import build, prune
from trivet.provision.images.prune import Garbage, Inventory, Needed, RegistryLink, find_garbage, remove, take_inventory
from trivet.provision.images.recipes import ImageSet, addon_images, addon_roles, images_of, inputs_digest
from trivet.provision.images.store import (
    LAYERS,
    Store,
    exclusive_lock,
    hosts_toml,
    images_home,
    registry_folder,
    set_keys_of,
    shared_lock,
)
from trivet.provision.kind.cluster import HOSTS
from trivet.provision.kind.state import READY, Busy, ClusterState, cluster_folder
from trivet.render.images import pruned
from trivet.stacks.drawing import drawing_role
from trivet.stacks.environments import MARKER, cache_directory, environment_folder
from trivet.stacks.platform import load_addon
from trivet.stacks.read import load_stack, shipped_stacks

A, B, C = (small_layer(name) for name in "abc")
NOW = replace(small_set(small_image("one/ab:1", A, B)), key="small-now")
OLD = replace(small_set(small_image("one/bc:1", B, C)), key="small-old")
STATE = ClusterState(stage=READY, digest="d", source="build", ingress=1, tracking=2, prometheus=3, secret="s")


# Fakes: one set that is needed and one that is not, which share a layer.


def linked(repository: str, digest: str, tag: str = "") -> RegistryLink:
    return RegistryLink(path=Path(repository, tag or digest), repository=repository, digest=digest, tag=tag)


HELD = Inventory(
    links=[
        *(linked("small-now/one/ab", digest) for digest in ("ab", "config ab", "a", "b")),
        *(linked("small-old/one/bc", digest) for digest in ("bc", "config bc", "b", "c")),
        linked("small-now/one/ab", "ab", tag="1"),
        linked("small-old/one/bc", "bc", tag="1"),
        *(linked(LAYERS, digest) for digest in "abc"),
    ],
    manifests={"ab": frozenset(("config ab", "a", "b")), "bc": frozenset(("config bc", "b", "c"))},
    blobs={"ab": 1, "config ab": 1, "a": 100, "b": 200, "bc": 1, "config bc": 1, "c": 400},
    records={inputs_digest(A): "a", inputs_digest(B): "b", inputs_digest(C): "c"},
)


def test_a_set_of_no_stack_is_removed_with_its_own_blobs() -> None:
    gone = find_garbage(HELD, Needed(sets=[NOW]))
    assert gone.sets == ["small-old"]
    assert gone.blobs == {"bc": 1, "config bc": 1, "c": 400}
    assert gone.records == [inputs_digest(C)]
    assert {link.digest for link in gone.links if link.repository == LAYERS} == {"c"}
    assert all(link.repository.startswith("small-old") for link in gone.links if link.repository != LAYERS)
    assert gone.size == 402


def test_needed_sets_are_kept() -> None:
    gone = find_garbage(HELD, Needed(sets=[NOW, OLD]))
    assert (gone.sets, gone.links, gone.blobs, gone.records, gone.size) == ([], [], {}, [], 0)


def test_the_set_of_a_cluster_is_kept_without_a_recipe() -> None:
    gone = find_garbage(HELD, Needed(sets=[NOW], keys={"small-old"}))
    assert (gone.sets, gone.links, gone.blobs, gone.records) == ([], [], {}, [])


def test_layers_of_a_set_without_manifests_are_kept() -> None:
    half = replace(HELD, links=[link for link in HELD.links if link.repository == LAYERS], manifests={})
    gone = find_garbage(half, Needed(sets=[NOW]))
    assert gone.blobs.keys() == {"ab", "config ab", "bc", "config bc", "c"}
    assert [link.digest for link in gone.links] == ["c"]
    assert gone.records == [inputs_digest(C)]


def test_previous_manifests_of_a_tag_are_removed() -> None:
    before = replace(
        HELD,
        links=[*HELD.links, *(linked("small-now/one/ab", digest) for digest in ("before", "lost"))],
        manifests={**HELD.manifests, "before": frozenset(("lost",))},
        blobs={**HELD.blobs, "before": 1, "lost": 800},
    )
    gone = find_garbage(before, Needed(sets=[NOW, OLD]))
    assert gone.sets == []
    assert [link.digest for link in gone.links] == ["before", "lost"]
    assert gone.blobs == {"before": 1, "lost": 800}


def test_unreferenced_blobs_are_removed() -> None:
    gone = find_garbage(replace(HELD, blobs={**HELD.blobs, "stray": 7}), Needed(sets=[NOW, OLD]))
    assert gone.blobs == {"stray": 7}


def test_an_unreadable_record_is_removed_unless_its_layer_is_needed() -> None:
    broken = Inventory(records={inputs_digest(A): "", inputs_digest(C): ""})
    assert find_garbage(broken, Needed(sets=[NOW])).records == [inputs_digest(C)]


def test_docker_images_of_stacks_and_containers_are_kept() -> None:
    needed = replace(NOW, images=(*NOW.images, small_image("docker.io/kindest/node:v1", A)))
    node, store_image = (
        f"trivet/{name}:{needed.image(path).inputs[:12]}"
        for name, path in (("node", "kindest/node"), ("registry", "trivet/registry"))
    )
    inventory = Inventory(
        images={node: 1, store_image: 1, "trivet/node:used": 2, "trivet/node:old": 4}, used={"trivet/node:used"}
    )
    assert find_garbage(inventory, Needed(sets=[needed])).images == {"trivet/node:old": 4}


def test_needed_work_programs_and_environments_are_kept() -> None:
    (tool, *_) = provision_prune.needed([load_stack("current")]).programs
    inventory = Inventory(
        work={Path(f"{inputs_digest(A)}.tar"): 1, Path(f"{inputs_digest(C)}.tar"): 2, Path("load-12.blob"): 4},
        programs={Path(inputs_digest(tool)[:24]): 8, Path("old"): 16},
        environments={Path("now"): 32, Path("then"): 64},
    )
    needed = Needed(sets=[NOW], programs=[tool], environments={Path("now")})
    gone = find_garbage(inventory, needed)
    assert gone.work == {Path(f"{inputs_digest(C)}.tar"): 2, Path("load-12.blob"): 4}
    assert gone.programs == {Path("old"): 16}
    assert gone.environments == {Path("then"): 64}
    assert gone.size == 2 + 4 + 16 + 64
    spared = find_garbage(replace(inventory, run_in_progress=True), needed)
    assert (spared.programs, spared.environments, spared.size) == ({}, {}, 6)


def test_the_shipped_stacks_need_their_own_sets_tools_and_environments() -> None:
    stacks = [load_stack(name) for name in shipped_stacks()]
    needed = provision_prune.needed(stacks)
    sets = [*map(images_of, stacks), *(addon_images(stack, "pipelines") for stack in stacks if stack.platform)]
    assert [one.key for one in needed.sets] == [one.key for one in sets]
    assert {layer.name for layer in needed.programs} == {"kind", "kubernetes"}
    roles = [drawing_role(), *(role for stack in stacks for role in stack.roles.values())]
    roles += addon_roles(load_addon("pipelines")).values()
    assert needed.environments == {environment_folder(role) for role in roles}


# On disk: the registry's folder in the layout of Debian's docker-registry.


class Docker:
    """A fake of the docker command for pruning."""

    def __init__(self) -> None:
        self.images = {"trivet/node:old": 5, "trivet/node:used": 7}

    def __call__(self, arguments: Sequence[str], *, what: str, stdin: Path | None = None) -> str:
        match list(arguments):
            case ["ps", *_]:
                return "trivet/node:used\nregistry:2"
            case ["image", "ls", *_]:
                return "\n".join(self.images)
            case ["image", "inspect", "--format", "{{.Size}}", *names]:
                return "\n".join(str(self.images[name]) for name in names)
            case ["rmi", *names]:
                for name in names:
                    del self.images[name]
        return ""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    made = Docker()
    monkeypatch.setattr(prune, "docker", made)
    return made


@pytest.fixture
def content(engine: Docker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Content]:
    """A store with both sets."""
    with registry() as (client, content):
        store = Store(registry=client, port=1, inside="store:5000")
        monkeypatch.setattr(build, "open_store", lambda inputs, make: store)
        for images in (OLD, NOW):
            build.build(images)
        laid_out(content)
        yield content


def laid_out(content: Content) -> None:
    """Write the content of a registry in the layout of docker-registry."""

    def put(path: Path, raw: bytes, name: str = "link") -> None:
        path.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(raw)

    base = registry_folder()
    for (where, digest), blob in content.blobs.items():
        put(base / "repositories" / where / "_layers" / digest.replace(":", "/"), digest.encode())
        put(base / "blobs/sha256" / digest[7:9] / digest[7:], blob, "data")
    for (where, tag), raw in content.manifests.items():
        digest = hashlib.sha256(raw).hexdigest()
        manifests = base / "repositories" / where / "_manifests"
        for path in (f"revisions/sha256/{digest}", f"tags/{tag}/current", f"tags/{tag}/index/sha256/{digest}"):
            put(manifests / path, f"sha256:{digest}".encode())
        put(base / "blobs/sha256" / digest[:2] / digest, raw, "data")


def blobs_of(images: ImageSet, content: Content) -> set[str]:
    """The digests of a set's blobs and manifests."""
    found = set()
    for (where, _), raw in content.manifests.items():
        if where.startswith(f"{images.key}/"):
            manifest = json.loads(raw)
            found |= {one["digest"] for one in (manifest["config"], *manifest["layers"])}
            found.add(f"sha256:{hashlib.sha256(raw).hexdigest()}")
    return found


def test_after_a_prune_the_registry_has_only_the_needed_set(content: Content) -> None:
    needed = Needed(sets=[NOW])
    remove(find_garbage(take_inventory(run_in_progress=False), needed))
    left = take_inventory(run_in_progress=False)
    assert left.blobs.keys() == blobs_of(NOW, content)
    assert left.records.keys() == needed.layers
    assert {path.name for path in (registry_folder() / "repositories").iterdir()} == {"small-now", "trivet"}
    again = find_garbage(left, needed)
    assert (again.size, again.links, again.records) == (0, [], [])


def test_nothing_is_removed_when_all_sets_are_needed(content: Content) -> None:
    gone = find_garbage(take_inventory(run_in_progress=False), Needed(sets=[NOW, OLD]))
    assert (gone.sets, gone.links, gone.blobs, gone.records) == ([], [], {}, [])


def test_unfinished_files_of_killed_builds_are_removed(content: Content) -> None:
    upload = registry_folder() / "repositories" / LAYERS / "_uploads" / "one"
    upload.mkdir(parents=True)
    (upload / "data").write_bytes(b"half a layer")
    (images_home() / "work" / "load-1.blob").write_bytes(b"unpacked")
    gone = find_garbage(take_inventory(run_in_progress=False), Needed(sets=[NOW, OLD]))
    assert gone.size == len(b"half a layerunpacked") + 5
    remove(gone)
    assert not upload.exists()
    assert list((images_home() / "work").iterdir()) == []


def test_an_interrupted_prune_is_completed_by_the_next(content: Content, monkeypatch: pytest.MonkeyPatch) -> None:
    needed, deleted = Needed(sets=[NOW]), prune._delete
    left = iter(range(3))

    def interrupted(path: Path) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        deleted(path)

    gone = find_garbage(take_inventory(run_in_progress=False), needed)
    with monkeypatch.context() as broken:
        broken.setattr(prune, "_delete", interrupted)
        with pytest.raises(KeyboardInterrupt):
            remove(gone)
    remove(find_garbage(take_inventory(run_in_progress=False), needed))
    assert take_inventory(run_in_progress=False).blobs.keys() == blobs_of(NOW, content)


def test_a_file_that_cannot_be_removed_is_named_with_a_remedy(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(prune, "_delete", refuse)
    with pytest.raises(PlatformError, match=r"cannot remove .*small-old: Permission denied") as caught:
        remove(find_garbage(take_inventory(run_in_progress=False), Needed(sets=[NOW])))
    assert "give this user access" in caught.value.remedy


def test_a_hard_link_into_another_cache_frees_nothing(engine: Docker) -> None:
    role = load_stack("current").roles["trainer"]
    folder = environment_folder(role)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_bytes(b"12345")
    (folder / MARKER).write_bytes(b"{}")
    (cache_directory() / "uv").hardlink_to(folder / "bin" / "python")
    assert take_inventory(run_in_progress=False).environments == {folder: 2}
    remove(find_garbage(take_inventory(run_in_progress=False), Needed()))
    assert not folder.exists()


# Concurrent processes.


def test_a_prune_during_a_build_is_refused(engine: Docker) -> None:
    with (
        shared_lock(),
        pytest.raises(PlatformError, match="another trivet process is building, saving or loading images"),
    ):
        provision_prune.prune([])
    assert "trivet/node:old" in engine.images


def test_a_build_waits_for_the_end_of_a_prune(content: Content) -> None:
    builder = threading.Thread(target=build.build, args=(NOW,), daemon=True)
    with exclusive_lock():
        builder.start()
        builder.join(0.3)
        assert builder.is_alive()
    builder.join(10)
    assert not builder.is_alive()


def test_a_prune_during_the_creation_or_deletion_of_a_cluster_is_refused(engine: Docker) -> None:
    with cluster_folder("trivet-a").locked(), pytest.raises(Busy, match="creating or deleting the cluster trivet-a"):
        provision_prune.prune([])
    assert "trivet/node:old" in engine.images


def test_the_set_that_a_cluster_pulls_from_is_kept(content: Content) -> None:
    folder = cluster_folder("trivet-small")
    folder.write(STATE)
    hosts = folder.path / HOSTS
    hosts.parent.mkdir(parents=True)
    hosts.write_text(hosts_toml(OLD.key), encoding="utf-8")
    assert provision_prune.cluster_sets() == {OLD.key}
    provision_prune.prune([])
    assert take_inventory(run_in_progress=False).blobs.keys() == blobs_of(OLD, content)


def test_a_user_s_mirror_has_no_set_key(engine: Docker) -> None:
    assert set_keys_of(hosts_toml("small-0123")) == ["small-0123"]
    assert set_keys_of('[host."https://mirror.example/v2/docker"]\n') == []


def test_environments_are_kept_during_a_run(engine: Docker) -> None:
    folder = environment_folder(load_stack("current").roles["trainer"])
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    (folder / MARKER).write_bytes(b"{}")
    with Run():
        assert provision_prune.prune([]).run_in_progress
    assert folder.is_dir()
    provision_prune.prune([])
    assert not folder.exists()


# Output.


def test_a_dry_run_lists_the_garbage_and_removes_nothing(content: Content, engine: Docker) -> None:
    before = take_inventory(run_in_progress=False)
    result = CliRunner().invoke(main, ["images", "prune", "--dry-run"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "image set small-now\n" in result.stdout
    assert "Docker image trivet/node:old\n" in result.stdout
    assert result.stdout.rstrip().endswith("would be freed; nothing was removed")
    assert take_inventory(run_in_progress=False) == before
    assert "trivet/node:old" in engine.images


def test_what_only_other_shipped_stacks_need_goes_on_request(content: Content, engine: Docker) -> None:
    own, other = (environment_folder(load_stack(name).roles["trainer"]) for name in ("2024.11-fixed", "2024.05"))
    for folder in (own, other):
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").touch()
        (folder / MARKER).write_bytes(b"{}")
    for options, left in (([], [own, other]), (["--no-shipped", "--stack", "2024.11-fixed"], [own])):
        CliRunner().invoke(main, ["images", "prune", *options], catch_exceptions=False)
        assert [folder for folder in (own, other) if folder.exists()] == left


def test_the_result_of_a_prune_has_sizes_and_the_total() -> None:
    gone = Garbage(
        sets=["small-old"],
        links=[],
        blobs={"c": 400_000_000},
        records=["inputs"],
        images={"trivet/node:old": 1_200_000_000},
        environments={},
        uploads={Path("u"): 1_000_000},
        work={Path("w"): 2_000_000},
        programs={},
        run_in_progress=True,
    )
    assert pruned(gone, dry_run=False).splitlines() == [
        "              image set small-old",
        "    400.0 MB  1 blobs (layers, configs, manifests) of no image set",
        "              1 records of layers",
        "      3.0 MB  2 unfinished files of interrupted builds",
        "   1200.0 MB  Docker image trivet/node:old",
        "   1603.0 MB  freed",
        "environments and programs were kept: a run is in progress",
    ]


def test_a_prune_without_garbage_says_so(engine: Docker) -> None:
    engine.images.clear()
    assert pruned(provision_prune.prune([]), dry_run=False) == "nothing to remove"
