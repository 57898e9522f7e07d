"""Contracts as a gate: what they refuse, what they let through, and that an inconclusive one does neither."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract_examples.pickles import pickled

from trivet.authoring.contracts import MUST, contract
from trivet.authoring.gates import refusal
from trivet.engine.registry import Registry, use_registry
from trivet.errors import CannotTell, UsageError
from trivet.model.finding import Finding, failed
from trivet.model.subjects import ModelDirectory
from trivet.stacks.read import load_stack

STACK = load_stack("2024.11-fixed")
MLMODEL = """\
flavors:
  python_function: {loader_module: mlflow.sklearn, python_version: 3.11.7}
  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle, sklearn_version: %s}
mlflow_version: 2.17.2
"""


def model(directory: Path, scikit_learn: str, numpy: str, *names: str) -> Path:
    """A model that these versions saved; its pickle contains ``names``."""
    (directory / "MLmodel").write_text(MLMODEL % scikit_learn)
    (directory / "model.pkl").write_bytes(pickled(*names, sklearn=scikit_learn))
    (directory / "requirements.txt").write_text(f"scikit-learn=={scikit_learn}\nnumpy=={numpy}\n")
    return directory


def test_a_model_of_newer_packages_is_refused_in_the_contract_s_words(tmp_path: Path) -> None:
    message = refusal(model(tmp_path, "1.5.2", "2.1.3", "_loss:CyHalfBinomialLoss"), STACK, "environment.*")

    assert message.startswith("environment.dependencies_fit_the_runtime: saved with scikit-learn 1.5.2")


def test_advice_refuses_nothing(tmp_path: Path) -> None:
    assert refusal(model(tmp_path, "1.4.2", "1.26.3"), STACK, "environment.*") == ""


@contract(title="A must B", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do C")
def model_is_signed_off(model_directory: ModelDirectory) -> Iterator[Finding]:
    yield failed("nobody signed it off", location=model_directory.at())


def test_contracts_of_the_run_s_plugins_refuse_too(tmp_path: Path) -> None:
    directory = model(tmp_path, "1.4.2", "1.26.4")
    plugin = sys.modules[__name__]
    with use_registry(Registry(modules=[plugin])):
        refused = refusal(directory, STACK, "test_scenarios_gates.*")
    assert refused == "test_scenarios_gates.model_is_signed_off: nobody signed it off"
    with pytest.raises(UsageError, match="none of the chosen contracts"):
        refusal(directory, STACK, "test_scenarios_gates.*")


def test_a_model_without_its_pickle_is_not_let_through(tmp_path: Path) -> None:
    (model(tmp_path, "1.4.2", "1.26.4") / "model.pkl").unlink()
    with pytest.raises(CannotTell, match=r"model\.pkl cannot be examined"):
        refusal(tmp_path, STACK, "environment.*")


def test_what_no_contract_could_judge_is_not_let_through(tmp_path: Path) -> None:
    with pytest.raises(CannotTell, match="manifests"):
        refusal(model(tmp_path, "1.4.2", "1.26.4"), STACK, "manifests.*")
