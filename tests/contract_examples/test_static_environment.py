"""Examples of the contracts over a model directory and the runtime's lock (2024.11: scikit-learn 1.4.1.post1, NumPy 1.26.4)."""

from __future__ import annotations

import pytest
from contract_examples.registry import failing, inconclusive, not_applicable, passing
from contract_examples.static import model_findings, runtime

from trivet.errors import CannotTell
from trivet.model.finding import Finding

MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    loader_module: mlflow.sklearn
    python_version: 3.10.14
  sklearn:
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.4.1.post1
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


def flavored(flavor: str, **changes: str) -> dict[str, str]:
    """The sound model's requirements beside an MLmodel of another flavor, which states neither Python nor MLflow."""
    return model(**changes) | {"MLmodel": f"artifact_path: model\nflavors:\n  {flavor}\n"}


CUSTOM = "python_function: {loader_module: mlflow.pyfunc.model, python_model: python_model.pkl}"
BOOSTER = "xgboost: {model_class: xgboost.sklearn.XGBClassifier}"

# dependencies_fit_the_runtime


@failing(
    "environment.dependencies_fit_the_runtime",
    because="saved with scikit-learn 1.5.2, but the runtime has 1.4.1.post1",
    at="MLmodel: sklearn_version: 1.5.2",
)
def test_a_newer_scikit_learn() -> list[Finding]:
    return model_findings("environment.dependencies_fit_the_runtime", model(**{"1.4.1.post1": "1.5.2"}))


@failing(
    "environment.dependencies_fit_the_runtime", because="scikit-learn 1.5.2", at="requirements.txt: scikit-learn==1.5.2"
)
def test_a_newer_scikit_learn_that_only_the_requirements_name() -> list[Finding]:
    files = model(**{"    sklearn_version: 1.4.1.post1\n": "", "1.4.1.post1": "1.5.2"})
    return model_findings("environment.dependencies_fit_the_runtime", files)


@failing("environment.dependencies_fit_the_runtime", because="scikit-learn 1.5.2", at="MLmodel: sklearn_version: 1.5.2")
def test_the_flavor_is_believed_rather_than_the_requirements() -> list[Finding]:
    files = model(**{"sklearn_version: 1.4.1.post1": "sklearn_version: 1.5.2"})
    return model_findings("environment.dependencies_fit_the_runtime", files)


@pytest.mark.parametrize("line", ["", "    serialization_format: pickle\n", "    serialization_format: cloudpickle\n"])
@failing(
    "environment.dependencies_fit_the_runtime",
    because="saved with numpy 2.1.3, but the runtime has 1.26.4",
    at="requirements.txt: numpy==2.1.3",
)
def test_a_newer_numpy(line: str) -> list[Finding]:
    changes = {"numpy==1.26.4": "numpy==2.1.3", "    serialization_format: cloudpickle\n": line}
    return model_findings("environment.dependencies_fit_the_runtime", model(**changes))


@passing("environment.dependencies_fit_the_runtime", because="reads models of scikit-learn 1.4.1.post1")
def test_a_newer_numpy_of_a_model_that_pickles_none_of_its_objects() -> list[Finding]:
    changes = {"numpy==1.26.4": "numpy==2.1.3", "cloudpickle": "skops"}
    return model_findings("environment.dependencies_fit_the_runtime", model(**changes))


@passing("environment.dependencies_fit_the_runtime", because="the runtime's numpy 1.26.4 reads models of numpy 1.24.0")
def test_an_older_numpy_and_another_patch() -> list[Finding]:
    changes = {"numpy==1.26.4": "numpy==1.24.0", "1.4.1.post1": "1.4.2"}
    return model_findings("environment.dependencies_fit_the_runtime", model(**changes))


@pytest.mark.parametrize("version", ["dev", "''"])
@passing("environment.dependencies_fit_the_runtime", because="reads models of scikit-learn 1.4.1.post1")
def test_a_version_that_is_none_leaves_the_requirements(version: str) -> list[Finding]:
    files = model(**{"sklearn_version: 1.4.1.post1": f"sklearn_version: {version}"})
    return model_findings("environment.dependencies_fit_the_runtime", files)


@pytest.mark.parametrize(
    ("package", "at"), [("numpy", "requirements.txt: numpy"), ("scikit-learn", "MLmodel: sklearn_ve")]
)
def test_a_package_that_the_runtime_lacks_leaves_it_open_whether_the_model_loads(package: str, at: str) -> None:
    @inconclusive("environment.dependencies_fit_the_runtime", because=f"has no {package}", at=at)
    def example() -> list[Finding]:
        return model_findings("environment.dependencies_fit_the_runtime", SOUND, runtime({package: None}))

    example()


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        ("scikit-learn==1.4.1.post1", "scikit-learn==1.5.2", "scikit-learn 1.5.2, but the runtime has 1.4.1.post1"),
        ("numpy==1.26.4", "numpy==2.1.3", "numpy 2.1.3, but the runtime has 1.26.4"),
    ],
)
def test_a_pickled_python_model_may_hold_what_does_not_fit(old: str, new: str, because: str) -> None:
    @inconclusive("environment.dependencies_fit_the_runtime", because=because, at=f"requirements.txt: {new}")
    def example() -> list[Finding]:
        return model_findings("environment.dependencies_fit_the_runtime", flavored(CUSTOM, **{old: new}))

    example()


@passing("environment.dependencies_fit_the_runtime")
def test_a_pickled_python_model_with_the_runtimes_versions() -> list[Finding]:
    return model_findings("environment.dependencies_fit_the_runtime", flavored(CUSTOM))


@not_applicable("environment.dependencies_fit_the_runtime", because="does not pickle", at="MLmodel: flavors:")
def test_a_model_that_is_no_pickle() -> list[Finding]:
    return model_findings("environment.dependencies_fit_the_runtime", flavored(BOOSTER))


# versions_are_the_same


@failing(
    "environment.versions_are_the_same",
    because="saved with numpy 1.26.3, but the runtime has 1.26.4",
    at="requirements.txt: numpy==1.26.3",
)
def test_another_patch() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", model(**{"numpy==1.26.4": "numpy==1.26.3"}))


@failing("environment.versions_are_the_same", because="saved with mlflow 2.10.1", at="MLmodel: mlflow_version: 2.10.1")
def test_another_patch_of_mlflow() -> list[Finding]:
    files = model(**{"mlflow_version: 2.10.2": "mlflow_version: 2.10.1"})
    return model_findings("environment.versions_are_the_same", files)


@failing(
    "environment.versions_are_the_same", because="saved with lightgbm 4.0.0", at="requirements.txt: lightgbm==4.0.0"
)
def test_a_package_that_the_runtime_lacks() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", model(**{"mlflow==": "lightgbm==4.0.0\nmlflow=="}))


@passing("environment.versions_are_the_same", because="mlflow 2.10.2 in both", at="MLmodel: mlflow_version")
def test_the_runtimes_versions() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", SOUND)


@passing("environment.versions_are_the_same")
def test_a_wheel_beside_the_model_states_no_version() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", model(**{"mlflow==2.10.2": "./wheels/own.whl"}))


@inconclusive("environment.versions_are_the_same", because="neither requirements.txt nor conda.yaml has a version")
def test_no_version_at_all() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", {"MLmodel": f"flavors:\n  {BOOSTER}\n"})


def test_requirements_that_are_no_text_cannot_be_judged() -> None:
    files: dict[str, str | bytes] = {"MLmodel": MLMODEL, "requirements.txt": b"numpy==1.26.4 # \xff"}
    with pytest.raises(CannotTell, match=r"requirements\.txt cannot be read: .*utf-8"):
        model_findings("environment.versions_are_the_same", files)


# python_fits_the_runtime

PYTHON_ENV = "# as MLflow writes it\npython: '3.10.14'\nbuild_dependencies:\n- pip==23.0\n"


@failing(
    "environment.python_fits_the_runtime",
    because="saved with Python 3.12.1, but the runtime's image has Python 3.10.12",
    at="MLmodel: python_version: 3.12.1",
)
def test_a_newer_python() -> list[Finding]:
    return model_findings("environment.python_fits_the_runtime", model(**{"3.10.14": "3.12.1"}))


@failing(
    "environment.python_fits_the_runtime", because="saved with Python 3.12.1", at="python_env.yaml: python: '3.12.1'"
)
def test_a_newer_python_that_only_the_environment_file_names() -> list[Finding]:
    files = flavored(BOOSTER) | {"python_env.yaml": PYTHON_ENV.replace("3.10.14", "3.12.1")}
    return model_findings("environment.python_fits_the_runtime", files)


@failing("environment.python_fits_the_runtime", because="but the runtime's image has Python 3.11")
def test_a_runtime_whose_image_is_not_known_has_the_python_of_its_lock() -> list[Finding]:
    return model_findings("environment.python_fits_the_runtime", SOUND, runtime({}, image_python="", python="3.11"))


@passing("environment.python_fits_the_runtime")
def test_another_patch_of_python() -> list[Finding]:
    return model_findings("environment.python_fits_the_runtime", SOUND)


@passing("environment.python_fits_the_runtime", at="python_env.yaml: python: '3.10.14'")
def test_another_patch_of_python_in_the_environment_file() -> list[Finding]:
    return model_findings("environment.python_fits_the_runtime", flavored(BOOSTER) | {"python_env.yaml": PYTHON_ENV})


@pytest.mark.parametrize("files", [{}, {"python_env.yaml": "build_dependencies: [pip==23.0]\n"}])
@inconclusive(
    "environment.python_fits_the_runtime", because="neither MLmodel nor python_env.yaml", at="MLmodel: flavors:"
)
def test_a_python_that_nothing_names(files: dict[str, str]) -> list[Finding]:
    return model_findings("environment.python_fits_the_runtime", flavored(BOOSTER) | files)


# serialization_is_readable

FORMAT = "MLmodel: serialization_format: "
SKOPS = model(**{"cloudpickle": "skops"})


@failing("environment.serialization_is_readable", because="MLflow 2.10.2 cannot read", at=FORMAT + "skops")
def test_skops() -> list[Finding]:
    return model_findings("environment.serialization_is_readable", SKOPS)


@failing("environment.serialization_is_readable", because="the runtime's lock has no skops", at=FORMAT + "skops")
def test_skops_for_a_runtime_that_has_only_mlflow() -> list[Finding]:
    return model_findings("environment.serialization_is_readable", SKOPS, runtime({"mlflow": "3.9.0"}))


@pytest.mark.parametrize("pins", [{"mlflow": "3.9.0"}, {"mlflow": None, "mlflow-skinny": "3.9.0"}])
@passing("environment.serialization_is_readable", because="MLflow 3.9.0 and skops 0.13.0", at=FORMAT + "skops")
def test_skops_for_a_runtime_that_reads_it(pins: dict[str, str | None]) -> list[Finding]:
    return model_findings("environment.serialization_is_readable", SKOPS, runtime({**pins, "skops": "0.13.0"}))


@inconclusive("environment.serialization_is_readable", because="has no mlflow", at=FORMAT + "skops")
def test_skops_for_a_runtime_without_mlflow() -> list[Finding]:
    return model_findings("environment.serialization_is_readable", SKOPS, runtime({"mlflow": None}))


@inconclusive("environment.serialization_is_readable", because="serialization format 'joblib'", at=FORMAT + "joblib")
def test_a_format_of_which_nothing_is_known() -> list[Finding]:
    return model_findings("environment.serialization_is_readable", model(**{"cloudpickle": "joblib"}))


@pytest.mark.parametrize("form", ["pickle", "cloudpickle"])
@passing("environment.serialization_is_readable", because="every version of MLflow reads the format", at=FORMAT)
def test_pickles(form: str) -> list[Finding]:
    return model_findings("environment.serialization_is_readable", model(**{": cloudpickle": f": {form}"}))


@passing(
    "environment.serialization_is_readable",
    because="every version of MLflow reads the format pickle",
    at="MLmodel: sklearn:",
)
def test_a_model_without_a_format_is_a_pickle() -> list[Finding]:
    files = model(**{"    serialization_format: cloudpickle\n": ""})
    return model_findings("environment.serialization_is_readable", files)


@passing(
    "environment.serialization_is_readable", because="the model has no flavor with a format", at="MLmodel: flavors:"
)
def test_a_flavor_of_one_format() -> list[Finding]:
    return model_findings("environment.serialization_is_readable", flavored(BOOSTER))


# requirements_are_pinned


@pytest.mark.parametrize("requirement", ["numpy", "numpy>=1.26", "numpy==1.*", "numpy>=1.26,<2"])
@failing(
    "environment.requirements_are_pinned", because="is not pinned to an exact version", at="requirements.txt: numpy"
)
def test_a_range(requirement: str) -> list[Finding]:
    return model_findings("environment.requirements_are_pinned", model(**{"numpy==1.26.4": requirement}))


@pytest.mark.parametrize("files", [{}, {"requirements.txt": "# none\n\n-r other.txt\n"}])
@failing("environment.requirements_are_pinned", because="lists no requirements", at="/requirements.txt")
def test_no_requirements(files: dict[str, str]) -> list[Finding]:
    return model_findings("environment.requirements_are_pinned", {"MLmodel": MLMODEL} | files)


@pytest.mark.parametrize("requirement", ["numpy === 1.26.4", "numpy @ https://example.com/numpy-1.26.4.whl#sha256=0"])
@passing("environment.requirements_are_pinned", because="numpy", at="requirements.txt: numpy")
def test_other_exact_requirements(requirement: str) -> list[Finding]:
    files = model(**{"numpy==1.26.4": f"  {requirement}  # why", "mlflow==2.10.2": "./wheels/own.whl"})
    return model_findings("environment.requirements_are_pinned", files)


CONDA = """\
dependencies:
- python=3.10
- pip:
  - numpy==1.26.4 # why
  - 'scikit-learn[alldeps]==1.4.1.post1'
"""


@passing("environment.requirements_are_pinned", because="numpy==1.26.4 is exact", at="conda.yaml: - numpy==1.26.4")
def test_pins_in_a_conda_file_with_comments() -> list[Finding]:
    return model_findings("environment.requirements_are_pinned", {"MLmodel": MLMODEL, "conda.yaml": CONDA})


@pytest.mark.parametrize("package", ["numpy==1.26.4", "scikit-learn[alldeps]==1.4.1.post1"])
@failing("environment.requirements_are_pinned", because="is not pinned to an exact version", at="conda.yaml: - ")
def test_a_range_in_a_conda_file(package: str) -> list[Finding]:
    files = {"MLmodel": MLMODEL, "conda.yaml": CONDA.replace(package, package.replace("==", ">="))}
    return model_findings("environment.requirements_are_pinned", files)


@passing("environment.requirements_are_pinned")
def test_a_conda_file_beside_requirements_is_not_read() -> list[Finding]:
    return model_findings("environment.requirements_are_pinned", SOUND | {"conda.yaml": CONDA.replace("==", ">=")})
