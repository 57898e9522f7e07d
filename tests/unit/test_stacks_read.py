"""Reading stacks: valid folders, and the errors of invalid ones."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from trivet.errors import UsageError
from trivet.model.platform_config import platform_of
from trivet.model.stack import ROLES
from trivet.stacks.read import load_stack, pins_of, shipped_stacks, stack_folder

SHIPPED = ("2024.05", "2024.05-fixed", "2024.08", "2024.08-fixed", "2024.11", "2024.11-fixed", "current")
HELD = ("scikit-learn", "numpy", "pandas", "scipy", "cloudpickle", "joblib")
"""What a pickled scikit-learn model refers to."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a shipped stack, to be broken."""
    return Path(shutil.copytree(stack_folder("2024.11"), tmp_path / "mine"))


def replace_in(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def refusal(of: str | Path) -> str:
    with pytest.raises(UsageError) as error:
        load_stack(str(of))
    assert error.value.remedy
    return str(error.value)


def test_the_shipped_stacks_are_these() -> None:
    assert tuple(shipped_stacks()) == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_stack_has_every_role_and_a_lock_that_meets_its_components(name: str) -> None:
    stack = load_stack(name)
    assert set(stack.roles) == {*ROLES}
    trainer, runtime = stack.roles["trainer"].pins, stack.roles["runtime"].pins
    assert trainer["kfp"] == stack.components["kfp"]
    assert trainer["mlflow"] == stack.roles["tracking"].pins["mlflow"] == stack.components["mlflow"]
    assert runtime["mlserver"] == runtime["mlserver-mlflow"] == stack.components["runtime"]
    assert stack.roles["runtime"].image.endswith(f":{stack.components['runtime']}")
    initializer = stack.roles["initializer"].pins
    assert initializer.get("kserve-storage", initializer.get("kserve")) == stack.components["kserve"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_lock_has_a_hash_for_every_pin_and_no_address(name: str) -> None:
    for role in load_stack(name).roles.values():
        text = role.lock.read_text(encoding="utf-8")
        assert "://" not in text
        entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
        assert len(entries) >= len(role.pins) > 0
        assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize(("name", "agrees"), [(name, name.endswith("-fixed") or name == "current") for name in SHIPPED])
def test_the_trainer_is_held_to_the_runtime_except_in_the_stack_that_was_published_so(name: str, agrees: bool) -> None:
    roles = load_stack(name).roles
    differing = {package for package in HELD if roles["trainer"].pins[package] != roles["runtime"].pins[package]}
    assert (not differing) is agrees
    if not agrees:
        assert {"scikit-learn", "numpy", "pandas"} <= differing


def test_the_runtime_of_2024_11_holds_what_the_published_image_contains() -> None:
    pins = load_stack("2024.11").roles["runtime"].pins
    seen = {name: pins[name] for name in ("mlflow", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle")}
    assert seen == {
        "mlflow": "2.10.2",
        "scikit-learn": "1.4.1.post1",
        "numpy": "1.26.4",
        "pandas": "2.2.1",
        "scipy": "1.12.0",
        "cloudpickle": "3.0.0",
    }


@pytest.mark.parametrize("row", ["2024.05", "2024.08"])
def test_the_runtime_of_a_row_with_mlserver_1_3_2_holds_what_the_log_of_the_published_image_shows(row: str) -> None:
    runtime = load_stack(row).roles["runtime"]
    seen = {name: runtime.pins[name] for name in ("mlflow", "numpy", "cloudpickle")}
    assert seen == {"mlflow": "2.3.1", "numpy": "1.23.5", "cloudpickle": "2.2.1"}
    assert (runtime.image_python, load_stack(f"{row}-fixed").components["runtime"]) == ("3.8.16", "1.5.0")


def test_the_constraints_of_a_runtime_are_met_by_its_lock() -> None:
    for name in SHIPPED:
        runtime = load_stack(name).roles["runtime"]
        held = dict(line.split("==") for line in runtime.constraints)
        assert held
        assert {package: runtime.pins[package] for package in held if package in runtime.pins} == {
            package: version for package, version in held.items() if package in runtime.pins
        }
        assert len(set(runtime.pins) - set(held)) < 8, "packages of which the image's lock says nothing"


def test_a_user_s_stack_is_read_from_its_folder_and_from_its_file(folder: Path) -> None:
    by_folder, by_file = load_stack(str(folder)), load_stack(str(folder / "stack.toml"))
    assert by_folder == by_file
    assert by_folder.name == "mine"
    assert by_folder.settings["serving"]["environment"]["MLSERVER_MODEL_URI"] == "/mnt/models"


def test_an_unknown_stack_lists_the_shipped_ones() -> None:
    message = refusal("2023.01")
    assert "unknown stack '2023.01'" in message
    assert all(name in message for name in SHIPPED)


def test_a_folder_without_stack_toml_is_not_a_stack(tmp_path: Path) -> None:
    assert "it has no stack.toml" in refusal(tmp_path)


def test_invalid_toml_is_an_error_with_file_and_line(folder: Path) -> None:
    replace_in(folder / "stack.toml", 'kfp = "2.9.0"', "kfp 2.9.0")
    line = next(n for n, text in enumerate((folder / "stack.toml").read_text().splitlines(), 1) if text == "kfp 2.9.0")
    assert f"{folder / 'stack.toml'}:{line}: invalid TOML" in refusal(folder)


def test_a_file_that_is_not_utf_8_is_an_error(folder: Path) -> None:
    (folder / "stack.toml").write_bytes(b"\xff\xfe\x00")
    assert "cannot read" in refusal(folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            'cutoff = "2024-11-15"',
            "cutoff = 2024-11-15",
            "`roles.trainer.cutoff` is datetime.date(2024, 11, 15), expected a date in quotes",
        ),
        ('python = "3.11"', "python = 3.11", "`roles.trainer.python` is 3.11, expected a Python version"),
        (
            'python = "3.11"',
            'pyhton = "3.11"',
            "`roles.trainer.pyhton` is unknown (did you mean `python`?), expected one of: constraints, cutoff",
        ),
        ('kfp = "2.9.0"', 'kpf = "2.9.0"', "`components.kfp` is missing, expected a version"),
        ('mlflow = "2.17.2"', 'mlflow = "latest"', "`components.mlflow` is 'latest', expected a version"),
        ("[roles.tracking]", "[roles.server]", "`roles.tracking` is missing, expected a table"),
        (
            "[roles.tracking]",
            "[roles.server]",
            "`roles.server` is unknown, expected one of: initializer, runtime, tracking",
        ),
        ('    "kfp==2.9.0",', "    29,", "`roles.trainer.requires` is ['mlflow==2.17.2', 29"),
        ("http_port = 8080", 'http_port = "8080"', "`serving.http_port` is '8080', expected a port number"),
        ("[serving]", "[sreving]", "`serving.runtime` is missing, expected a string"),
        ("[components]", "[component]", "`components` is missing, expected a table"),
        ("[serving.storage]\n", "[serving.storage]\nschemes = []\n", "`serving.storage.schemes` is unknown"),
    ],
)
def test_a_key_that_is_missing_unknown_or_of_another_type_is_named(
    folder: Path, old: str, new: str, words: str
) -> None:
    replace_in(folder / "stack.toml", old, new)
    message = refusal(folder)
    assert str(folder / "stack.toml") in message
    assert words in message


PIPELINES = """
[pipelines]
backend = "2.17.0"
namespace = "ml"

[pipelines.plugins.mlflow]
endpoint = "http://mlflow:5000"
tls = {insecureSkipVerify = true}
settings = {authType = "bearer", credentialSecretRef = {tokenKey = "token"}}
"""


def test_a_stack_may_describe_the_backend_of_kfp_and_its_plugins(folder: Path) -> None:
    assert "pipelines" not in load_stack(str(folder)).settings
    with (folder / "stack.toml").open("a", encoding="utf-8") as file:
        file.write(PIPELINES)
    described = platform_of(load_stack(str(folder)))
    assert (described.kfp_backend, described.kfp_namespace) == ("2.17.0", "ml")
    assert described.kfp_plugins
    assert described.kfp_plugins["mlflow"]["tls"] == {"insecureSkipVerify": True}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('backend = "2.17.0"', 'backend = "2.17"', "`pipelines.backend` is '2.17', expected a release of KFP"),
        ('backend = "2.17.0"\n', "", "`pipelines.backend` is missing"),
        ("endpoint", "endpiont", "`pipelines.plugins.mlflow.endpiont` is unknown (did you mean `endpoint`?)"),
        ("= true", '= "yes"', "`pipelines.plugins.mlflow.tls.insecureSkipVerify` is 'yes', expected true or false"),
        (
            "tokenKey",
            "token",
            "`pipelines.plugins.mlflow.settings.credentialSecretRef.token` is unknown",
        ),
        ("plugins.mlflow]", "plugins.flow]", "`pipelines.plugins.flow` is unknown (did you mean `mlflow`?)"),
    ],
)
def test_a_wrong_description_of_the_backend_is_named(folder: Path, old: str, new: str, words: str) -> None:
    with (folder / "stack.toml").open("a", encoding="utf-8") as file:
        file.write(PIPELINES.replace(old, new, 1))
    assert words in refusal(folder)


def test_a_missing_lock_names_the_role_and_the_command(folder: Path) -> None:
    (folder / "runtime.lock").unlink()
    message = refusal(folder)
    assert "role 'runtime' of stack 'mine' has no lock" in message
    assert f"trivet stack lock {folder}" in message


def test_missing_api_schemas_name_the_command(folder: Path) -> None:
    (folder / "api_schemas.json").unlink()
    assert f"trivet stack lock {folder}" in refusal(folder)


@pytest.mark.parametrize("line", ["numpy>=1.26", "numpy", "six @ file:///x/six.whl", "-e .", "<<<<<<< HEAD"])
def test_a_line_of_a_lock_that_is_not_a_pin_is_an_error(folder: Path, line: str) -> None:
    lock = folder / "trainer.lock"
    lock.write_text(f"# a remark\nsix==1.16.0 \\\n    --hash=sha256:00\n{line}\n", encoding="utf-8")
    assert f"{lock}:4: {line!r} is not a pin" in refusal(folder)


def test_pins_have_normalised_names_and_only_those_that_hold_for_the_python() -> None:
    text = (
        "Foo_Bar.baz[extra]==1.0.post1 \\\n    --hash=sha256:00\n"
        "old==1 ; python_full_version < '3.11' \\\n    --hash=sha256:00\n"
        "new==2 ; python_full_version >= '3.11' and sys_platform != 'nonesuch' \\\n    --hash=sha256:00\n"
        "plain==3\n"
    )
    assert pins_of(text, "3.11", Path("x.lock")) == {"foo-bar-baz": "1.0.post1", "new": "2", "plain": "3"}


@pytest.mark.parametrize("changed", ["stack.toml", "trainer.lock", "api_schemas.json"])
def test_the_digest_changes_with_everything_that_decides_behaviour(folder: Path, changed: str) -> None:
    before = load_stack(str(folder)).digest
    assert before == load_stack("2024.11").digest, "where the folder lies decides nothing"
    with (folder / changed).open("a", encoding="utf-8") as file:
        file.write("\n" if changed.endswith("json") else "# more\n")
    assert load_stack(str(folder)).digest != before
