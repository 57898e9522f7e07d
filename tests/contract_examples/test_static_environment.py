"""Examples of the contracts over a model directory and the runtime's lock (2024.11: scikit-learn 1.4.1.post1, NumPy 1.26.4)."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from contract_examples.pickles import LINEAR, pickled
from contract_examples.registry import failing, inconclusive, not_applicable, passing
from contract_examples.static import model_findings, runtime

from trivet.errors import CannotTell
from trivet.model.finding import Finding
from trivet.model.outcome import Outcome

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
TEXTS = {"MLmodel": MLMODEL, "requirements.txt": REQUIREMENTS}

Files = dict[str, str | bytes]


def model(pickle: bytes | None = LINEAR, /, **changes: str) -> Files:
    """The sound model with the MLmodel's or the requirements' words changed (``{"1.4.1": "1.5.2"}``), and with another pickle or none."""
    texts = dict(TEXTS)
    for old, new in changes.items():
        assert any(old in text for text in texts.values()), old
        texts = {name: text.replace(old, new) for name, text in texts.items()}
    return {**texts, **({"model.pkl": pickle} if pickle is not None else {})}


SOUND = model()


def flavored(flavor: str, **changes: str) -> Files:
    """The sound model's requirements beside an MLmodel of another flavor, which states neither Python nor MLflow."""
    return model(**changes) | {"MLmodel": f"artifact_path: model\nflavors:\n  {flavor}\n"}


CUSTOM = "python_function: {loader_module: mlflow.pyfunc.model, python_model: python_model.pkl}"
BOOSTER = "xgboost: {model_class: xgboost.sklearn.XGBClassifier}"

# dependencies_fit_the_runtime

FITS = "environment.dependencies_fit_the_runtime"
BOOSTING = pickled("sklearn.ensemble._gb:GradientBoostingClassifier", "_loss:CyHalfBinomialLoss", sklearn="1.5.2")
GENERATOR = pickled("numpy.random._pickle:__bit_generator_ctor", "numpy.random._mt19937:MT19937")
GENERATOR_OF_NUMPY_1 = pickled("numpy.random._pickle:__bit_generator_ctor", strings=("MT19937",))
ARRAY = pickled("numpy._core.numeric:_frombuffer")
OLD_TREE = pickled(
    "sklearn.tree._classes:DecisionTreeClassifier", "sklearn.tree._tree:Tree", sklearn="1.2.2", strings=("left_child",)
)
TREE = pickled(
    "sklearn.tree._classes:DecisionTreeClassifier",
    "sklearn.tree._tree:Tree",
    sklearn="1.3.2",
    strings=("missing_go_to_left", "monotonic_cst"),
)


@failing(
    FITS,
    because="saved with scikit-learn 1.5.2, but the runtime has 1.4.1.post1: model.pkl contains _loss.CyHalfBinomialLoss",
    at="MLmodel: sklearn_version: 1.5.2",
)
def test_a_class_that_only_a_newer_scikit_learn_has() -> list[Finding]:
    return model_findings(FITS, model(BOOSTING, **{"1.4.1.post1": "1.5.2"}))


@failing(FITS, because="sklearn.ensemble._gb_losses.BinomialDeviance and 1 more, which", at="sklearn_version: 1.3.2")
def test_classes_that_only_an_older_scikit_learn_has() -> list[Finding]:
    old = pickled("sklearn.ensemble._gb_losses:BinomialDeviance", "sklearn.ensemble._gb_losses:LossFunction")
    return model_findings(FITS, model(old, **{"1.4.1.post1": "1.3.2"}))


@failing(FITS, because="scikit-learn 1.5.2", at="requirements.txt: scikit-learn==1.5.2")
def test_a_newer_scikit_learn_that_only_the_requirements_name() -> list[Finding]:
    return model_findings(FITS, model(BOOSTING, **{"    sklearn_version: 1.4.1.post1\n": "", "1.4.1.post1": "1.5.2"}))


@failing(FITS, because="scikit-learn 1.5.2", at="MLmodel: sklearn_version: 1.5.2")
def test_the_flavor_is_believed_rather_than_the_requirements() -> list[Finding]:
    files = model(BOOSTING, **{"sklearn_version: 1.4.1.post1": "sklearn_version: 1.5.2"})
    return model_findings(FITS, files)


@failing(FITS, because="saved with scikit-learn 1.5.2, but the runtime has 1.4.1.post1", at="MLmodel: pickled_model")
def test_a_version_that_only_the_estimators_in_the_pickle_state() -> list[Finding]:
    files = model(BOOSTING, **{"    sklearn_version: 1.4.1.post1\n": "", "scikit-learn==1.4.1.post1\n": ""})
    return model_findings(FITS, files)


@failing(FITS, because="model.pkl contains _loss.CyHalfBinomialLoss", at="MLmodel: pickled_model")
def test_files_that_state_the_runtime_s_versions_and_a_pickle_that_has_others() -> list[Finding]:
    return model_findings(FITS, model(BOOSTING))


@pytest.mark.parametrize("line", ["", "    serialization_format: pickle\n", "    serialization_format: cloudpickle\n"])
@failing(
    FITS,
    because="saved with numpy 2.1.3, but the runtime has 1.26.4: model.pkl contains a random generator by its class",
    at="requirements.txt: numpy==2.1.3",
)
def test_a_random_generator_of_numpy_2(line: str) -> list[Finding]:
    changes = {"numpy==1.26.4": "numpy==2.1.3", "    serialization_format: cloudpickle\n": line}
    return model_findings(FITS, model(GENERATOR, **changes))


@failing(FITS, because="numpy._core.numeric._frombuffer, which numpy 1.26.4 does not have", at="numpy==2.1.3")
def test_an_array_of_numpy_2_under_protocol_5() -> list[Finding]:
    files = flavored(CUSTOM, **{"numpy==1.26.4": "numpy==2.1.3"}) | {"python_model.pkl": ARRAY}
    return model_findings(FITS, files)


@passing(FITS, because="nothing in model.pkl is known to fail", at="MLmodel: pickled_model")
def test_a_random_generator_of_numpy_1() -> list[Finding]:
    return model_findings(FITS, model(GENERATOR_OF_NUMPY_1))


@passing(FITS, because="numpy 2.1.0")
def test_a_random_generator_of_numpy_2_for_a_runtime_with_numpy_2() -> list[Finding]:
    return model_findings(FITS, model(GENERATOR, **{"1.26.4": "2.1.3"}), runtime({"numpy": "2.1.0"}))


@passing(FITS, because="nothing in model.pkl is known to fail")
def test_newer_packages_of_a_model_whose_names_the_runtime_has() -> list[Finding]:
    changes = {"numpy==1.26.4": "numpy==2.1.3", "1.4.1.post1": "1.5.2"}
    arrays = pickled("sklearn.linear_model._logistic:LogisticRegression", "numpy._core.multiarray:_reconstruct")
    return model_findings(FITS, model(arrays, **changes))


@failing(FITS, because="contains a Tree without missing_go_to_left, which scikit-learn 1.3 and later need")
def test_a_tree_of_an_older_scikit_learn() -> list[Finding]:
    return model_findings(FITS, model(OLD_TREE, **{"1.4.1.post1": "1.2.2"}))


@pytest.mark.parametrize("version", ["1.3.2", "1.4.0"])
@passing(FITS)
def test_a_tree_with_what_the_runtime_needs(version: str) -> list[Finding]:
    return model_findings(FITS, model(TREE if version == "1.3.2" else OLD_TREE, **{"1.4.1.post1": version}))


@pytest.mark.parametrize("name", ["posix:system", "subprocess:Popen", "builtins:eval", "socket:create_connection"])
@inconclusive(
    FITS, because="loading it may run programs, open connections or change files", at="MLmodel: pickled_model"
)
def test_a_pickle_that_phones_home(name: str) -> list[Finding]:
    return model_findings(FITS, model(pickled(name)))


@passing(FITS)
def test_a_pickle_that_only_refers_to_harmless_functions_of_python() -> list[Finding]:
    harmless = (
        "builtins:getattr",
        "builtins:list",
        "os.path:join",
        "io:BytesIO",
        "socket:timeout",
        "operator:itemgetter",
    )
    return model_findings(FITS, model(pickled("sklearn.linear_model._logistic:LogisticRegression", *harmless)))


@failing(FITS, because="model.pkl is no complete pickle", at="MLmodel: pickled_model")
def test_a_pickle_that_is_cut_off() -> list[Finding]:
    return model_findings(FITS, model(LINEAR[:40]))


@failing(FITS, because="__main__.Scaler, which was defined in the script or notebook", at="MLmodel: pickled_model")
def test_a_class_of_the_training_script() -> list[Finding]:
    return model_findings(FITS, model(pickled("__main__:Scaler")))


@pytest.mark.parametrize(
    ("name", "requirement", "package"),
    [
        ("prophet.forecaster:Prophet", "", "prophet"),
        ("category_encoders.ordinal:OrdinalEncoder", "category-encoders==2.6.3\n", "category-encoders"),
        ("azureml.automl:Featurizer", "azureml-core==1.5\n", "azureml-core"),
    ],
)
def test_a_package_that_the_image_does_not_have(name: str, requirement: str, package: str) -> None:
    @failing(FITS, because=f"contains {name.replace(':', '.')}, and the runtime's image has no {package}")
    def example() -> list[Finding]:
        return model_findings(FITS, model(pickled(name), **{"mlflow==2.10.2\n": f"mlflow==2.10.2\n{requirement}"}))

    example()


@pytest.mark.parametrize("name", ["lightgbm.sklearn:LGBMClassifier", "xgboost.core:Booster", "collections:OrderedDict"])
@passing(FITS)
def test_packages_that_the_image_has_beside_the_lock(name: str) -> list[Finding]:
    return model_findings(FITS, model(pickled(name)))


BY_VALUE = pickled("cloudpickle.cloudpickle:_make_function", "cloudpickle.cloudpickle:_builtin_type")


@failing(FITS, because="byte code of Python 3.12.1, whose form the image's Python 3.10.12 does not read")
def test_byte_code_of_a_python_with_other_code_objects() -> list[Finding]:
    files = flavored(f"{CUSTOM[:-1]}, python_version: 3.12.1}}") | {"python_model.pkl": BY_VALUE}
    return model_findings(FITS, files)


@pytest.mark.parametrize(("python", "content"), [("3.10.4", BY_VALUE), ("3.12.1", LINEAR), ("unknown", BY_VALUE)])
@passing(FITS)
def test_byte_code_of_the_same_python_and_none(python: str, content: bytes) -> list[Finding]:
    files = flavored(f"{CUSTOM[:-1]}, python_version: {python}}}") | {"python_model.pkl": content}
    return model_findings(FITS, files)


@failing(
    FITS, because="saved with xgboost 3.1.2, but the runtime has 2.0.3: it loads the file and predicts other values"
)
def test_a_model_of_an_xgboost_that_writes_its_base_score_otherwise() -> list[Finding]:
    return model_findings(FITS, flavored("xgboost: {data: model.ubj, xgb_version: 3.1.2}"))


@not_applicable(FITS, because="does not pickle")
def test_a_model_of_an_earlier_xgboost() -> list[Finding]:
    return model_findings(FITS, flavored("xgboost: {data: model.ubj, xgb_version: 3.0.5}"))


def boosted(file: str, **settings: str) -> Files:
    """The sound model's requirements beside a model of XGBoost in ``file``, as MLflow logs it."""
    stated = "".join(f", {key}: {value}" for key, value in settings.items())
    loader = f"python_function: {{loader_module: mlflow.xgboost, data: {file}}}"
    return flavored(f"{loader}\n  xgboost: {{data: {file}{stated}}}")


def in_ubjson(*version: int) -> bytes:
    """A model of XGBoost as UBJSON, as far as its version."""
    key, size = b"L\0\0\0\0\0\0\0", b"[#L\0\0\0\0\0\0\0\x03"
    numbers = b"".join(b"i" + bytes([number]) for number in version)
    return b"{" + key + b"\x07learner{}" + key + b"\x07version" + size + numbers + b"}"


def in_pickle(*version: int) -> bytes:
    """A pipeline of scikit-learn with a model of XGBoost, which pickles itself as UBJSON."""
    model = in_ubjson(*version)
    names = pickled("sklearn.pipeline:Pipeline", "xgboost.sklearn:XGBClassifier", sklearn="1.4.1.post1")
    return names[:-2] + b"B" + struct.pack("<I", len(model)) + model + b"0N."


@failing(FITS, because="saved with xgboost 3.1.1, but the runtime has 2.0.3", at="model.ubj")
def test_a_model_whose_file_is_of_another_xgboost_than_mlmodel_says() -> list[Finding]:
    return model_findings(FITS, boosted("model.ubj", xgb_version="3.0.5") | {"model.ubj": in_ubjson(3, 1, 1)})


@failing(FITS, because="saved with xgboost 3.1.1, but the runtime has 2.0.3", at="model.json")
def test_a_model_in_json_of_which_mlmodel_says_no_version() -> list[Finding]:
    text = '{"learner": {"version": "mine"}, "version": [3, 1, 1]}'
    return model_findings(FITS, boosted("model.json") | {"model.json": text})


@failing(FITS, because="saved with xgboost 3.1.1, but the runtime has 2.0.3", at="model.pkl")
def test_a_pipeline_with_a_model_of_an_xgboost_that_writes_its_base_score_otherwise() -> list[Finding]:
    return model_findings(FITS, model(in_pickle(3, 1, 1)))


@passing(FITS, because="nothing in model.pkl is known to fail", at="MLmodel: pickled_model")
def test_a_pipeline_with_a_model_of_an_earlier_xgboost() -> list[Finding]:
    return model_findings(FITS, model(in_pickle(3, 0, 2)))


@not_applicable(FITS, because="does not pickle")
def test_a_model_whose_file_is_of_an_earlier_xgboost_than_mlmodel_says() -> list[Finding]:
    return model_findings(FITS, boosted("model.ubj", xgb_version="3.1.2") | {"model.ubj": in_ubjson(3, 0, 2)})


@failing(FITS, because="saved with xgboost 3.1.2", at="MLmodel: xgboost")
def test_a_file_without_a_version_leaves_that_of_mlmodel() -> list[Finding]:
    return model_findings(FITS, boosted("model.xgb", xgb_version="3.1.2") | {"model.xgb": b"\0\0\0?\3\0\0\0"})


@pytest.mark.parametrize(
    ("content", "because"),
    [
        (None, "it is not in the model's directory"),
        (b"", "it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "it is a pointer to a file that is not there",
        ),
    ],
)
def test_a_pickle_that_is_not_there_leaves_it_open_whether_it_loads(content: bytes | None, because: str) -> None:
    @inconclusive(FITS, because=f"model.pkl cannot be examined: {because}", at="MLmodel: pickled_model")
    def example() -> list[Finding]:
        return model_findings(FITS, model(content))

    example()


@pytest.mark.parametrize("path", ["../outside.pkl", "/etc/outside.pkl", '"a\\0.pkl"', f"{'x' * 300}.pkl"])
@inconclusive(FITS, because="cannot be examined: it is no path in the model's directory", at="MLmodel: pickled_model")
def test_a_pickle_outside_of_the_directory_is_not_opened(path: str) -> list[Finding]:
    return model_findings(FITS, model(BOOSTING, **{"pickled_model: model.pkl": f"pickled_model: {path}"}))


@failing(FITS, because="model.pkl contains _loss.CyHalfBinomialLoss", at="MLmodel: pickled_model")
def test_a_version_in_the_pickle_that_is_none() -> list[Finding]:
    content = pickled(
        "sklearn.ensemble._gb:GradientBoostingClassifier", "_loss:CyHalfBinomialLoss", sklearn="1.5.x-mine"
    )
    return model_findings(
        FITS, model(content, **{"    sklearn_version: 1.4.1.post1\n": "", "scikit-learn==1.4.1.post1\n": ""})
    )


@passing(FITS, because="nothing in python_model.pkl is known to fail")
def test_a_pickled_python_model_with_the_runtimes_versions() -> list[Finding]:
    return model_findings(FITS, flavored(CUSTOM) | {"python_model.pkl": LINEAR})


@failing(FITS, because="encoder.pkl contains _loss.CyHalfBinomialLoss", at="path: artifacts/encoder.pkl")
def test_a_pickle_among_the_artifacts_of_a_python_model() -> list[Finding]:
    artifact = "python_function:\n    python_model: python_model.pkl\n    artifacts:\n      encoder:\n        path: artifacts/encoder.pkl"
    return model_findings(FITS, flavored(artifact) | {"python_model.pkl": LINEAR, "artifacts/encoder.pkl": BOOSTING})


@passing(FITS)
def test_an_artifact_of_joblib_is_read_as_far_as_it_is_a_pickle() -> list[Finding]:
    artifact = f"{CUSTOM[:-1]}, artifacts: {{encoder: {{path: encoder.joblib}}}}}}"
    return model_findings(FITS, flavored(artifact) | {"python_model.pkl": LINEAR, "encoder.joblib": LINEAR[:40]})


@not_applicable(FITS, because="does not pickle", at="MLmodel: flavors:")
def test_a_model_that_is_no_pickle() -> list[Finding]:
    return model_findings(FITS, flavored(BOOSTER))


@not_applicable(FITS, because="does not pickle", at="MLmodel: flavors:")
def test_a_model_in_skops_format_is_no_pickle() -> list[Finding]:
    return model_findings(FITS, model(BOOSTING, **{"cloudpickle": "skops"}))


@pytest.mark.parametrize("identifier", [FITS, "environment.loading_is_supported", "environment.versions_are_the_same"])
def test_a_model_that_brings_its_environment_is_not_compared_with_the_image(identifier: str) -> None:
    @not_applicable(identifier, because="brings its own environment", at="environment.tar.gz")
    def example() -> list[Finding]:
        files = model(BOOSTING, **{"1.4.1.post1": "1.5.2"}) | {"environment.tar.gz": b"packed"}
        return model_findings(identifier, files)

    example()


@failing(FITS, because="numpy 1.26.4 knows them by name".replace("numpy", "NumPy"))
def test_a_stack_without_a_table_of_its_image() -> list[Finding]:
    return model_findings(FITS, model(GENERATOR, **{"1.26.4": "2.1.3"}), replace(runtime({}), runtime_image=None))


# loading_is_supported

SUPPORTED = "environment.loading_is_supported"


@failing(
    SUPPORTED,
    because="unsupported upstream, but nothing seen that breaks: saved with scikit-learn 1.5.2, and the runtime has 1.4.1",
    at="MLmodel: sklearn_version: 1.5.2",
)
def test_a_newer_scikit_learn_whose_names_the_runtime_has() -> list[Finding]:
    return model_findings(SUPPORTED, model(**{"1.4.1.post1": "1.5.2"}))


@failing(SUPPORTED, because="nothing seen that breaks: saved with numpy 2.1.3", at="requirements.txt: numpy==2.1.3")
def test_a_newer_numpy_whose_names_the_runtime_has() -> list[Finding]:
    return model_findings(SUPPORTED, model(**{"numpy==1.26.4": "numpy==2.1.3"}))


@failing(SUPPORTED, because="nothing seen that breaks: saved with xgboost 2.1.4", at="MLmodel: xgboost")
def test_a_newer_xgboost() -> list[Finding]:
    return model_findings(SUPPORTED, flavored("xgboost: {data: model.ubj, xgb_version: 2.1.4}"))


@failing(SUPPORTED, because="nothing seen that breaks: saved with xgboost 2.1.2", at="model.pkl")
def test_a_pipeline_with_a_model_of_a_newer_xgboost() -> list[Finding]:
    return model_findings(SUPPORTED, model(in_pickle(2, 1, 2)))


@passing(SUPPORTED)
def test_the_versions_in_the_runtime() -> list[Finding]:
    return model_findings(SUPPORTED, SOUND)


@pytest.mark.parametrize(("old", "new"), [("numpy==1.26.4", "numpy==1.24.0"), ("1.4.1.post1", "1.4.2")])
@passing(SUPPORTED)
def test_an_older_numpy_and_another_patch(old: str, new: str) -> list[Finding]:
    return model_findings(SUPPORTED, model(**{old: new}))


@passing(SUPPORTED)
def test_what_breaks_is_not_called_unsupported_too() -> list[Finding]:
    return model_findings(SUPPORTED, model(BOOSTING, **{"1.4.1.post1": "1.5.2"}))


@passing(SUPPORTED)
def test_an_xgboost_that_breaks_is_not_called_unsupported_too() -> list[Finding]:
    return model_findings(SUPPORTED, flavored("xgboost: {data: model.ubj, xgb_version: 3.1.2}"))


@pytest.mark.parametrize("version", ["dev", "''"])
@passing(SUPPORTED)
def test_a_version_that_is_none_leaves_the_requirements(version: str) -> list[Finding]:
    return model_findings(SUPPORTED, model(**{"sklearn_version: 1.4.1.post1": f"sklearn_version: {version}"}))


@inconclusive(
    SUPPORTED, because="model.pkl contains steps.clean.Cleaner, and it is unknown whether", at="pickled_model"
)
def test_a_module_of_which_nothing_is_known() -> list[Finding]:
    return model_findings(SUPPORTED, model(pickled("steps.clean:Cleaner")))


@passing(SUPPORTED)
def test_a_module_that_the_model_brings_as_code() -> list[Finding]:
    files = model(pickled("steps.clean:Cleaner"), **{"    python_version": "    code: code\n    python_version"})
    return model_findings(SUPPORTED, files | {"code/steps/clean.py": "class Cleaner: ...\n"})


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


@failing("environment.versions_are_the_same", because="saved with prophet 1.1.5", at="requirements.txt: prophet==1.1.5")
def test_a_package_that_the_runtime_lacks() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", model(**{"mlflow==": "prophet==1.1.5\nmlflow=="}))


@failing(
    "environment.versions_are_the_same",
    because="saved with mlflow 2.10.1, but the runtime has 2.10.2; numpy 1.26.3, but the runtime has 1.26.4; "
    "saved with prophet 1.1.5, which the runtime's image does not have",
    at="MLmodel: mlflow_version: 2.10.1",
)
def test_all_other_versions_of_a_model_are_one_finding() -> list[Finding]:
    changes = {"mlflow_version: 2.10.2": "mlflow_version: 2.10.1", "numpy==1.26.4": "numpy==1.26.3\nprophet==1.1.5"}
    found = model_findings("environment.versions_are_the_same", model(**changes))
    assert len(found) == 1
    assert "requirements.txt:3" in found[0].evidence[0].text
    return found


@failing("environment.versions_are_the_same", because="and 3 more packages", at="requirements.txt: p0==1")
def test_a_message_names_the_first_packages_and_the_evidence_all() -> list[Finding]:
    lines = "".join(f"p{number}==1\n" for number in range(15))
    found = model_findings(
        "environment.versions_are_the_same", model(**{"mlflow==2.10.2\n": f"mlflow==2.10.2\n{lines}"})
    )
    assert "p14" in found[0].evidence[0].text
    return found


@passing("environment.versions_are_the_same")
def test_a_package_that_only_the_image_has() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", model(**{"mlflow==": "lightgbm==4.3.0\nmlflow=="}))


@failing("environment.versions_are_the_same", because="lightgbm 4.3.0, which the runtime's lock does not have")
def test_a_package_that_the_lock_of_a_stack_without_a_table_lacks() -> list[Finding]:
    files = model(**{"mlflow==": "lightgbm==4.3.0\nmlflow=="})
    return model_findings("environment.versions_are_the_same", files, replace(runtime({}), runtime_image=None))


@passing("environment.versions_are_the_same", because="mlflow 2.10.2", at="MLmodel: ")
def test_the_runtimes_versions() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", SOUND)


@passing("environment.versions_are_the_same")
def test_a_wheel_beside_the_model_states_no_version() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", model(**{"mlflow==2.10.2": "./wheels/own.whl"}))


@inconclusive("environment.versions_are_the_same", because="neither requirements.txt nor conda.yaml has a version")
def test_no_version_at_all() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", {"MLmodel": f"flavors:\n  {BOOSTER}\n"})


def test_requirements_that_are_no_text_cannot_be_judged() -> None:
    files: Files = {"MLmodel": MLMODEL, "requirements.txt": b"numpy==1.26.4 # \xff"}
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
@pytest.mark.parametrize("named", ["", ", model_class: lightgbm.basic.Booster"])
def test_a_booster_of_lightgbm_is_text_whatever_its_format_says(named: str) -> list[Finding]:
    files = flavored(f"lightgbm: {{data: model.lgb, serialization_format: skops, lgb_version: 4.7.0{named}}}")
    return model_findings("environment.serialization_is_readable", files)


@failing("environment.serialization_is_readable", because="MLflow 2.10.2 cannot read", at="MLmodel: lightgbm")
def test_a_model_of_lightgbm_in_skops_format() -> list[Finding]:
    files = flavored(
        "lightgbm: {data: model.skops, serialization_format: skops, lgb_version: 4.3.0, "
        "model_class: lightgbm.sklearn.LGBMClassifier}"
    )
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


@failing(
    "environment.requirements_are_pinned",
    because="'numpy', 'scipy>=1.11' are not pinned to exact versions",
    at="requirements.txt: numpy",
)
def test_several_ranges_are_one_finding_that_names_each() -> list[Finding]:
    requirements = "mlflow==2.10.2\nnumpy\nscikit-learn==1.4.1.post1\nscipy>=1.11\n"
    found = model_findings("environment.requirements_are_pinned", SOUND | {"requirements.txt": requirements})
    assert [one.outcome for one in found].count(Outcome.FAILED) == 1
    return found


@failing(
    "environment.requirements_are_pinned",
    because="pip refuses 'numpy=1.26': write 'numpy==1.26'",
    at="requirements.txt: numpy=1.26",
)
def test_a_version_as_conda_writes_it() -> list[Finding]:
    return model_findings("environment.requirements_are_pinned", model(**{"numpy==1.26.4": "numpy=1.26"}))


@failing("environment.requirements_are_pinned", because="pip refuses 'numpy=1.*': write an exact version after '=='")
def test_a_range_as_conda_writes_it() -> list[Finding]:
    return model_findings("environment.requirements_are_pinned", model(**{"numpy==1.26.4": "numpy=1.*"}))


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


# an image whose build did not pin its packages: MLServer 1.7.1's, on Linux on x86_64


@pytest.mark.parametrize(
    ("files", "because"),
    [
        (
            model(ARRAY),
            "numpy._core.numeric._frombuffer, which numpy 1.26.4 does not have: that is the version of the stack's lock",
        ),
        (model(GENERATOR), "NumPy 1.26.4 knows them by name: that is the version of the stack's lock"),
        (
            model(OLD_TREE, **{"1.4.1.post1": "1.2.2"}),
            "the image's is unknown, since its build did not pin scikit-learn",
        ),
    ],
)
def test_what_the_lock_s_versions_do_not_read_is_unknown_of_the_image(files: Files, because: str) -> None:
    @inconclusive(FITS, because=because)
    def example() -> list[Finding]:
        return model_findings(FITS, files, "current")

    example()


@failing(FITS, because="byte code of Python 3.12.1, whose form the image's Python 3.10.12 does not read")
def test_byte_code_of_another_python_breaks_whatever_the_packages_are() -> list[Finding]:
    files = flavored(f"{CUSTOM[:-1]}, python_version: 3.12.1}}") | {"python_model.pkl": BY_VALUE}
    return model_findings(FITS, files, "current")


@inconclusive(
    "environment.loading_is_supported", because="saved with scikit-learn 1.4.1.post1, and the version in the runtime's"
)
def test_support_by_an_unknown_version() -> list[Finding]:
    return model_findings("environment.loading_is_supported", model(LINEAR), "current")


@inconclusive(
    "environment.versions_are_the_same", because="in the runtime's image are unknown: its build did not pin them"
)
def test_versions_that_are_unknown_of_the_image() -> list[Finding]:
    return model_findings("environment.versions_are_the_same", SOUND, "current")
