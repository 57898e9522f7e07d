"""The installation as data: the shipped tables are consistent, and inconsistent tables are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trivet.errors import PlatformError, UsageError
from trivet.provision.kind import steps as kind_steps
from trivet.provision.kind.certificates import make_certificate
from trivet.provision.kind.manifests import Patch, parse, read_files
from trivet.provision.kind.steps import InstallStep, ReplacedImages, TemplateValues, objects_of, read_steps
from trivet.stacks.go_modules import module_folder
from trivet.stacks.platform import Platform, read_platform, shipped_platforms

SHIPPED = Path(kind_steps.__file__).parents[3] / "fixtures" / "platforms"
VALUES = {
    "image_tracking": "tracking:1",
    "tracking_environment": '{"A": "b"}',
    "store_access_key": "k",
    "store_secret_key": "s",
    "database_password": "p",
    "pod_network": "10.244.0.0/16",
    "metrics_port": "8082",
    "metrics_path": "/metrics",
}


def platform(install: dict[str, Any], folder: Path = Path("/nowhere")) -> Platform:
    return Platform(name="test", folder=folder, table={"install": install, "go": {}})


@pytest.mark.parametrize("name", shipped_platforms())
@pytest.mark.parametrize("source", ["build", "pull"])
def test_every_step_of_a_shipped_platform_comes_after_what_it_waits_for(name: str, source: str) -> None:
    seen: set[str] = set()
    for step in read_steps(read_platform(SHIPPED / name), source):
        assert {*step.after, *step.needs} <= seen
        seen.add(step.name)
    assert ("network-policy" in seen) == (source == "build")


@pytest.mark.parametrize("name", shipped_platforms())
def test_trivet_s_manifests_have_every_template_value(name: str) -> None:
    shipped = read_platform(SHIPPED / name)
    own = [step for step in read_steps(shipped, "build") if set(step.files) == {kind_steps.OWN_MANIFESTS}]
    assert {"database", "store", "tracking", "prometheus"} <= {step.name for step in own}
    for step in own:
        for document in objects_of(step, shipped, TemplateValues(values=VALUES)):
            assert parse(document)["metadata"]["name"] == document.name
            assert "${" not in document.text


def test_an_unknown_key_is_named_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"install\.a: unknown key 'file'") as caught:
        read_steps(platform({"a": {"file": []}}), "build")
    assert "files" in caught.value.remedy


def test_an_unknown_key_of_a_patch_is_named() -> None:
    with pytest.raises(UsageError, match=r"install\.a\.patches: unknown key 'sett'"):
        read_steps(platform({"a": {"files": {}, "patches": [{"on": ["*"], "sett": {}}]}}), "build")


def test_a_step_cannot_wait_for_one_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match=r"install\.a: unknown step 'b'"):
        read_steps(platform({"a": {"files": {}, "needs": ["b"]}}), "build")


def test_steps_that_wait_for_each_other_are_refused() -> None:
    with pytest.raises(UsageError, match="wait for each other"):
        read_steps(platform({"a": {"files": {}, "needs": ["b"]}, "b": {"files": {}, "after": ["a"]}}), "build")


def test_a_step_of_another_image_source_is_omitted_from_dependencies() -> None:
    install = {
        "a": {"files": {}, "source": "build"},
        "b": {"files": {}, "needs": ["a"], "patches": [{"on": ["*"], "source": "build"}, {"on": ["x"]}]},
    }
    (step,) = read_steps(platform(install), "pull")
    assert (step.name, step.needs, [patch.on for patch in step.patches]) == ("b", [], [["x"]])


def test_a_missing_template_value_is_named() -> None:
    step = InstallStep(name="store", files={"trivet": ["store.yaml"]})
    with pytest.raises(UsageError, match=r"\$\{image\}") as caught:
        objects_of(step, platform({}), TemplateValues(values={"images": "x"}))
    assert caught.value.remedy == "did you mean 'images'? choose one of: images"


def test_a_patch_that_cannot_be_applied_names_platform_and_step() -> None:
    step = InstallStep(name="s", files={"trivet": ["coredns.yaml"]}, patches=[Patch(on=["Job/*"])])
    with pytest.raises(UsageError, match=r"platform test, install\.s: no object matches the pattern 'Job/\*'"):
        objects_of(step, platform({}), TemplateValues())


def test_a_module_without_a_wrapper_is_named() -> None:
    step = InstallStep(name="s", go="nothing", files={"example.com/m": ["x.yaml"]})
    with pytest.raises(UsageError, match="unknown Go wrapper 'nothing'"):
        objects_of(step, platform({}), TemplateValues())


def test_files_of_a_step_come_in_the_order_of_its_patterns(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.yaml").write_text(f"kind: {name}\n")
    assert read_files(tmp_path, ["c.yaml", "[ab].yaml"]) == "kind: c\n\n---\nkind: a\n\n---\nkind: b\n"


def test_a_pattern_without_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no file '300-resources/\*'"):
        read_files(tmp_path, ["300-resources/*"])


def test_a_machine_without_go_gets_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlatformError, match="there is no go command on this machine") as caught:
        module_folder(tmp_path, "example.com/m")
    assert "install Go" in caught.value.remedy


def test_an_error_of_go_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("""#!/bin/sh\necho '{"Path": "example.com/m", "Error": "checksum mismatch"}'\nexit 1\n""")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PlatformError, match=r"example\.com/m .*checksum mismatch"):
        module_folder(tmp_path, "example.com/m")


def test_a_step_gets_the_certificate_that_it_declares() -> None:
    step = InstallStep(
        name="s",
        files={"trivet": ["coredns.yaml"]},
        certificate=kind_steps.WebhookCertificate(secret="c", service="w", namespace="n"),
    )
    found = objects_of(step, platform({}), TemplateValues(certificates={"w": make_certificate("w", "n")}))
    assert [document.id for document in found] == ["Deployment/coredns", "Secret/c"]


STORE_IMAGE = "docker.io/versity/versitygw:v1.8.0"


def stored(image: str, names: dict[str, str]) -> ReplacedImages:
    """The images after a step whose manifest has ``image``."""
    step = InstallStep(name="s", files={"trivet": ["store.yaml"]}, values={"image": image})
    replaced = ReplacedImages(platform({}), names)
    replaced.checked(objects_of(step, platform({}), TemplateValues(values=VALUES, images=names)))
    return replaced


def test_an_image_that_no_manifest_has_is_not_replaced_in_silence() -> None:
    names = {STORE_IMAGE: "mine/gateway:1"}
    stored("versity/versitygw:v1.8.0", names).check_all()
    with pytest.raises(
        PlatformError, match="no manifest of the platform test names the image a/b:1, which mine/b:1 repl"
    ):
        stored(STORE_IMAGE, {**names, "a/b:1": "mine/b:1"}).check_all()


def test_an_image_that_is_left_under_another_name_is_an_error() -> None:
    with pytest.raises(
        PlatformError, match=r"Deployment/store of the platform test has an image like .*:v1\.8\.0, which"
    ):
        stored("mirror.example/versity/versitygw:v1.8.0", {STORE_IMAGE: "mine/gateway:1"})


def test_an_image_whose_new_name_begins_with_the_old_one_is_replaced() -> None:
    stored(STORE_IMAGE, {STORE_IMAGE: f"{STORE_IMAGE}-lock-0123"}).check_all()


def test_an_image_that_a_patch_names_is_replaced() -> None:
    place = "/spec/template/spec/containers/0/image"
    step = InstallStep(
        name="s",
        files={"trivet": ["store.yaml"]},
        values={"image": "a/b:1"},
        patches=[Patch(on=["Deployment/store"], set={place: "versity/versitygw:v1.8.0"})],
    )
    found = objects_of(step, platform({}), TemplateValues(values=VALUES, images={STORE_IMAGE: "mine/gateway:1"}))
    assert any("image: mine/gateway:1" in one.text for one in found)
