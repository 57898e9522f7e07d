"""Examples of the contracts over the files in a model directory and the flavor that the runtime loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from contract_examples.pickles import LINEAR, pickled
from contract_examples.registry import failing, inconclusive, not_applicable, passing
from contract_examples.static import contract, model_findings, runtime, stack

from trivet.authoring import CannotTell
from trivet.contracts._model_directories import MAX_TEXT, inside, lines_of, text_of
from trivet.engine.registry import Registry
from trivet.model.finding import Finding
from trivet.model.outcome import Outcome
from trivet.model.stack import Stack
from trivet.model.subjects import ModelDirectory
from trivet.toolkit.subjects import read_model_directory

Files = dict[str, str | bytes]

MLMODEL = """\
artifact_path: model
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.sklearn
    model_path: model.pkl
    python_version: 3.10.14
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.4.1.post1
mlflow_version: 2.10.2
"""
CONDA = """\
channels:
- conda-forge
dependencies:
- python=3.10.14
- pip<=23.0.1
- pip:
  - mlflow==2.10.2
  - scikit-learn==1.4.1.post1
name: mlflow-env
"""
REQUIREMENTS = "mlflow==2.10.2\nscikit-learn==1.4.1.post1\n"
PYTHON_ENV = "python: 3.10.14\nbuild_dependencies:\n- pip==23.0.1\ndependencies:\n- -r requirements.txt\n"
TEXTS = {"MLmodel": MLMODEL, "conda.yaml": CONDA, "requirements.txt": REQUIREMENTS, "python_env.yaml": PYTHON_ENV}
CUSTOM = "loader_module: mlflow.pyfunc.model"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def model(pickle: bytes | None = LINEAR, /, *, only: str = "", **changes: str) -> Files:
    """The model as MLflow writes it, with words of its files (or of the one named ``only``) changed, and another pickle or none."""
    texts = dict(TEXTS)
    for old, new in changes.items():
        assert any(old in text for text in texts.values()), old
        texts = {name: text.replace(old, new) if only in ("", name) else text for name, text in texts.items()}
    return {**texts, **({"model.pkl": pickle} if pickle is not None else {})}


def pyfunc(settings: str) -> Files:
    """A model with the flavor python_function alone."""
    return {"MLmodel": f"flavors:\n  python_function: {{{settings}}}\n"}


# named_files_are_there

THERE = "model_files.named_files_are_there"


@failing(THERE, because="model_path names model.pkl, which is not in the model's directory", at="model_path: model.pkl")
def test_a_model_file_that_is_missing() -> list[Finding]:
    found = model_findings(THERE, model(None))
    assert len(found) == 1, "a path that two flavors name is one finding"
    return found


@failing(THERE, because="model.pkl, which is a pointer of Git LFS", at="MLmodel: model_path: model.pkl")
def test_a_pointer_of_git_lfs() -> list[Finding]:
    return model_findings(THERE, model(LFS))


@failing(THERE, because="model.pkl, which is a pointer of git-annex", at="MLmodel: model_path: model.pkl")
def test_a_pointer_of_git_annex() -> list[Finding]:
    return model_findings(THERE, model(b"/annex/objects/SHA256E-s12--3\n"))


@failing(THERE, because="model.pkl, which is empty", at="MLmodel: model_path: model.pkl")
def test_an_empty_model_file() -> list[Finding]:
    return model_findings(THERE, model(b""))


@pytest.mark.parametrize(
    ("settings", "because"),
    [
        ("python_model: python_model.pkl", "python_model names python_model.pkl"),
        ("model_code_path: /home/me/chain.py", "model_code_path names chain.py, which is not"),
        ("artifacts: {tokens: {path: artifacts/tokens}}", "artifacts.tokens.path names artifacts/tokens"),
        ("code: code", "code names code"),
        ("data: ../data", "outside of the model's directory"),
        ("data: /models/data", "outside of the model's directory"),
        ("code: /", "code names /, which is outside of the model's directory"),
        (f"data: {'x' * 300}", "x, which is not in the model's directory"),
        ('data: "a\\0b"', "is no path: it has a NUL"),
        ("data: 'artifacts\\model.pkl'", "as Windows writes paths"),
    ],
)
def test_each_path_that_python_function_names(settings: str, because: str) -> None:
    @failing(THERE, because=because, at="MLmodel: python_function")
    def example() -> list[Finding]:
        return model_findings(THERE, pyfunc(f"{CUSTOM}, {settings}"))

    example()


def linked(directory: Path, *, inside: bool) -> list[Finding]:
    """The findings on a model whose file is a symbolic link, to a file in its directory or outside of it."""
    model = directory / "model"
    (model / "real").mkdir(parents=True)
    target = model / "real" / "it.pkl" if inside else directory / "it.pkl"
    target.write_bytes(LFS)
    (model / "model.pkl").symlink_to(target)
    (model / "MLmodel").write_text(MLMODEL)
    (subject,) = read_model_directory(model).subjects
    return list(contract(THERE).check(model_directory=subject))


def model_at(path: Path, root: Path | None = None) -> ModelDirectory:
    """A directory whose MLmodel does not matter."""
    return ModelDirectory(path=path, root=root or path, mlmodel={"flavors": {}}, line=lambda keys: 1)


def test_a_link_out_of_the_directory_is_not_followed_and_one_within_it_is(tmp_path: Path) -> None:
    (outside,) = linked(tmp_path / "one", inside=False)
    assert (outside.outcome, outside.message) == (
        Outcome.INCONCLUSIVE,
        "model.pkl is a symbolic link to outside of the model's directory, where nothing is read",
    )
    (within,) = linked(tmp_path / "two", inside=True)
    assert within.outcome is Outcome.FAILED
    assert "a pointer of Git LFS" in within.message


def test_nothing_outside_of_the_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "outside.txt").write_text("secret==1\n")
    (tmp_path / "model" / "requirements.txt").symlink_to("../outside.txt")
    for name in ("../outside.txt", "/", str(tmp_path), "requirements.txt", "a\0b", "x" * 300):
        assert inside(model_at(tmp_path / "model"), name) is None
    assert inside(model_at(tmp_path / "model"), "not/there") == tmp_path / "model" / "not" / "there"
    with pytest.raises(CannotTell, match="symbolic link to outside"):
        text_of(model_at(tmp_path / "model"), "requirements.txt")


def test_a_session_reads_what_its_initializer_linked(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "store.txt").write_text("numpy==1.26.4\n")
    (tmp_path / "model" / "requirements.txt").symlink_to(tmp_path / "store.txt")
    assert text_of(model_at(tmp_path / "model", root=tmp_path), "requirements.txt") == "numpy==1.26.4\n"


def test_a_text_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "requirements.txt").open("wb") as file:
        file.truncate(MAX_TEXT + 1)
    with pytest.raises(CannotTell, match="at most 4,194,304 are read"):
        text_of(model_at(tmp_path), "requirements.txt")


def test_comments_and_options_are_no_requirements(tmp_path: Path) -> None:
    text = f"# a\n  a==1 # b\n-r c.txt\nb#c==2\n  # d\n\n{' ' * 1_000_000}#\n{'x' * 5000}\n"
    (tmp_path / "requirements.txt").write_text(text)
    assert [found for found, _ in lines_of(model_at(tmp_path), "requirements.txt")] == ["a==1", "b#c==2"]
    (tmp_path / "conda.yaml").write_text("- pip:\n  - 'a==1'  # b\n  - b>=2 # c\n  - c\n  - \"d==1'\n")
    assert [found for found, _ in lines_of(model_at(tmp_path), "conda.yaml")] == ["a==1", "b>=2"]


@failing(THERE, because="data, in which model.pth is a pointer of Git LFS", at="python_function")
def test_a_pointer_in_a_directory_of_the_model() -> list[Finding]:
    return model_findings(THERE, pyfunc("loader_module: mlflow.pytorch, data: data") | {"data/model.pth": LFS})


@failing(THERE, because="data, a directory without files")
def test_an_empty_directory() -> list[Finding]:
    return model_findings(THERE, pyfunc("loader_module: mlflow.tensorflow, data: data") | {"data/": ""})


@failing(THERE, because="names neither model_path nor data", at="MLmodel: python_function")
def test_scikit_learn_without_a_path() -> list[Finding]:
    return model_findings(THERE, pyfunc("loader_module: mlflow.sklearn"))


@passing(THERE, because="in the directory: model.pkl", at="MLmodel: flavors:")
def test_the_files_as_mlflow_writes_them() -> list[Finding]:
    return model_findings(THERE, model())


@passing(THERE, because="in the directory: python_model.pkl, code, artifacts/tokens")
def test_a_python_model_with_code_and_artifacts() -> list[Finding]:
    settings = (
        f"{CUSTOM}, python_model: python_model.pkl, code: code, artifacts: {{tokens: {{path: artifacts/tokens}}}}"
    )
    files: Files = {"python_model.pkl": LINEAR, "code/own/__init__.py": "", "artifacts/tokens/vocabulary.txt": "a\n"}
    return model_findings(THERE, pyfunc(settings) | files)


@passing(THERE, because="in the directory: chain.py")
def test_a_model_from_code_of_another_machine() -> list[Finding]:
    return model_findings(THERE, pyfunc(f"{CUSTOM}, model_code_path: /home/me/chain.py") | {"chain.py": "pass\n"})


@passing(THERE)
def test_files_of_a_flavor_that_mlserver_does_not_load_may_be_missing() -> list[Finding]:
    files = model()
    files["MLmodel"] = str(files["MLmodel"]).replace("flavors:\n", "flavors:\n  mleap: {model_data: mleap/model}\n")
    return model_findings(THERE, files)


@not_applicable(THERE, because="names no file", at="MLmodel: flavors:")
def test_a_model_that_names_no_file() -> list[Finding]:
    return model_findings(THERE, {"MLmodel": "flavors:\n  onnx: {onnx_version: 1.15.0}\n"})


# runtime_loads_the_flavor

LOADS = "model_files.runtime_loads_the_flavor"


@failing(
    LOADS, because="no flavor python_function, the only one that MLServer 1.5.0 loads; it has spark", at="flavors:"
)
def test_a_model_without_python_function() -> list[Finding]:
    return model_findings(LOADS, {"MLmodel": "flavors:\n  spark: {model_data: sparkml}\n"})


@failing(LOADS, because="names no loader_module", at="MLmodel: python_function")
def test_python_function_without_a_loader() -> list[Finding]:
    return model_findings(LOADS, pyfunc("python_model: python_model.pkl"))


@pytest.mark.parametrize(
    ("module", "package"),
    [("mlflow.prophet", "prophet"), ("mlflow.spark", "pyspark"), ("mlflow.statsmodels", "statsmodels")],
)
def test_flavors_whose_package_the_image_lacks(module: str, package: str) -> None:
    @failing(LOADS, because=f"{module} imports {package}, which the image of MLServer 1.5.0 does not have")
    def example() -> list[Finding]:
        return model_findings(LOADS, pyfunc(f"loader_module: {module}"))

    example()


@failing(
    LOADS, because="MLflow 2.10.2 in the image of MLServer 1.5.0 has no loader mlflow.pyfunc.loaders.responses_agent"
)
def test_a_loader_of_a_later_mlflow() -> list[Finding]:
    return model_findings(LOADS, pyfunc("loader_module: mlflow.pyfunc.loaders.responses_agent"))


@failing(LOADS, because="the model brings no code, and the image of MLServer 1.5.0 has no package")
def test_a_loader_of_ones_own_without_code() -> list[Finding]:
    return model_findings(LOADS, pyfunc("loader_module: classifier.predict"))


@failing(LOADS, because="the model's code in / has no etc, and the image", at="code: /")
def test_code_outside_of_the_directory_is_not_listed() -> list[Finding]:
    return model_findings(LOADS, pyfunc("loader_module: etc.hosts, code: /"))


@failing(LOADS, because="which loads the model", at="code: code")
def test_a_loader_of_ones_own_that_is_not_in_the_code() -> list[Finding]:
    return model_findings(LOADS, pyfunc("loader_module: classifier.predict, code: code") | {"code/other.py": "pass\n"})


@pytest.mark.parametrize(
    "module", ["sklearn", "xgboost", "lightgbm", "catboost", "pytorch", "transformers", "onnx", "keras"]
)
@pytest.mark.parametrize("under", ["2024.11", "current"])
@passing(LOADS, because="has mlflow.")
def test_the_flavors_of_the_image(module: str, under: str) -> list[Finding]:
    return model_findings(LOADS, pyfunc(f"loader_module: mlflow.{module}"), under)


@pytest.mark.parametrize("file", ["code/classifier/predict.py", "code/classifier.py"])
@passing(LOADS, because="the model brings the loader")
def test_a_loader_that_the_model_brings(file: str) -> list[Finding]:
    return model_findings(LOADS, pyfunc("loader_module: classifier, code: code") | {file: "pass\n"})


@passing(LOADS, at="MLmodel: python_function")
def test_a_loader_of_a_package_in_the_image() -> list[Finding]:
    return model_findings(LOADS, pyfunc("loader_module: alibi.saving"))


@not_applicable(LOADS, because="brings its own environment", at="MLmodel: python_function")
def test_a_model_that_brings_its_environment() -> list[Finding]:
    return model_findings(LOADS, pyfunc("loader_module: mlflow.prophet") | {"environment.tar.gz": b"packed"})


@pytest.mark.parametrize("under", [replace(runtime({}), runtime_image=None), runtime({"mlflow": "2.11.0"})])
@inconclusive(LOADS, because="has no runtime_image.json for its runtime.lock", at="MLmodel: python_function")
def test_a_stack_without_a_table_of_its_image_or_with_one_of_another_lock(under: Stack) -> list[Finding]:
    return model_findings(LOADS, pyfunc("loader_module: mlflow.prophet"), under)


def test_the_table_is_of_the_runtime_that_the_stack_names() -> None:
    from trivet.contracts._model_directories import image

    for name in ("2024.11", "2024.11-fixed", "current"):
        held = image(stack(name))
        assert held is not None
        pins = stack(name).roles["runtime"].pins
        assert held.source["mlserver"] == stack(name).components["runtime"]
        assert {package: held.source[package] for package in ("mlflow", "numpy", "scikit-learn")} == {
            package: pins[package] for package in ("mlflow", "numpy", "scikit-learn")
        }


# files_agree

AGREE = "model_files.files_agree"


@failing(
    AGREE,
    because="python_env.yaml names requirement.txt with the requirements, which is not in the directory",
    at="python_env.yaml: - -r requirement.txt",
)
def test_requirements_that_python_env_yaml_names_and_that_are_missing() -> list[Finding]:
    return model_findings(AGREE, model(only="python_env.yaml", **{"-r requirements.txt": "-r requirement.txt"}))


@failing(
    AGREE, because="scikit-learn is 1.5.2 in MLmodel, 1.4.1.post1 in requirements.txt", at="requirements.txt: scikit"
)
def test_another_version_in_mlmodel() -> list[Finding]:
    return model_findings(AGREE, model(only="MLmodel", **{"1.4.1.post1": "1.5.2"}))


@failing(AGREE, because="scikit-learn is 1.4.1.post1 in MLmodel, 1.5.2 in conda.yaml", at="conda.yaml: - scikit-learn")
def test_another_version_in_conda_yaml() -> list[Finding]:
    return model_findings(AGREE, model(only="conda.yaml", **{"1.4.1.post1": "1.5.2"}))


@failing(
    AGREE,
    because="scikit-learn is 1.4.1.post1 in MLmodel, 1.5.2 in requirements.txt; mlflow is 2.10.2 in MLmodel, 2.9.2",
)
def test_all_packages_are_one_finding() -> list[Finding]:
    return model_findings(AGREE, model(only="requirements.txt", **{"1.4.1.post1": "1.5.2", "2.10.2": "2.9.2"}))


@failing(AGREE, because="xgboost is 2.0.3 in MLmodel, 2.1.0 in requirements.txt")
def test_another_version_of_another_flavor() -> list[Finding]:
    files: Files = {"MLmodel": "flavors:\n  xgboost: {xgb_version: 2.0.3}\n", "requirements.txt": "xgboost==2.1.0\n"}
    return model_findings(AGREE, files)


@pytest.mark.parametrize(
    ("file", "changes", "because"),
    [
        ("python_env.yaml", {"3.10.14": "3.11.9"}, "Python is 3.10.14 in MLmodel, 3.11.9 in python_env.yaml"),
        ("conda.yaml", {"python=3.10.14": "python=3.11"}, "Python is 3.10.14 in MLmodel, 3.11 in conda.yaml"),
    ],
)
def test_another_python(file: str, changes: dict[str, str], because: str) -> None:
    @failing(AGREE, because=because, at=f"{file}: ")
    def example() -> list[Finding]:
        return model_findings(AGREE, model(only=file, **changes))

    example()


@failing(AGREE, because="names conda.yaml and python_env.yaml as the environment", at="MLmodel: conda: conda.yaml")
def test_environments_that_are_not_there() -> list[Finding]:
    files = model()
    del files["conda.yaml"], files["python_env.yaml"]
    return model_findings(AGREE, files)


@failing(AGREE, because="conda.yaml is no YAML: did not find expected ',' or ']'", at="conda.yaml: ")
def test_an_environment_that_is_no_yaml() -> list[Finding]:
    return model_findings(AGREE, model() | {"conda.yaml": "channels: [defaults\nname: x\n"})


@failing(AGREE, because="names input_example.json as the input example", at="MLmodel: saved_input_example_info")
def test_an_input_example_that_is_not_there() -> list[Finding]:
    files = model()
    text = files["MLmodel"]
    assert isinstance(text, str)
    info = "saved_input_example_info: {artifact_path: input_example.json, type: dataframe}\n"
    return model_findings(AGREE, files | {"MLmodel": text + info})


@failing(AGREE, because="names environment.yaml as the environment", at="MLmodel: python_function")
def test_an_environment_that_is_named_as_mlflow_1_does() -> list[Finding]:
    return model_findings(AGREE, pyfunc("loader_module: mlflow.sklearn, env: environment.yaml"))


@passing(AGREE, because="no two files of the model contradict each other", at="MLmodel: flavors:")
def test_the_files_of_one_environment() -> list[Finding]:
    return model_findings(AGREE, model())


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("conda.yaml", {"python=3.10.14": "python=3.10"}),
        ("conda.yaml", {"python=3.10.14": "python=3.10.12"}),
        ("requirements.txt", {"mlflow==2.10.2": "mlflow==2.10"}),
        ("requirements.txt", {"mlflow==2.10.2": "mlflow<3,>=2.10"}),
    ],
)
@passing(AGREE)
def test_less_exact_words_are_no_contradiction(file: str, changes: dict[str, str]) -> list[Finding]:
    return model_findings(AGREE, model(only=file, **changes))


STATIC = [one.id for one in Registry().contracts.values() if one.static and one.subject == "model_directory"]
ODD = ("null", "[[1]]", '"a\\0b"', "9" * 5000)
ODD_REQUIREMENTS = (
    *("scikit-learn==" + "9" * 4080, "a" * 4000 + "==1", "numpy==" + "1." * 1500, "numpy; " + "(" * 900),
    *("numpy" + "[" * 3000, "numpy==\u0661", "\0", "  " * 2000),
)


@pytest.mark.parametrize("identifier", STATIC)
def test_odd_values_stop_no_contract(identifier: str) -> None:
    for line in MLMODEL.splitlines():
        key, separator, value = line.partition(": ")
        for odd in ODD if separator and value else ():
            model_findings(identifier, model() | {"MLmodel": MLMODEL.replace(line, f"{key}: {odd}")})


@pytest.mark.parametrize("identifier", STATIC)
def test_odd_requirements_and_versions_in_a_pickle_stop_no_contract(identifier: str) -> None:
    content = pickled("sklearn.x:Y", "cloudpickle.cloudpickle:_make_function", sklearn="9" * 5000)
    python = f"python: {'9' * 5000}\n"
    unversioned = MLMODEL.replace("    sklearn_version: 1.4.1.post1\n", "").replace("    python_version: 3.10.14\n", "")
    for odd in ODD_REQUIREMENTS:
        texts = {"MLmodel": unversioned, "requirements.txt": f"{odd}\n", "python_env.yaml": python}
        model_findings(identifier, {**texts, "model.pkl": content})
