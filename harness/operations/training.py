"""Trains by a function of the user's within a run of MLflow, and registers the model, so that it can be gated and deployed.

It needs MLflow's client and what the function needs, in the environment where it runs.
"""
# mypy: disable-error-code="import-not-found, import-untyped, no-any-unimported"

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from trivet.errors import PlatformError, UsageError, choices
from trivet.integration.requirements import pinned_requirements
from trivet.integration.tracking import TrackingApi, quoted

PIPELINE_TAG = "pipeline"
"""The tag of a run with the name of the pipeline that trained."""

_EXAMPLE_ROWS = 3


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training function returns.

    ``inputs`` are rows of features, and ``outputs`` what ``model`` predicts for them: the signature is inferred from both, and the first
    rows are the input example. ``packages`` are what the model needs to be loaded, and are pinned as installed. ``flavor`` is the module of
    MLflow that logs the model, such as ``xgboost``.
    """

    model: Any
    inputs: Any
    outputs: Any
    metrics: Mapping[str, float]
    packages: Sequence[str] = ("mlflow", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle")
    flavor: str = "sklearn"


@dataclass(frozen=True, kw_only=True)
class RegisteredModel:
    """A version with its run: ``model`` is ``models:/NAME/VERSION``, ``logged_uri`` what MLflow calls the model that it logged."""

    model: str
    run_id: str
    logged_uri: str
    metrics: Mapping[str, float]


TrainingFunction = Callable[..., Trained]


def train_and_register(
    function: str,
    dataset: str,
    *,
    tracking: TrackingApi,
    experiment: str,
    registered_name: str,
    parameters: Mapping[str, Any],
    pipeline: str = "",
) -> RegisteredModel:
    """Call ``function``, written ``module:name``, with the path of ``dataset`` and ``parameters``, and record what it returns.

    The run of MLflow has parameters, metrics and the pipeline's name, and is open while the function trains, so that the function may log
    more. It is FAILED when the function or the recording raises. Whole numbers among ``parameters`` are integers, as in JSON.

    Raises UsageError, before a run is made, for a function that cannot be called so, and for a result that is not Trained.
    """
    given = {name: _whole(value) for name, value in parameters.items()}
    train = training_function(function, given)

    import mlflow
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(tracking.uri)
    mlflow.set_experiment(experiment)
    with mlflow.start_run() as run:
        run_id = run.info.run_id
        mlflow.log_params(given)
        if pipeline:
            mlflow.set_tag(PIPELINE_TAG, pipeline)
        trained = train(dataset, **given)
        if not isinstance(trained, Trained):
            raise UsageError(
                f"{function} returned {type(trained).__name__}",
                remedy="return trivet.operations.training.Trained, with the model and its metrics",
            )
        metrics = {name: float(value) for name, value in trained.metrics.items()}
        mlflow.log_metrics(metrics)
        # The default of MLflow 3.14 and later is skops, which no released serving runtime reads.
        serialization = {"serialization_format": "cloudpickle"} if trained.flavor == "sklearn" else {}
        logged = _flavor(mlflow, trained.flavor).log_model(
            trained.model,
            "model",
            signature=infer_signature(trained.inputs, trained.outputs),
            input_example=trained.inputs[:_EXAMPLE_ROWS],
            registered_model_name=registered_name,
            pip_requirements=pinned_requirements(trained.packages),
            **serialization,
        )
    return RegisteredModel(
        model=f"models:/{registered_name}/{_version(tracking, registered_name, run_id)}",
        run_id=run_id,
        logged_uri=logged.model_uri,
        metrics=metrics,
    )


def training_function(function: str, parameters: Mapping[str, Any]) -> TrainingFunction:
    """The function that ``module:name`` names. Raises UsageError unless it takes a path and ``parameters``."""
    module_name, colon, name = function.partition(":")
    if not (module_name and colon and name):
        raise UsageError(
            f"{function!r} names no training function", remedy="write MODULE:FUNCTION, such as acme.training:train"
        )
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise UsageError(
            f"the module of {function!r} is not installed: {error}", remedy="install it in the image of the step"
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise UsageError(f"{module_name} has no function {name!r}", remedy=choices(name, functions))
    try:
        inspect.signature(found).bind("dataset", **parameters)
    except TypeError as error:
        raise UsageError(
            f"{function}{inspect.signature(found)} cannot be called with a path and {', '.join(parameters) or 'nothing else'}: {error}",
            remedy="name the parameters as the function does; its first argument is the path of the dataset",
        ) from error
    return found  # type: ignore[no-any-return]


def _whole(value: Any) -> Any:
    """``value`` with integers for whole numbers: KFP's local runner makes 20.0 of 20, and its backend 20 of 20.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return value


def _flavor(mlflow: Any, name: str) -> Any:
    module = getattr(mlflow, name, None)
    if not hasattr(module, "log_model"):
        raise UsageError(
            f"MLflow {mlflow.__version__} has no flavor {name!r}", remedy="name a module of mlflow that logs models"
        )
    return module


def _version(tracking: TrackingApi, name: str, run_id: str) -> int:
    """The newest version of this name and run: MLflow 2.12 does not return it."""
    versions = tracking.search_model_versions(f"run_id = {quoted(run_id)}")
    numbers = [int(one["version"]) for one in versions if one["name"] == name]
    if not numbers:
        raise PlatformError(
            f"run {run_id} has no version of {name!r} in the registry",
            remedy="see the log of the step for what MLflow said of the registration",
        )
    return max(numbers)
