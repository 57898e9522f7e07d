"""Controls of the contracts over a model directory and the runtime's lock (2024.11: scikit-learn 1.4.1.post1, NumPy 1.26.4)."""

from __future__ import annotations

import pytest
from controls.registry import broken, sound
from controls.twins import model_findings

from trivet.model.finding import Finding
from trivet.model.outcome import Outcome

MLMODEL = """\
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl, python_version: 3.10.14}
  sklearn: {pickled_model: model.pkl, serialization_format: cloudpickle, sklearn_version: 1.4.1.post1}
mlflow_version: 2.10.2
"""
REQUIREMENTS = "mlflow==2.10.2\nnumpy==1.26.4\nscikit-learn==1.4.1.post1\n"
SOUND = {"MLmodel": MLMODEL, "requirements.txt": REQUIREMENTS}


def model(**changes: str) -> dict[str, str]:
    """The sound model with the MLmodel's or the requirements' words changed: ``{"1.4.1": "1.5.2"}`` and so on."""
    files = dict(SOUND)
    for old, new in changes.items():
        assert any(old in text for text in files.values()), old
        files = {name: text.replace(old, new) for name, text in files.items()}
    return files


@broken(
    "environment.dependencies_fit_the_runtime", because="saved with scikit-learn 1.5.2, and the runtime has 1.4.1.post1"
)
def test_a_newer_scikit_learn() -> list[Finding]:
    return model_findings("environment.dependencies_fit_the_runtime", model(**{"1.4.1.post1": "1.5.2"}))


@broken("environment.dependencies_fit_the_runtime", because="saved with numpy 2.1.3, and the runtime has 1.26.4")
def test_a_newer_numpy() -> list[Finding]:
    return model_findings("environment.dependencies_fit_the_runtime", model(**{"numpy==1.26.4": "numpy==2.1.3"}))


@sound("environment.dependencies_fit_the_runtime")
def test_an_older_numpy_and_another_patch() -> list[Finding]:
    changes = {"numpy==1.26.4": "numpy==1.24.0", "1.4.1.post1": "1.4.2"}
    return model_findings("environment.dependencies_fit_the_runtime", model(**changes))


CUSTOM = """\
flavors:
  python_function: {loader_module: mlflow.pyfunc.model, python_model: python_model.pkl, python_version: 3.10.14}
mlflow_version: 2.10.2
"""


@pytest.mark.parametrize(
    ("requirement", "line", "told"),
    [
        ("scikit-learn==1.5.2", 3, "scikit-learn 1.5.2, and the runtime has 1.4.1.post1"),
        ("numpy==2.1.3", 2, "numpy 2.1.3, and the runtime has 1.26.4"),
    ],
)
def test_a_pickled_python_model_may_hold_what_does_not_fit(requirement: str, line: int, told: str) -> None:
    lines = REQUIREMENTS.splitlines()
    lines[line - 1] = requirement
    files = {"MLmodel": CUSTOM, "requirements.txt": "\n".join(lines)}
    found = model_findings("environment.dependencies_fit_the_runtime", files)
    (doubt,) = [finding for finding in found if finding.outcome is Outcome.INCONCLUSIVE]
    assert told in doubt.message
    assert doubt.location is not None
    assert (doubt.location.file.endswith("requirements.txt"), doubt.location.line) == (True, line)


@sound("environment.dependencies_fit_the_runtime")
def test_a_pickled_python_model_with_the_runtimes_versions() -> list[Finding]:
    files = {"MLmodel": CUSTOM, "requirements.txt": REQUIREMENTS}
    return model_findings("environment.dependencies_fit_the_runtime", files)


@broken("environment.versions_are_the_same", because="saved with numpy 1.26.3, and the runtime has 1.26.4")
def test_another_patch() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", model(**{"numpy==1.26.4": "numpy==1.26.3"}))


@broken("environment.versions_are_the_same", because="saved with lightgbm 4.0.0")
def test_a_package_that_the_runtime_lacks() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", model(**{"mlflow==": "lightgbm==4.0.0\nmlflow=="}))


@sound("environment.versions_are_the_same")
def test_the_runtimes_versions() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", SOUND)


@broken(
    "environment.python_fits_the_runtime",
    because="saved with Python 3.12.1, and the runtime's image has Python 3.10.12",
)
def test_a_newer_python() -> list[Finding]:
    return model_findings("environment.python_fits_the_runtime", model(**{"3.10.14": "3.12.1"}))


@sound("environment.python_fits_the_runtime")
def test_another_patch_of_python() -> list[Finding]:
    return model_findings("environment.python_fits_the_runtime", SOUND)


@broken("environment.serialization_is_readable", because="MLflow 2.10.2 cannot read")
def test_skops() -> list[Finding]:
    return model_findings("environment.serialization_is_readable", model(**{"cloudpickle": "skops"}))


@broken("environment.serialization_is_readable", because="the runtime's lock holds no skops")
def test_skops_for_a_runtime_that_has_only_mlflow() -> list[Finding]:
    files = model(**{"cloudpickle": "skops"})
    return model_findings("environment.serialization_is_readable", files, runtime={"mlflow": "3.9.0"})


@sound("environment.serialization_is_readable")
def test_skops_for_a_runtime_that_reads_it() -> list[Finding]:
    files, runtime = model(**{"cloudpickle": "skops"}), {"mlflow": "3.9.0", "skops": "0.13.0"}
    return model_findings("environment.serialization_is_readable", files, runtime=runtime)


@sound("environment.serialization_is_readable")
def test_cloudpickle() -> list[Finding]:
    return model_findings("environment.serialization_is_readable", SOUND)


@pytest.mark.parametrize("requirement", ["numpy", "numpy>=1.26", "numpy==1.*", "numpy>=1.26,<2"])
@broken("environment.requirements_are_pinned", because="takes whatever version")
def test_a_range(requirement: str) -> list[Finding]:
    return model_findings("environment.requirements_are_pinned", model(**{"numpy==1.26.4": requirement}))


@broken("environment.requirements_are_pinned", because="lists no requirements")
def test_no_requirements() -> list[Finding]:
    return model_findings("environment.requirements_are_pinned", {"MLmodel": MLMODEL})


@sound("environment.requirements_are_pinned")
def test_pins_in_a_conda_file_with_comments() -> list[Finding]:
    conda = "dependencies:\n- python=3.10\n- pip:\n  - numpy==1.26.4 # why\n  - scikit-learn[alldeps]==1.4.1.post1\n"
    return model_findings("environment.requirements_are_pinned", {"MLmodel": MLMODEL, "conda.yaml": conda})
