"""Where settings come from, and the errors of those that cannot be read."""

from __future__ import annotations

import re
import sys
import tomllib
from datetime import date
from pathlib import Path

import jsonschema
import pytest

from trivet.errors import UsageError
from trivet.model.settings import Lint, LintPath
from trivet.model.waiver import Waiver
from trivet.render import settings_schema
from trivet.settings import load_settings, settings_folder
from trivet.stacks.environments import cache_directory

WAIVER = '[tool.trivet.waivers.a]\ncontract = "paths.*"\nreason = "b"\nexpires = "2027-03-01"\n'


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
    ("text", "words"),
    [
        ('[tool.trivet]\nstak = "current"\n', "has no key 'stak'"),
        ("[tool.trivet]\nstack = 3\n", "tool.trivet.stack is 3"),
        ('[tool.trivet]\nplugins = "acme"\n', "write a list of module names"),
        ('[tool.trivet]\nas_is = "yes"\n', "tool.trivet.as_is is 'yes'\n  remedy: write true or false"),
        ("[tool.trivet\n", "is not valid TOML"),
        ('[tool]\ntrivet = "current"\n', "not a table"),
        ("[tool.trivet]\nlint = 3\n", "tool.trivet.lint is 3, not a table\n  remedy: write [tool.trivet.lint]"),
        (
            "[tool.trivet.lint]\nexlude = []\n",
            "tool.trivet.lint has no key 'exlude'\n  remedy: did you mean 'exclude'?",
        ),
        ('[tool.trivet.lint]\nexclude = "a"\n', "write a list of patterns"),
        ("[tool.trivet.lint]\nmax_advice = -1\n", "write a number from 0 on"),
        ('[tool.trivet.lint]\nmax_advice = "9"\n', "write a number from 0 on"),
        ("[tool.trivet.lint]\nmax_advice = true\n", "write a number from 0 on"),
        ("[tool.trivet.lint.paths]\nglob = 3\n", "not an array of tables\n  remedy: write [[tool.trivet.lint.paths]]"),
        ('[[tool.trivet.lint.paths]]\nglob = "a"\n', "tool.trivet.lint.paths lacks the key 'stack'"),
        ('[[tool.trivet.lint.paths]]\nglobb = "a"\n', "has no key 'globb'\n  remedy: did you mean 'glob'?"),
        (
            '[tool.trivet.lint]\ndefault_deployment_mode = "Raw"\n',
            "tool.trivet.lint: unknown deployment mode 'Raw'\n  remedy: choose one of: Knative, ModelMesh, RawDeployment",
        ),
        (
            "[tool.trivet]\nwaivers = 3\n",
            "tool.trivet.waivers is 3, not a table\n  remedy: write [tool.trivet.waivers.NAME]",
        ),
        ("[tool.trivet.waivers]\na = 3\n", "tool.trivet.waivers.a is 3, not a table"),
        (
            '[tool.trivet.waivers.a]\ncontract = "paths.*"\nexpires = "2027-03-01"\n',
            "tool.trivet.waivers.a lacks the key 'reason'",
        ),
        (
            '[tool.trivet.waivers.a]\ncontract = "paths.*"\nreason = "b"\n',
            "tool.trivet.waivers.a lacks the key 'expires'\n  remedy: write expires = 'YYYY-MM-DD' in it",
        ),
        (WAIVER.replace('reason = "b"', 'reason = " "'), "tool.trivet.waivers.a: its reason is empty"),
        (WAIVER.replace("paths.*", ""), "tool.trivet.waivers.a: its contract is empty"),
        (WAIVER.replace("expires", "expire"), "has no key 'expire'\n  remedy: did you mean 'expires'?"),
        (WAIVER.replace("2027-03-01", "soon"), "tool.trivet.waivers.a.expires is 'soon', not a date\n  remedy: write "),
        (WAIVER.replace("2027-03-01", "2027-02-30"), "tool.trivet.waivers.a.expires is '2027-02-30', not a date"),
        (WAIVER.replace('"2027-03-01"', "2027-03-01T12:00:00Z"), "tool.trivet.waivers.a.expires is datetime"),
        (WAIVER.replace('"2027-03-01"', "2027"), "tool.trivet.waivers.a.expires is 2027, not a date"),
        (WAIVER.replace('"2027-03-01"', "2027-02-30"), "is not valid TOML"),
        ("[tool.trivet]\nrequire_features = 'ScaleToZero'\n", "write a list of names of features"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=r"pyproject\.toml") as caught:
        load_settings(write(tmp_path, text), {})
    assert words in str(caught.value)


def test_the_settings_of_lint_are_read_from_the_file_and_the_environment(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        [tool.trivet.lint]
        default_deployment_mode = "RawDeployment"
        runtimes = ["triton-24"]
        [[tool.trivet.lint.paths]]
        glob = "legacy/"
        stack = "2024.11"
        """,
    )
    lint = load_settings(tmp_path, {"TRIVET_LINT_EXCLUDE": "a,b", "TRIVET_LINT_INGRESS_DOMAIN": "example.com"}).lint
    assert lint == Lint(
        default_deployment_mode="RawDeployment",
        ingress_domain="example.com",
        runtimes=("triton-24",),
        exclude=("a", "b"),
        paths=(LintPath(glob="legacy/", stack="2024.11"),),
    )
    with pytest.raises(UsageError, match="unknown deployment mode 'raw'"):
        load_settings(tmp_path, {"TRIVET_LINT_DEFAULT_DEPLOYMENT_MODE": "raw"})
    with pytest.raises(UsageError, match="kfp_backend is 'latest', which is no release of KFP's backend"):
        load_settings(tmp_path, {"TRIVET_LINT_KFP_BACKEND": "latest"})


@pytest.mark.parametrize("day", ['"2027-03-01"', "2027-03-01"])
def test_waivers_are_read_from_the_table_and_from_a_file_beside_it(tmp_path: Path, day: str) -> None:
    write(
        tmp_path, f'[tool.trivet]\nwaivers_file = "known.toml"\n{WAIVER.replace(chr(34) + "2027-03-01" + chr(34), day)}'
    )
    (tmp_path / "known.toml").write_text(WAIVER.replace("tool.trivet.waivers.a", "b") + 'owner = "ann"\n')
    (tmp_path / "deep").mkdir()
    waivers = load_settings(tmp_path / "deep", {}).waivers
    assert list(waivers) == ["a", "b"]
    assert waivers["a"] == Waiver(contract="paths.*", reason="b", expires=date(2027, 3, 1))
    assert waivers["b"].owner == "ann"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[b]\ncontract = "paths.*"\n', "known.toml: b lacks the key 'reason'"),
        ("b = 1\n", "known.toml: b is 1, not a table"),
        (
            WAIVER.replace("tool.trivet.waivers.a", "a"),
            "two waivers are called 'a': in known.toml and in pyproject.toml",
        ),
        ("[b\n", "known.toml is not valid TOML"),
        (
            None,
            "known.toml: No such file or directory\n  remedy: make it readable for this user, or correct waivers_file",
        ),
    ],
)
def test_a_wrong_file_of_waivers_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    write(tmp_path, WAIVER)
    if text is not None:
        (tmp_path / "known.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_settings(tmp_path, {"TRIVET_WAIVERS_FILE": "known.toml"})
    assert words in str(caught.value)


def test_required_features_are_read_from_the_file_the_environment_and_the_flag(tmp_path: Path) -> None:
    write(tmp_path, '[tool.trivet]\nrequire_features = ["Knative"]\n')
    assert load_settings(tmp_path, {}).require_features == ("Knative",)
    environment = {"TRIVET_REQUIRE_FEATURES": "Knative,Prometheus"}
    assert load_settings(tmp_path, environment).require_features == ("Knative", "Prometheus")
    assert load_settings(tmp_path, environment, require_features=["ScaleToZero"]).require_features == ("ScaleToZero",)


def test_patterns_are_relative_to_the_folder_of_the_file(tmp_path: Path) -> None:
    assert settings_folder(tmp_path / "deep") == tmp_path / "deep"
    write(tmp_path, "[tool.trivet]\n")
    assert settings_folder(tmp_path / "deep") == tmp_path


def test_the_published_schema_of_the_settings_is_current() -> None:
    published = Path(settings_schema.__file__).with_name(settings_schema.FILE).read_text(encoding="utf-8")
    assert published == settings_schema.schema_text(), "write settings_schema.schema_text() to the file anew"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("", True),
        (
            'stack = "current"\nplugins = ["a"]\nimages = "build"\n[lint]\nmax_advice = 3\n[existing]\ncontext = "a"',
            True,
        ),
        ('[[lint.paths]]\nglob = "a"\nstack = "b"\n[lint]\ndefault_deployment_mode = "Standard"', True),
        ("stak = 'x'", False),
        ("stack = 3", False),
        ("images = 'bake'", False),
        ("plugins = 'a'", False),
        ("[lint]\nexlude = []", False),
        ("[lint]\nmax_advice = -1", False),
        ("[lint]\ndefault_deployment_mode = 'Raw'", False),
        ("[[lint.paths]]\nglob = 'a'", False),
        ("[existing]\nnames = 1", False),
        ('[waivers.a]\ncontract = "b"\nreason = "c"\nexpires = "2027-03-01"', True),
        ('require_features = ["Knative"]\nwaivers_file = ""', True),
        ('[waivers.a]\ncontract = "b"\nreason = "c"', False),
        ('[waivers.a]\ncontract = "b"\nexpires = "2027-03-01"', False),
        ('[waivers.a]\ncontract = "b"\nreason = "c"\nexpires = "2027-03-01"\nuntil = "d"', False),
        ("[waivers]\na = 1", False),
    ],
)
def test_editors_accept_what_trivet_accepts(tmp_path: Path, text: str, valid: bool) -> None:
    table = tomllib.loads(text)
    schema = settings_schema.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert jsonschema.Draft202012Validator(schema).is_valid(table) == valid
    write(
        tmp_path,
        "[tool.trivet]\n" + re.sub(r"\[(lint|existing|waivers)", r"[tool.trivet.\1", text),
    )
    if valid:
        load_settings(tmp_path, {})
    else:
        with pytest.raises(UsageError):
            load_settings(tmp_path, {})


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


@pytest.mark.parametrize("target", ["local", "existing", ""])
def test_judging_a_cluster_as_it_is_is_for_the_target_that_installs_one(tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError, match=f"--as-is is not supported on the target {target or 'local'}") as error:
        load_settings(write(tmp_path, ""), {}, target=target, as_is=True)
    assert "use the target kind" in error.value.remedy
    assert load_settings(tmp_path, {}, target="kind", as_is=True).as_is
    assert not load_settings(tmp_path, {}, target="kind", as_is=False).as_is
    assert load_settings(write(tmp_path, "[tool.trivet]\nas_is = true\n"), {}).as_is


@pytest.mark.parametrize("target", ["local", "existing", ""])
def test_addons_are_for_clusters_of_trivet_s_own(tmp_path: Path, target: str) -> None:
    with pytest.raises(
        UsageError, match=f"--addon pipelines is not supported on the target {target or 'local'}"
    ) as error:
        load_settings(write(tmp_path, ""), {}, target=target, addons=("pipelines",))
    assert "use the target kind" in error.value.remedy
    assert load_settings(tmp_path, {}, target="kind", addons=("pipelines",)).addons == ("pipelines",)
    assert load_settings(tmp_path, {}, addons=("pipelines",)).addons == ("pipelines",)
    assert load_settings(tmp_path, {"TRIVET_ADDONS": "pipelines"}, target=target).addons == ("pipelines",)


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
