"""Composed stacks: what a part brings along, what is locked by the way, and what is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from fakes.package_index import FakeIndex

from trivet.errors import CannotTell, PlatformError, UsageError
from trivet.model.stack import Stack
from trivet.stacks.composed import Contradiction, compose, read_parts
from trivet.stacks.read import load_stack, stack_folder


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeIndex:
    return FakeIndex(monkeypatch, tmp_path / "cache")


@pytest.fixture(scope="module")
def fixed() -> Stack:
    return load_stack("2024.11-fixed")


@pytest.fixture(scope="module")
def current() -> Stack:
    return load_stack("current")


def test_a_role_of_another_stack_comes_with_its_lock_and_python(fixed: Stack, current: Stack) -> None:
    made = compose(fixed, {"trainer": "current"})
    assert made.roles == {**fixed.roles, "trainer": current.roles["trainer"]}
    assert made.name == "2024.11-fixed+trainer=current"
    assert made.title == f"{fixed.title}; with trainer=current"


@pytest.mark.parametrize(
    ("parts", "shares"),
    [
        ({"trainer": "current"}, True),
        ({"trainer": "current", "sdk": "2.9.0"}, True),
        ({"tracking": "current"}, False),
        ({"trainer": "current", "runtime": "current"}, False),
    ],
)
def test_a_stack_with_another_trainer_alone_runs_on_the_cluster_of_its_base(
    fixed: Stack, parts: Mapping[str, str], shares: bool
) -> None:
    assert (compose(fixed, parts).cluster_of is fixed) is shares


def test_with_another_trainer_a_composed_stack_runs_on_the_cluster_of_its_other_parts(fixed: Stack) -> None:
    made = compose(fixed, {"trainer": "current", "runtime": "current"})
    assert made.cluster_of == compose(fixed, {"runtime": "current"})


def test_a_composed_stack_has_the_options_that_compose_it_again(fixed: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "my stack"
    shutil.copytree(stack_folder("current"), folder)
    made = compose(load_stack(str(folder)), {"tracking": "2024.11", "trainer": "current"})
    assert made.options == f"--stack '{folder}' --with tracking=2024.11"
    assert compose(fixed, {"runtime": str(folder)}).options == f"--stack 2024.11-fixed --with 'runtime={folder}'"
    assert fixed.options == "--stack 2024.11-fixed"


def test_the_component_mlflow_is_the_servers_and_a_trainer_with_another_version_stands_beside_it(
    fixed: Stack, current: Stack
) -> None:
    newer_trainer = compose(fixed, {"trainer": "current"}).components
    assert newer_trainer["mlflow"] == fixed.components["mlflow"]
    assert newer_trainer["mlflow_client"] == current.components["mlflow"]
    assert newer_trainer["kfp"] == current.components["kfp"]
    newer_server = compose(fixed, {"tracking": "current"}).components
    assert newer_server["mlflow"] == current.components["mlflow"]
    assert newer_server["mlflow_client"] == fixed.components["mlflow"]
    both = compose(fixed, {"trainer": "current", "tracking": "current"}).components
    assert "mlflow_client" not in both


def test_an_initializer_of_another_release_stands_beside_kserve(fixed: Stack, current: Stack) -> None:
    made = compose(fixed, {"initializer": "0.20.0"})
    assert made.roles["initializer"] == current.roles["initializer"]
    assert made.components["kserve"] == "0.14.1"
    assert made.components["storage_initializer"] == "0.20.0"


def test_a_runtime_brings_the_table_of_its_image(fixed: Stack, current: Stack) -> None:
    for value in ("current", "1.7.1"):
        made = compose(fixed, {"runtime": value})
        assert made.roles["runtime"] == current.roles["runtime"]
        assert made.runtime_image == current.runtime_image
        assert made.components["runtime"] == "1.7.1"


def test_kserve_brings_schemas_facts_and_platform_and_no_role(fixed: Stack, current: Stack) -> None:
    made = compose(fixed, {"kserve": "0.20.0"})
    assert made.roles == fixed.roles
    assert made.api_schemas == current.api_schemas
    assert made.settings == current.settings
    assert (made.platform, made.folder) == (current.platform, current.folder)
    assert {made.components[name] for name in ("kserve", "knative", "kubernetes")} == {"0.20.0", "1.21", "1.34"}
    assert made.components["storage_initializer"] == "0.14.1"


PIPELINES = {"backend": "2.17.0", "plugins": {"mlflow": {"endpoint": "http://mlflow:5000"}}}


@pytest.fixture
def described(fixed: Stack, tmp_path: Path) -> Stack:
    """A stack that describes KFP's backend."""
    folder = Path(shutil.copytree(stack_folder("2024.11-fixed"), tmp_path / "described"))
    with (folder / "stack.toml").open("a", encoding="utf-8") as file:
        file.write('\n[pipelines]\nbackend = "2.17.0"\nplugins.mlflow.endpoint = "http://mlflow:5000"\n')
    return load_stack(str(folder))


def test_the_backend_of_kfp_comes_with_its_configuration_and_goes_without(
    fixed: Stack, described: Stack, current: Stack
) -> None:
    made = compose(fixed, {"pipelines": str(described.folder)})
    assert made.settings == {**fixed.settings, "pipelines": PIPELINES}
    assert made.name == "2024.11-fixed+pipelines=described"
    assert made.roles == fixed.roles
    assert compose(described, {"pipelines": "2024.11-fixed"}).settings == fixed.settings
    assert compose(described, {"kserve": "current"}).settings["pipelines"] == PIPELINES
    assert "pipelines" not in compose(fixed, {"kserve": str(described.folder)}).settings


def test_the_backend_of_kfp_in_another_version_keeps_its_configuration(fixed: Stack, described: Stack) -> None:
    made = compose(described, {"pipelines": "2.16.1"})
    assert made.settings["pipelines"] == {**PIPELINES, "backend": "2.16.1"}
    assert made.digest != described.digest
    with pytest.raises(UsageError, match=r"2024\.11-fixed describes no backend of KFP") as error:
        compose(fixed, {"pipelines": "2.16.1"})
    assert "[pipelines]" in error.value.remedy
    with pytest.raises(UsageError, match=r"2\.17 is no release of KFP's backend"):
        compose(described, {"pipelines": "2.17"})


@pytest.fixture
def detected(tmp_path: Path) -> Stack:
    """A stack whose versions of KServe, Prometheus and MLflow are unknown."""
    folder = Path(shutil.copytree(stack_folder("2024.11-fixed"), tmp_path / "detected"))
    file = folder / "stack.toml"
    text = re.sub(r'(?m)^kserve = "0.14.1"\n', "", file.read_text(encoding="utf-8"))
    unknown = '\n[unknown.components]\nkserve = "two controllers"\nprometheus = "not read"\nmlflow = "no answer"\n'
    text = re.sub(r"(?m)^(mlflow|prometheus) = .*\n", "", text)
    file.write_text(text + unknown, encoding="utf-8")
    return load_stack(str(folder))


def test_what_is_unknown_of_kserve_in_another_stack_is_unknown_in_the_composed_one(
    fixed: Stack, detected: Stack
) -> None:
    made = compose(fixed, {"kserve": str(detected.folder)})
    assert (made.version("kserve"), made.version("prometheus")) == ("(unknown)", "(unknown)")
    with pytest.raises(CannotTell, match="the version of kserve is unknown: two controllers"):
        made.components["kserve"]
    assert made.components["mlflow"] == "2.17.2", "MLflow is not KServe's"
    assert made.digest != fixed.digest
    again = compose(detected, {"kserve": "0.20.0"})
    assert again.components["kserve"] == "0.20.0"
    assert compose(again, {"kserve": str(detected.folder)}).version("kserve") == "(unknown)"


def test_all_parts_of_a_stack_together_behave_as_that_stack(fixed: Stack, current: Stack) -> None:
    made = compose(fixed, dict.fromkeys(("kserve", "trainer", "tracking", "initializer", "runtime"), "current"))
    assert made.roles == current.roles
    assert made.components == current.components
    assert (made.settings, made.api_schemas, made.runtime_image) == (
        current.settings,
        current.api_schemas,
        current.runtime_image,
    )


def test_a_part_that_the_stack_has_already_changes_nothing(index: FakeIndex, fixed: Stack) -> None:
    parts = {"tracking": "2.17.2", "trainer": "2.17.2", "sdk": "2.9.0", "initializer": "0.14.1", "runtime": "1.5.0"}
    assert compose(fixed, {**parts, "kserve": "2024.11"}) is fixed
    assert not index.resolved


def test_the_digest_follows_the_contents(fixed: Stack) -> None:
    one, same, other = (
        compose(fixed, {"tracking": "current"}),
        compose(fixed, {"tracking": "3.17.2"}),
        compose(fixed, {"trainer": "current"}),
    )
    assert one.digest == same.digest
    assert len({fixed.digest, one.digest, other.digest}) == 3


def test_a_version_in_a_shipped_lock_needs_no_resolution(index: FakeIndex, fixed: Stack, current: Stack) -> None:
    assert compose(fixed, {"tracking": "3.17.2"}).roles["tracking"] == current.roles["tracking"]
    assert not index.resolved


def test_another_version_is_locked_as_of_the_release_of_the_newest_pin(index: FakeIndex, fixed: Stack) -> None:
    index.days = {"mlflow==2.12.2": "2024-05-08", "kfp==2.9.0": "2024-09-10"}
    made = compose(fixed, {"trainer": "2.12.2", "tracking": "2.12.2"})
    assert [(role, cutoff) for role, _, cutoff in index.resolved] == [
        ("trainer", "2024-09-10T23:59:59Z"),
        ("tracking", "2024-05-08T23:59:59Z"),
    ]
    trainer = made.roles["trainer"]
    assert trainer.requires == ("mlflow==2.12.2", *fixed.roles["trainer"].requires[1:], "setuptools")
    assert trainer.cutoff == "2024-09-10"
    assert (trainer.pins["mlflow"], trainer.title) == ("2.12.2", "the trainer with mlflow==2.12.2")
    assert made.components["mlflow"] == "2.12.2"


def test_a_lock_is_kept_in_the_cache(index: FakeIndex, fixed: Stack) -> None:
    told: list[str] = []
    first = compose(fixed, {"tracking": "2.15.1"}, progress=told.append)
    again = compose(fixed, {"tracking": "2.15.1"}, progress=told.append)
    assert again == first
    assert len(index.resolved) == 1
    assert told == ["locking the tracking with mlflow==2.15.1"]


def test_an_interrupted_lock_is_made_again(index: FakeIndex, fixed: Stack) -> None:
    made = compose(fixed, {"tracking": "2.15.1"}).roles["tracking"]
    made.lock.with_suffix(".json").unlink()
    compose(fixed, {"tracking": "2.15.1"})
    assert len(index.resolved) == 2


def test_the_sdk_is_replaced_within_the_trainer(index: FakeIndex, fixed: Stack) -> None:
    made = compose(fixed, {"sdk": "2.13.0", "trainer": "2.15.1"})
    assert {"mlflow==2.15.1", "kfp==2.13.0"} < set(made.roles["trainer"].requires)
    assert made.components["kfp"] == "2.13.0"
    of_stack = compose(fixed, {"sdk": "current"})
    assert of_stack.components["kfp"] == "2.17.0"
    assert of_stack.roles["trainer"].pins["mlflow"] == "2.17.2"


def test_an_older_initializer_is_another_distribution(index: FakeIndex, current: Stack) -> None:
    index.missing = {"kserve-storage==0.15.2"}
    assert compose(current, {"initializer": "0.15.2"}).roles["initializer"].requires == (
        "kserve[storage]==0.15.2",
        "setuptools",
    )


def test_a_version_that_does_not_exist_is_refused_with_the_nearest(index: FakeIndex, fixed: Stack) -> None:
    index.missing = {"mlflow==2.12.9"}
    with pytest.raises(UsageError, match=r"there is no mlflow==2.12.9\n  remedy: .*nearest: 2.12.2"):
        compose(fixed, {"tracking": "2.12.9"})


def test_contradictory_requirements_are_named(index: FakeIndex, current: Stack) -> None:
    index.refusal = (
        "cannot resolve; output of uv:\n  × No solution found when resolving dependencies:\n  ╰─▶ Because kfp==2.17.0\n"
        "      depends on protobuf>=6 and mlflow==2.12.2 depends on protobuf<5, they are incompatible."
    )
    with pytest.raises(UsageError) as refused:
        compose(current, {"trainer": "2.12.2"})
    assert refused.value.message == (
        "the requirements of the trainer with mlflow==2.12.2 contradict each other: because kfp==2.17.0 depends on protobuf>=6 "
        "and mlflow==2.12.2 depends on protobuf<5, they are incompatible."
    )


def test_a_contradiction_is_remembered_and_its_remedy_names_the_file_to_delete(
    index: FakeIndex, current: Stack
) -> None:
    index.refusal = "cannot resolve; output of uv:\n  × No solution found:\n  ╰─▶ Because a==1 depends on b<1, they are incompatible."
    with pytest.raises(Contradiction) as first:
        compose(current, {"trainer": "2.12.2"})
    index.refusal = ""
    with pytest.raises(Contradiction) as again:
        compose(current, {"trainer": "2.12.2"})
    assert str(first.value) == str(again.value)
    kept = re.search(r"delete (\S+), which keeps this answer, and try again", again.value.remedy)
    assert kept
    Path(kept[1]).unlink()
    assert compose(current, {"trainer": "2.12.2"}).roles["trainer"].pins["mlflow"] == "2.12.2"


def test_an_index_that_cannot_be_reached_is_no_contradiction(index: FakeIndex, fixed: Stack) -> None:
    index.refusal = "cannot resolve; output of uv:\nerror sending request"
    with pytest.raises(PlatformError, match="error sending request"):
        compose(fixed, {"tracking": "2.15.1"})


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("trackng", "current", "unknown role 'trackng'\n  remedy: did you mean 'tracking'?"),
        (
            "tracking",
            "curent",
            "unknown stack 'curent'\n  remedy: did you mean 'current'?.*or give a version such as 2.17.2",
        ),
        ("runtime", "1.6.0", "no shipped stack has the runtime MLServer 1.6.0\n  remedy: .*1.5.0, 1.7.1"),
        ("kserve", "0.15.0", "no shipped stack has the API of KServe 0.15.0\n  remedy: .*0.14.1, 0.20.0"),
    ],
)
def test_an_unknown_part_stack_or_version_lists_what_there_is(fixed: Stack, part: str, value: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compose(fixed, {part: value})


def test_a_role_without_the_distribution_has_no_version(fixed: Stack, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stack_folder("2024.11-fixed"), tmp_path / "ours"))
    file = folder / "stack.toml"
    file.write_text(file.read_text().replace('    "mlflow==2.17.2",\n    "psycopg2', '    "psycopg2'))
    with pytest.raises(UsageError, match="the tracking of ours does not require mlflow"):
        compose(load_stack(str(folder)), {"tracking": "2.15.1"})


def test_a_stack_can_be_named_by_its_folder(fixed: Stack, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stack_folder("current"), tmp_path / "ours"))
    assert compose(fixed, {"tracking": str(folder)}).name == "2024.11-fixed+tracking=ours"


def test_parts_are_read_from_texts() -> None:
    assert read_parts(["tracking=2.15.1", "trainer = current", "tracking=2.15.1"]) == {
        "tracking": "2.15.1",
        "trainer": "current",
    }


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["tracking"], "'tracking' does not compose a stack"),
        (["tracking="], "'tracking=' does not compose a stack"),
        (["=2.15.1"], "'=2.15.1' does not compose a stack"),
        (["traning=2.15.1"], "unknown role 'traning'"),
        (["sdk=2.9.0", "sdk=2.17.0"], "sdk is given twice, as 2.9.0 and as 2.17.0"),
    ],
)
def test_a_wrong_text_is_refused(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        read_parts(texts)
