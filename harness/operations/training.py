"""Trains by a function of the user's within a run of MLflow, and registers the model, so that it can be gated and deployed.

It needs MLflow's client and what the function needs, in the environment where it runs.
"""
# mypy: disable-error-code="import-not-found, import-untyped, no-any-unimported"

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from trivet.errors import PlatformError, UsageError, unknown
from trivet.integration.requirements import OF_SKLEARN, pinned_requirements
from trivet.integration.tracking import TrackingApi, quoted
from trivet.operations.arguments import arguments_of

PIPELINE_TAG = "pipeline"
"""The tag of a run with the name of the pipeline that trained."""

_EXAMPLE_ROWS = 3
_SKLEARN = "sklearn"


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a training function returns.

    ``inputs`` are rows of features, and ``outputs`` what ``model`` predicts for them: the signature is inferred from both, and the first
    rows are the input example. ``flavor`` is the module of MLflow that logs the model, such as ``xgboost``. ``packages`` are what the model
    needs to be loaded, one's own among them, and are pinned as installed; those of scikit-learn by default.

    Raises UsageError for another flavor without packages, for the flavor pyfunc, which logs no model but a way to load one, for inputs
    without rows, and for a metric that is no number.
    """

    model: Any
    inputs: Any
    outputs: Any
    metrics: Mapping[str, float]
    packages: Sequence[str] = ()
    flavor: str = _SKLEARN

    def __post_init__(self) -> None:
        if self.flavor == "pyfunc":
            raise UsageError(
                "the flavor pyfunc takes no trained model",
                remedy="name the flavor of the model's library, such as xgboost",
            )
        if self.flavor != _SKLEARN and not self.packages:
            raise UsageError(
                f"a model of the flavor {self.flavor!r} needs packages, and none are named",
                remedy=f"return TrainingResult(…, packages=['mlflow', {self.flavor!r}, …]) with all that loading it imports",
            )
        try:
            self.inputs[:_EXAMPLE_ROWS]
        except (TypeError, KeyError, IndexError) as error:
            raise UsageError(
                f"the inputs of the TrainingResult have no first rows: they are {_kind(self.inputs)} ({error})",
                remedy="pass the features as a DataFrame, an array or a list of rows",
            ) from error
        for name, value in self.metrics.items():
            if not isinstance(name, str) or isinstance(value, str | bytes) or not _is_number(value):
                raise UsageError(
                    f"the metric {name!r} of the TrainingResult is {value!r}, {_kind(value)}",
                    remedy="pass metrics as a name and one number each, such as {'f1': scores.mean()}",
                )


@dataclass(frozen=True, kw_only=True)
class TrainedVersion:
    """A registered version with its run: ``model`` is ``models:/NAME/VERSION``, ``model_uri`` MLflow's of the logged model."""

    model: str
    run_id: str
    model_uri: str
    metrics: Mapping[str, float]


TrainingFunction = Callable[..., TrainingResult]


def train_and_register(
    function: str,
    dataset: str,
    *,
    tracking: TrackingApi,
    experiment: str,
    registered_name: str,
    parameters: Mapping[str, Any],
    pipeline: str = "",
) -> TrainedVersion:
    """Call ``function``, written ``module:name``, with the path of ``dataset`` and ``parameters``, and record what it returns.

    The run of MLflow has parameters, metrics and the pipeline's name, and is open while the function trains, so that the function may log
    more. It is FAILED when the function or the recording raises. It is a run of its own, also where the environment has an MLFLOW_RUN_ID,
    as KFP's MLflow plugin sets it: that run is the pipeline's. The numbers among ``parameters`` are those of :func:`arguments_of`.

    Raises UsageError, before a run is made, for a function that cannot be called so, for a name that MLflow's registry or a ``models:/``
    URI does not take, and without MLflow; PlatformError for an experiment that MLflow refuses. After the training, UsageError for a
    result that is not a TrainingResult, and for a model whose library is not installed.
    """
    if not registered_name or {"/", ":", "@"}.intersection(registered_name):
        raise UsageError(
            f"{registered_name!r} is no name of a registered model",
            remedy="write a name without /, : and @, as MLflow's registry and models:/NAME/VERSION take it",
        )
    train = training_function(function, parameters)
    given = arguments_of(train, parameters)

    mlflow, infer_signature = _client()
    mlflow.set_tracking_uri(tracking.uri)
    in_experiment = _experiment(mlflow, experiment)
    run_id = mlflow.MlflowClient().create_run(in_experiment).info.run_id
    with mlflow.start_run(run_id=run_id):
        mlflow.log_params(given)
        if pipeline:
            mlflow.set_tag(PIPELINE_TAG, pipeline)
        trained = train(dataset, **given)
        if not isinstance(trained, TrainingResult):
            raise UsageError(
                f"{function} returned {type(trained).__name__}",
                remedy="return trivet.operations.training.TrainingResult, with the model and its metrics",
            )
        metrics = {name: float(value) for name, value in trained.metrics.items()}
        mlflow.log_metrics(metrics)
        # The default of MLflow 3.14 and later is skops, which no released serving runtime reads.
        serialization = {"serialization_format": "cloudpickle"} if trained.flavor == _SKLEARN else {}
        requirements = pinned_requirements(trained.packages or OF_SKLEARN)
        with _library_of(trained.flavor):
            logged = _flavor(mlflow, trained.flavor).log_model(
                trained.model,
                "model",
                signature=infer_signature(trained.inputs, trained.outputs),
                input_example=trained.inputs[:_EXAMPLE_ROWS],
                registered_model_name=registered_name,
                pip_requirements=requirements,
                **serialization,
            )
    return TrainedVersion(
        model=f"models:/{registered_name}/{_version(tracking, registered_name, run_id)}",
        run_id=run_id,
        model_uri=logged.model_uri,
        metrics=metrics,
    )


def training_function(function: str, parameters: Mapping[str, Any]) -> TrainingFunction:
    """The function that ``module:name`` names. Raises UsageError unless it takes a path and ``parameters``."""
    module_name, colon, name = function.partition(":")
    if not (module_name and colon and name) or module_name.startswith("."):
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
        raise unknown("training function", function, [f"{module_name}:{one}" for one in functions])
    try:
        inspect.signature(found).bind("dataset", **parameters)
    except TypeError as error:
        raise UsageError(
            f"{function}{inspect.signature(found)} cannot be called with a path and {', '.join(parameters) or 'nothing else'}: {error}",
            remedy="name the parameters as the function does; its first argument is the path of the dataset",
        ) from error
    return found  # type: ignore[no-any-return]


def _client() -> tuple[Any, Callable[..., Any]]:
    """MLflow's client, and its function that infers a signature. Raises UsageError without them; mlflow-skinny alone lacks the second."""
    try:
        import mlflow
        from mlflow.models import infer_signature
    except ImportError as error:
        raise UsageError(
            f"MLflow cannot log a model in the environment of the step: {error}",
            remedy="pip install mlflow there, rather than mlflow-skinny, in the version of the tracking server",
        ) from error
    return mlflow, infer_signature


def _experiment(mlflow: Any, name: str) -> str:
    """The id of the experiment, which is made if there is none. Raises UsageError for an empty name, and PlatformError where MLflow
    refuses it, as it does one that was deleted."""
    if not name.strip():
        raise UsageError(f"{name!r} is no name of an experiment", remedy="name the experiment of the training's runs")
    try:
        return str(mlflow.set_experiment(name).experiment_id)
    except mlflow.exceptions.MlflowException as error:
        raise PlatformError(
            f"MLflow takes no runs in the experiment {name!r}: {error}",
            remedy="name another experiment, or restore this one if it was deleted",
        ) from error


@contextmanager
def _library_of(flavor: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"logging a model of the flavor {flavor!r} needs {error.name}, which is not installed",
            remedy="install it in the environment of the step, and name it in the packages of the TrainingResult",
        ) from error


def _kind(value: Any) -> str:
    return f"of the type {type(value).__qualname__}"


def _is_number(value: Any) -> bool:
    """Whether it is one number, also as NumPy and others have it."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


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
