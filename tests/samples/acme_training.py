"""A platform's training function, as docs/operations.md shows it, and others from which no sound version comes."""
# mypy: disable-error-code="import-not-found, import-untyped, no-any-unimported"

from dataclasses import replace
from typing import Any

from trivet.operations.training import TrainingResult


def train(dataset: str, n_estimators: int = 20, learning_rate: float = 0.2) -> TrainingResult:
    import pandas
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import cross_val_score

    frame = pandas.read_csv(dataset)
    features, labels = frame.drop(columns="recommended"), frame["recommended"]
    model = GradientBoostingClassifier(n_estimators=n_estimators, learning_rate=learning_rate, random_state=7)
    scores = cross_val_score(model, features, labels, cv=3, scoring="f1_weighted")
    model.fit(features, labels)
    return TrainingResult(
        model=model,
        inputs=features,
        outputs=model.predict(features),
        metrics={"f1_weighted_mean": scores.mean(), "f1_weighted_std": scores.std()},
    )


def train_undefined(dataset: str, learning_rate: float = 0.2) -> TrainingResult:
    return replace(train(dataset, learning_rate=learning_rate), metrics={"f1_weighted_mean": float("nan")})


def train_raises(dataset: str) -> TrainingResult:
    raise ValueError("no rows are left")


def train_by_hand(dataset: str) -> dict[str, Any]:
    return {"model": None, "metrics": {}}


def train_without_library(dataset: str) -> TrainingResult:
    """A model of a library that is not installed."""
    return TrainingResult(
        model=object(), inputs=[[1.0]], outputs=[0], metrics={}, flavor="xgboost", packages=["mlflow"]
    )


def train_unknown_flavor(dataset: str) -> TrainingResult:
    return replace(train_without_library(dataset), flavor="sklaern")


def train_registers(dataset: str) -> TrainingResult:
    """A function that registers a model of its own in the run."""
    import mlflow
    import numpy
    from sklearn.dummy import DummyClassifier

    inputs, outputs = numpy.array([[1.0], [2.0]]), numpy.array([0, 1])
    model = DummyClassifier().fit(inputs, outputs)
    options = {} if mlflow.__version__ < "3" else {"serialization_format": "cloudpickle"}
    mlflow.sklearn.log_model(
        model, "own", registered_model_name="train_registers", pip_requirements=["mlflow"], **options
    )
    return TrainingResult(model=model, inputs=inputs, outputs=outputs, metrics={"f1": 0.5})
