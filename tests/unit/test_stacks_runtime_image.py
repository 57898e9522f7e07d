"""The table of what a runtime's image holds: its derivation from a checkout of MLServer, and the shipped ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trivet.errors import UsageError
from trivet.stacks.read import load_stack, shipped_stacks
from trivet.stacks.runtime_image import image_packages, load_runtime_image

LOCK = """\
[[package]]
name = "numpy"
version = "1.26.4"
markers = "platform_machine == 'aarch64'"

[[package]]
name = "Alibi"
version = "0.9.5"

[package.dependencies]
numpy = "*"
shap = {version = "*", optional = true, markers = "extra == 'shap'"}
ray = {version = "*", optional = true}
importlib-metadata = {version = "*", markers = "python_version < '3.10'"}

[package.extras]
shap = ["shap (>=0.40)"]
ray = ["ray"]

[[package]]
name = "shap"
version = "0.43.0"

[[package]]
name = "onnxruntime"
version = "1.19.2"
markers = "python_version < '3.10'"

[[package]]
name = "onnxruntime"
version = "1.20.0"
markers = "python_version >= '3.10'"

[[package]]
name = "drift"
version = "0.12.1.dev0"

[package.source]
type = "git"

[[package]]
name = "pytest"
version = "7.4.4"
"""


def project(name: str, dependencies: str) -> str:
    return (
        f'[tool.poetry]\nname = "{name}"\nversion = "1.5.0"\n[tool.poetry.dependencies]\npython = "*"\n{dependencies}'
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of MLServer with three runtimes, one of which the image does not have."""
    files = {
        "pyproject.toml": project("mlserver", 'numpy = "*"\n'),
        "poetry.lock": LOCK,
        "runtimes/alibi/pyproject.toml": project(
            "mlserver-alibi", 'mlserver = "*"\nalibi = {extras = ["shap"], version = "*"}\ndrift = "*"\n'
        ),
        "runtimes/other/pyproject.toml": project(
            "mlserver_other",
            'catboost = "*"\nonnxruntime = [{version = "*", markers = "python_version >= \'3.10\'"}]\n',
        ),
        "runtimes/mllib/pyproject.toml": project("mlserver-mllib", 'pyspark = "*"\n'),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_an_image_has_what_its_runtimes_require_at_the_versions_that_the_lock_pins_on_linux(checkout: Path) -> None:
    assert image_packages(checkout, "3.10.12") == {
        "alibi": "0.9.5",
        "catboost": None,
        "drift": None,
        "mlserver": "1.5.0",
        "mlserver-alibi": "1.5.0",
        "mlserver-other": "1.5.0",
        "numpy": None,
        "onnxruntime": "1.20.0",
        "shap": "0.43.0",
    }


@pytest.mark.parametrize("name", shipped_stacks())
def test_a_shipped_table_has_all_of_mlservers_runtimes_at_the_versions_of_the_runtime_lock_or_unknown(
    name: str,
) -> None:
    stack = load_stack(name)
    assert stack.runtime_image is not None
    image = load_runtime_image(stack.runtime_image)
    pins = stack.roles["runtime"].pins
    runtimes = {"lightgbm", "xgboost", "torch", "transformers", "tensorflow", "spacy", "onnx"}
    later = {"catboost"} if pins["mlserver"] != "1.3.2" else set()  # MLServer 1.3.2 has no runtime for it
    assert runtimes | later <= set(image.packages)
    assert not {"prophet", "pyspark", "statsmodels", "mlserver-mllib"} & set(image.packages)
    assert set(pins) <= set(image.packages)
    assert image.packages["mlserver"] == pins["mlserver"]
    for package in ("mlflow", "numpy", "scikit-learn", "scipy", "pandas", "cloudpickle"):
        assert image.packages[package] == (None if name == "current" else pins[package])
    assert image.loaders["mlflow.sklearn"] == "scikit-learn"
    assert image.loaders["mlflow.pyfunc.model"] == ""


def test_the_names_in_a_runtime_differ_by_its_scikit_learn() -> None:
    old, new = (load_runtime_image(load_stack(name).runtime_image or Path()) for name in ("2024.11", "current"))
    for image in (old, new):
        assert not image.lacks("sklearn.linear_model._logistic", "LogisticRegression")
        assert not image.lacks("sklearn.pipeline", "Pipeline.fit")
        assert not image.lacks("numpy.core.multiarray", "_reconstruct")
        assert not image.lacks("numpy._core.multiarray", "_reconstruct")
        assert image.lacks("numpy._core.numeric", "_frombuffer")
        assert image.lacks("sklearn.ensemble._gb_losses", "BinomialDeviance")
        assert not image.lacks("pandas.nowhere", "Frame"), "other packages are not listed"
        assert not image.lacks("numpy.testing._private.utils", "anything"), "nor are tests"
    assert "_loss" in new.names
    assert "_loss" not in old.names


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", json.dumps({"source": {}, "packages": {}, "loaders": {}, "names": 3})]
)
def test_an_invalid_table_is_an_error_with_the_command(tmp_path: Path, content: str) -> None:
    file = tmp_path / "runtime_image.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=r"python -m trivet\.stacks\.runtime_image CHECKOUT"):
        load_runtime_image(file)
