"""Where settings come from, and what is said of those that cannot be read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trivet.errors import UsageError
from trivet.settings import load_settings
from trivet.stacks.environments import cache_directory


def write(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text)
    return folder


def test_defaults_then_file_then_environment_then_flag(tmp_path: Path) -> None:
    folder = write(tmp_path, '[tool.trivet]\nstack = "file"\nprofile = "file"\nreport = "file"\n')
    environment = {"TRIVET_PROFILE": "environment", "TRIVET_REPORT": "environment"}
    settings = load_settings(folder, environment, report="flag")
    assert (settings.target, settings.stack, settings.profile, settings.report) == (
        "local",
        "file",
        "environment",
        "flag",
    )


def test_a_folder_below_finds_the_file_above(tmp_path: Path) -> None:
    write(tmp_path, '[tool.trivet]\nplugins = ["acme"]\n')
    (tmp_path / "deep").mkdir()
    assert load_settings(tmp_path / "deep", {}).plugins == ("acme",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tool.trivet]\nstak = "current"\n', "has no key 'stak'"),
        ("[tool.trivet]\nstack = 3\n", "tool.trivet.stack is 3"),
        ('[tool.trivet]\nplugins = "acme"\n', "write a list of module names"),
        ("[tool.trivet\n", "is not valid TOML"),
        ('[tool]\ntrivet = "current"\n', "not a table"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"pyproject\.toml") as caught:
        load_settings(write(tmp_path, text), {})
    assert said in str(caught.value)


def test_the_profile_follows_the_target_unless_it_is_named(tmp_path: Path) -> None:
    write(tmp_path, "")
    assert load_settings(tmp_path, {}).profile == "core"
    assert load_settings(tmp_path, {}, target="kind").profile == "cluster"
    assert load_settings(tmp_path, {"TRIVET_PROFILE": "core"}, target="existing").profile == "core"


def test_an_unknown_source_of_images_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown source of images 'bake'") as caught:
        load_settings(write(tmp_path, ""), {"TRIVET_IMAGES": "bake"})
    assert "build, pull" in caught.value.remedy


@pytest.mark.parametrize("target", ["kind", "existing"])
@pytest.mark.parametrize(("key", "value"), [("store", "s3"), ("store", "files"), ("database", "postgresql")])
def test_a_backing_that_is_asked_for_on_a_cluster_is_refused_with_the_reason(
    tmp_path: Path, target: str, key: str, value: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load_settings(write(tmp_path, f'[tool.trivet]\ntarget = "{target}"\n'), {}, **{key: value})
    assert caught.value.message.startswith(f"{key} {value!r} is not supported on the target {target}: ")
    assert "use the target local" in caught.value.remedy


def test_a_backing_in_the_file_or_the_environment_is_for_local_and_harms_no_cluster(tmp_path: Path) -> None:
    folder = write(tmp_path, '[tool.trivet]\nstore = "s3"\n')
    settings = load_settings(folder, {"TRIVET_DATABASE": "postgresql"}, target="kind")
    assert (settings.store, settings.database) == ("s3", "postgresql")
    assert load_settings(folder, {}, target="local", database="sqlite").store == "s3"


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"TRIVET_CACHE": "/big/disk", "XDG_CACHE_HOME": "/xdg"}, "/big/disk"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/trivet"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/ann/.cache/trivet"),
        ({}, "/home/ann/.cache/trivet"),
    ],
)
def test_the_cache_is_where_the_user_or_the_xdg_specification_says(
    variables: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("TRIVET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ann", **variables}.items():
        monkeypatch.setenv(name, value)
    assert cache_directory() == Path(place)
