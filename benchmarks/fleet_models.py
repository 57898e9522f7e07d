"""A program for a writer's environment: logs models to an MLflow server, registers them, and keeps what they answer in this environment.

Usage: ``python fleet_models.py kinds OUTPUT WRITER NAME…`` or ``python fleet_models.py examples OUTPUT WRITER NUMBER FILE…``. The first
makes models of the kinds that are named, the second at least NUMBER of what examples of somebody else's fit, each run in a process of its
own. Appends a line of JSON for each model to OUTPUT: its name, rows of inputs, and what it answers here, or why it does not. Needs MLflow
and the libraries; nothing of trivet.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import runpy
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

LIBRARIES = ("mlflow", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle", "joblib", "skops")
ROWS = 6
MODELS_OF_AN_EXAMPLE = 2
SECONDS = 120
"""An example that takes longer is ended."""

Maker = Callable[[str], tuple[Any, Any]]
KINDS: dict[str, Maker] = {}
"""Kind → the function that logs a model of it in the run that is active, and returns an input example and its signature's presence."""

RNG = np.random.default_rng(7)
NUMBERS = pd.DataFrame(RNG.normal(size=(240, 5)), columns=["age", "income", "visits", "score", "days"])
TARGET = (NUMBERS["age"] * 2 - NUMBERS["income"] + RNG.normal(size=240) * 0.3).to_numpy()
CLASSES = (TARGET > 0).astype(int)
MIXED = NUMBERS.assign(city=RNG.choice(["Rome", "Oslo", "Lima"], 240), plan=RNG.choice(["a", "b"], 240))
MIXED.loc[::17, "age"] = np.nan
TEXTS = pd.Series(RNG.choice(["great service", "slow and rude", "would buy again", "never again"], 240))


def requirements(*names: str) -> list[str]:
    """Exact requirements for those of the packages that are here."""
    found = []
    for name in (*LIBRARIES, *names):
        try:
            found.append(f"{name}=={importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def kind(make: Maker) -> Maker:
    KINDS[make.__name__] = make
    return make


def log_sklearn(name: str, model: Any, x: Any, y: Any = None, *, signature: bool = True, **options: Any) -> Any:
    model.fit(x, y)
    log(mlflow.sklearn, name, model, x, model.predict(x), signature=signature, **options)
    return x[:ROWS]


def log(
    flavor: Any,
    name: str,
    model: Any,
    x: Any,
    y: Any,
    *,
    signature: bool = True,
    needs: tuple[str, ...] = (),
    **options: Any,
) -> None:
    flavor.log_model(
        model,
        "model",
        registered_model_name=name,
        signature=infer_signature(x, y) if signature else None,
        pip_requirements=requirements(*needs),
        **options,
    )


@kind
def linear(name: str) -> Any:
    from sklearn.linear_model import LinearRegression

    return log_sklearn(name, LinearRegression(), NUMBERS, TARGET)


@kind
def logistic_array(name: str) -> Any:
    from sklearn.linear_model import LogisticRegression

    return log_sklearn(name, LogisticRegression(), NUMBERS.to_numpy(), CLASSES)


@kind
def lasso_cv(name: str) -> Any:
    from sklearn.linear_model import LassoCV

    return log_sklearn(name, LassoCV(), NUMBERS, TARGET)


@kind
def without_signature(name: str) -> Any:
    from sklearn.linear_model import Ridge

    return log_sklearn(name, Ridge(), NUMBERS, TARGET, signature=False)


@kind
def forest(name: str) -> Any:
    from sklearn.ensemble import RandomForestRegressor

    return log_sklearn(name, RandomForestRegressor(20, random_state=1), NUMBERS, TARGET)


@kind
def boosting(name: str) -> Any:
    from sklearn.ensemble import GradientBoostingClassifier

    return log_sklearn(name, GradientBoostingClassifier(n_estimators=15), NUMBERS, CLASSES)


@kind
def histogram_boosting(name: str) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return log_sklearn(name, HistGradientBoostingRegressor(max_iter=15), NUMBERS, TARGET)


@kind
def support_vectors(name: str) -> Any:
    from sklearn.svm import SVC

    return log_sklearn(name, SVC(), NUMBERS, CLASSES)


@kind
def network(name: str) -> Any:
    from sklearn.neural_network import MLPRegressor

    return log_sklearn(name, MLPRegressor((8,), max_iter=60, random_state=np.random.RandomState(3)), NUMBERS, TARGET)


@kind
def neighbours(name: str) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return log_sklearn(name, KNeighborsClassifier(), NUMBERS, CLASSES)


@kind
def clusters(name: str) -> Any:
    from sklearn.cluster import KMeans

    return log_sklearn(name, KMeans(3, n_init=2), NUMBERS)


@kind
def isolation(name: str) -> Any:
    from sklearn.ensemble import IsolationForest

    return log_sklearn(name, IsolationForest(n_estimators=20, random_state=2), NUMBERS)


@kind
def gaussian_process(name: str) -> Any:
    from sklearn.gaussian_process import GaussianProcessRegressor

    return log_sklearn(name, GaussianProcessRegressor(alpha=0.1), NUMBERS[:80], TARGET[:80])


@kind
def calibrated(name: str) -> Any:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.naive_bayes import GaussianNB

    return log_sklearn(name, CalibratedClassifierCV(GaussianNB(), cv=3), NUMBERS, CLASSES)


@kind
def stacked(name: str) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor, StackingRegressor
    from sklearn.linear_model import RidgeCV

    model = StackingRegressor([("trees", ExtraTreesRegressor(10)), ("ridge", RidgeCV())])
    return log_sklearn(name, model, NUMBERS, TARGET)


@kind
def grid_search(name: str) -> Any:
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.model_selection import GridSearchCV

    model = GridSearchCV(AdaBoostClassifier(), {"n_estimators": [5, 10]}, cv=2)
    return log_sklearn(name, model, NUMBERS, CLASSES)


def columns() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "income", "visits"]),
            ("names", OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
        ],
        remainder="passthrough",
    )


@kind
def mixed_columns(name: str) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return log_sklearn(name, make_pipeline(columns(), LogisticRegression(max_iter=500)), MIXED, CLASSES)


def clipped(x: Any) -> Any:
    return np.clip(x, -2, 2)


@kind
def own_function(name: str) -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    return log_sklearn(name, make_pipeline(FunctionTransformer(clipped), Ridge()), NUMBERS, TARGET)


@kind
def words(name: str) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(), SGDClassifier(random_state=0)).fit(TEXTS, CLASSES)
    log(mlflow.sklearn, name, model, TEXTS.to_numpy(), model.predict(TEXTS))
    return TEXTS.to_numpy()[:ROWS]


OWN_MODULE = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Ratios(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.scale_ = np.abs(np.asarray(X)).mean(axis=0)
        return self

    def transform(self, X):
        return np.asarray(X) / self.scale_
"""


def own_transformer(name: str, folder: Path, *, code: bool) -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    (folder / "own_ratios.py").write_text(OWN_MODULE)
    sys.path.insert(0, str(folder))
    import own_ratios

    return log_sklearn(
        name,
        make_pipeline(own_ratios.Ratios(), Ridge()),
        NUMBERS,
        TARGET,
        code_paths=[str(folder / "own_ratios.py")] if code else None,
    )


@kind
def own_class_with_code(name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return own_transformer(name, Path(folder), code=True)


@kind
def own_class_without_code(name: str) -> Any:
    """Loads where it was made, since the module is on the path there."""
    return own_transformer(name, Path(tempfile.mkdtemp()), code=False)


@kind
def xgboost_classifier(name: str) -> Any:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=10).fit(NUMBERS, CLASSES)
    log(mlflow.xgboost, name, model, NUMBERS, model.predict(NUMBERS), needs=("xgboost",))
    return NUMBERS[:ROWS]


@kind
def xgboost_booster(name: str) -> Any:
    import xgboost

    matrix = xgboost.DMatrix(NUMBERS, TARGET)
    model = xgboost.train({"objective": "reg:squarederror"}, matrix, 10)
    log(mlflow.xgboost, name, model, NUMBERS, model.predict(matrix), needs=("xgboost",))
    return NUMBERS[:ROWS]


@kind
def xgboost_in_pipeline(name: str) -> Any:
    import xgboost
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), xgboost.XGBRegressor(n_estimators=10))
    return log_sklearn(name, model, NUMBERS, TARGET, needs=("xgboost",))


@kind
def lightgbm_regressor(name: str) -> Any:
    import lightgbm

    model = lightgbm.LGBMRegressor(n_estimators=10, verbose=-1).fit(NUMBERS, TARGET)
    log(mlflow.lightgbm, name, model, NUMBERS, model.predict(NUMBERS), needs=("lightgbm",))
    return NUMBERS[:ROWS]


@kind
def lightgbm_booster(name: str) -> Any:
    import lightgbm

    model = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(NUMBERS, CLASSES), 10)
    log(mlflow.lightgbm, name, model, NUMBERS, model.predict(NUMBERS), needs=("lightgbm",))
    return NUMBERS[:ROWS]


@kind
def catboost(name: str) -> Any:
    from catboost import CatBoostRegressor

    model = CatBoostRegressor(iterations=10, verbose=False, allow_writing_files=False).fit(NUMBERS, TARGET)
    log(mlflow.catboost, name, model, NUMBERS, model.predict(NUMBERS), needs=("catboost",))
    return NUMBERS[:ROWS]


@kind
def ordinary_least_squares(name: str) -> Any:
    import statsmodels.api

    model = statsmodels.api.OLS(TARGET, NUMBERS).fit()
    log(mlflow.statsmodels, name, model, NUMBERS, model.predict(NUMBERS), needs=("statsmodels",))
    return NUMBERS[:ROWS]


@kind
def onnx_graph(name: str) -> Any:
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor("w", TensorProto.FLOAT, [5, 1], [1.0, -2.0, 0.5, 0.25, 3.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = min(model.ir_version, 9)
    onnx.checker.check_model(model)
    x = NUMBERS.to_numpy(dtype=np.float32)
    log(mlflow.onnx, name, model, x, x[:, :1], needs=("onnx", "onnxruntime"))
    return x[:ROWS]


@kind
def spacy_categories(name: str) -> Any:
    import spacy
    from spacy.training import Example

    model = spacy.blank("en")
    model.add_pipe("textcat").add_label("good")
    model.get_pipe("textcat").add_label("bad")
    data = [
        Example.from_dict(
            model.make_doc(text), {"cats": {"good": float(text[0] in "gw"), "bad": float(text[0] in "sn")}}
        )
        for text in TEXTS[:40]
    ]
    model.initialize(lambda: data)
    model.update(data)
    texts = pd.DataFrame({"text": TEXTS})
    log(
        mlflow.spacy,
        name,
        model,
        texts,
        pd.DataFrame({"predictions": [{"good": 0.5}]}),
        signature=False,
        needs=("spacy",),
    )
    return texts[:ROWS]


class Scaled(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """By value: defined in the script."""

    def __init__(self) -> None:
        self.factors = np.arange(5.0)

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return np.asarray(model_input) @ self.factors


@kind
def pyfunc_by_value(name: str) -> Any:
    mlflow.pyfunc.log_model(
        "model",
        python_model=Scaled(),
        registered_model_name=name,
        signature=infer_signature(NUMBERS, TARGET),
        pip_requirements=requirements(),
    )
    return NUMBERS[:ROWS]


class Joined(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
    """Opens an artifact of joblib when it is loaded."""

    def load_context(self, context: Any) -> None:
        import joblib

        self.model = joblib.load(context.artifacts["model"])

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return self.model.predict(model_input)


@kind
def pyfunc_with_artifact(name: str) -> Any:
    import joblib
    from sklearn.ensemble import RandomForestClassifier

    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(RandomForestClassifier(5).fit(NUMBERS, CLASSES), f"{folder}/forest.joblib")
        mlflow.pyfunc.log_model(
            "model",
            python_model=Joined(),
            artifacts={"model": f"{folder}/forest.joblib"},
            registered_model_name=name,
            signature=infer_signature(NUMBERS, CLASSES),
            pip_requirements=requirements(),
        )
    return NUMBERS[:ROWS]


PYFUNC_MODULE = """
import mlflow


class Doubled(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input.sum(axis=1).to_numpy() * 2
"""


@kind
def pyfunc_with_code(name: str) -> Any:
    folder = Path(tempfile.mkdtemp())
    (folder / "own_doubled.py").write_text(PYFUNC_MODULE)
    sys.path.insert(0, str(folder))
    import own_doubled

    mlflow.pyfunc.log_model(
        "model",
        python_model=own_doubled.Doubled(),
        code_paths=[str(folder / "own_doubled.py")],
        registered_model_name=name,
        signature=infer_signature(NUMBERS, TARGET),
        pip_requirements=requirements(),
    )
    return NUMBERS[:ROWS]


# -- what went wrong on the way into the registry --------------------------------------------------------------------


def damaged(name: str, damage: Callable[[Path], None]) -> Any:
    """A sound model whose directory was copied by a job that damaged it, and registered from there."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(NUMBERS, CLASSES)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        mlflow.sklearn.save_model(
            model,
            str(folder),
            signature=infer_signature(NUMBERS, CLASSES),
            pip_requirements=requirements(),
            serialization_format="cloudpickle",
        )
        damage(folder)
        mlflow.log_artifacts(str(folder), "model")
    client = mlflow.MlflowClient()
    client.create_registered_model(name)
    run = mlflow.active_run().info
    client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id)
    return NUMBERS[:ROWS]


@kind
def pointer_of_lfs(name: str) -> Any:
    return damaged(
        name,
        lambda folder: (
            (folder / "model.pkl").write_text(
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 900\n"
            )
            and None
        ),
    )


@kind
def file_is_missing(name: str) -> Any:
    return damaged(name, lambda folder: (folder / "model.pkl").unlink())


@kind
def truncated_file(name: str) -> Any:
    return damaged(name, lambda folder: os.truncate(folder / "model.pkl", (folder / "model.pkl").stat().st_size // 2))


@kind
def signature_of_inputs_only(name: str) -> Any:
    def strip(folder: Path) -> None:
        text = (folder / "MLmodel").read_text()
        lines = text.split("\n")
        start = next(number for number, line in enumerate(lines) if line.startswith("  outputs:"))
        end = next((n for n in range(start + 1, len(lines)) if not lines[n].startswith("   ")), len(lines))
        (folder / "MLmodel").write_text("\n".join([*lines[:start], "  outputs: null", *lines[end:]]))

    return damaged(name, strip)


@kind
def copied_twice(name: str) -> Any:
    """Sound: a job has copied files beside it that no model needs."""
    return damaged(name, lambda folder: shutil.copy(folder / "model.pkl", folder / "model.bak.pkl") and None)


# -- what examples of somebody else's fit -----------------------------------------------------------------------------


def run_example(file: str, prefix: str) -> list[tuple[str, Maker]]:
    """Run the example, and return what logs the models that it has fitted last: name → function."""
    fitted = watch_fits()
    sys.argv = [file]
    sys.path.insert(0, str(Path(file).parent))
    os.chdir(Path(file).parent)
    try:
        runpy.run_path(file, run_name="__main__")
    except (Exception, SystemExit) as error:
        print(f"{file}: {type(error).__name__}: {error}", file=sys.stderr)
    fitted.active = False
    last: dict[str, tuple[Any, Any]] = {}
    for model, x in fitted.found:
        last[type(model).__name__] = (model, x)
    return [
        (f"{prefix}-{title.lower()}", maker(model, x))
        for title, (model, x) in list(last.items())[-MODELS_OF_AN_EXAMPLE:]
    ]


def maker(model: Any, x: Any) -> Maker:
    def make(name: str) -> Any:
        package = type(model).__module__.partition(".")[0]
        example = x[: max(ROWS, 20)]
        if package in ("xgboost", "lightgbm"):
            flavor = getattr(mlflow, package)
            if type(model).__name__ == "Booster" and package == "xgboost":
                import xgboost

                answers = model.predict(xgboost.DMatrix(example))
            else:
                answers = model.predict(example)
            log(flavor, name, model, example, answers, needs=(package,))
        else:
            log(mlflow.sklearn, name, model, example, model.predict(example), needs=("xgboost", "lightgbm"))
        return x[:ROWS]

    return make


class Fits:
    """What was fitted by calls that no other fit made: models and their inputs, in order."""

    def __init__(self) -> None:
        self.found: list[tuple[Any, Any]] = []
        self.depth = 0
        self.active = True


def watch_fits() -> Fits:
    import sklearn.utils
    from sklearn.pipeline import Pipeline

    fits = Fits()

    def watched(original: Any) -> Any:
        def fit(self: Any, X: Any, *arguments: Any, **options: Any) -> Any:  # noqa: N803 - may be given by name
            fits.depth += 1
            try:
                found = original(self, X, *arguments, **options)
            finally:
                fits.depth -= 1
            if fits.active and not fits.depth and hasattr(self, "predict") and usable(X):
                fits.found.append((self, dense(X)))
            return found

        return fit

    classes = {cls for _, cls in sklearn.utils.all_estimators()} | {Pipeline}
    for package in ("xgboost", "lightgbm"):
        try:
            module = __import__(package)
        except ImportError:
            continue
        classes |= {value for name, value in vars(module).items() if isinstance(value, type) and hasattr(value, "fit")}
        module.train = trained(module.train, fits)
    for cls in classes:
        if "fit" in vars(cls):
            cls.fit = watched(cls.fit)
    return fits


def trained(original: Any, fits: Fits) -> Any:
    def train(params: Any, data: Any, *arguments: Any, **options: Any) -> Any:
        fits.depth += 1
        try:
            found = original(params, data, *arguments, **options)
        finally:
            fits.depth -= 1
        try:
            rows = data.get_data()
        except Exception:  # freed, or of an iterator
            return found
        if fits.active and not fits.depth and rows is not None and usable(rows):
            fits.found.append((found, dense(rows)))
        return found

    return train


def usable(x: Any) -> bool:
    return hasattr(x, "shape") and len(x.shape) == 2 and x.shape[1] < 500 and hasattr(x, "__getitem__")


def dense(x: Any) -> Any:
    return x[:40].toarray() if hasattr(x, "toarray") else x[:40].copy()


# -- logging, and what is kept ----------------------------------------------------------------------------------------


def kept(name: str, make: Maker) -> dict[str, Any]:
    """Log one model, load it as MLflow serves it, and ask it."""
    entry: dict[str, Any] = {"name": name, "answers": None, "error": ""}
    with mlflow.start_run():
        rows = make(name)
    entry["rows"] = json_rows(rows)
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/{name}/1")
        entry["answers"] = json_answers(loaded.predict(rows))
    except Exception as error:
        entry["error"] = f"{type(error).__name__}: {error}"[:300]
    return entry


def json_rows(rows: Any) -> list[Any]:
    if isinstance(rows, pd.DataFrame):
        return json.loads(rows.astype(object).where(rows.notna(), None).to_json(orient="records", double_precision=15))
    return np.asarray(rows).tolist()


def json_answers(answers: Any) -> list[Any]:
    if isinstance(answers, pd.DataFrame):
        return json.loads(answers.to_json(orient="records", double_precision=15))
    if isinstance(answers, dict):
        answers = next(iter(answers.values()))
    return np.asarray(answers).tolist()


def keep(wanted: Sequence[tuple[str, Maker]], output: Path) -> None:
    for name, make in wanted:
        try:
            entry = kept(name.replace("_", "-"), make)
        except Exception as error:
            print(f"{name}: not logged: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
            continue
        with output.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(entry)}\n")


def of_examples(number: int, files: Sequence[str], output: Path, writer: str) -> None:
    """Run the examples in turn, in processes that have what this one has imported, until there are ``number`` more models."""
    before = count(output)
    for file in files:
        if count(output) - before >= number:
            return
        process = os.fork()
        if not process:
            os.setpgrp()
            signal.alarm(SECONDS)
            try:
                keep(run_example(file, f"{writer}-{Path(file).stem}"), output)
            except BaseException as error:
                print(f"{file}: {type(error).__name__}: {error}", file=sys.stderr)
            os._exit(0)
        os.waitpid(process, 0)
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # workers of joblib


def count(output: Path) -> int:
    return len(output.read_text(encoding="utf-8").splitlines()) if output.exists() else 0


def main(what: str, output: str, writer: str, *names: str) -> None:
    """See the module."""
    warnings.simplefilter("ignore")
    if what == "kinds":
        keep([(f"{writer}-{name}", KINDS[name]) for name in names], Path(output))
    else:
        importlib.import_module("sklearn.utils").all_estimators()
        of_examples(int(names[0]), names[1:], Path(output), writer)


if __name__ == "__main__":
    main(*sys.argv[1:])
