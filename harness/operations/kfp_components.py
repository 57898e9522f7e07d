"""KFP components that train, gate, deploy and judge, for the pipelines of a platform: ``components(image)``.

They are lightweight Python components without packages of their own, which the SDK's ``local.SubprocessRunner(use_venv=False)`` runs in the
environment of the pipeline, and KFP's backend in ``image``. Both need the KFP SDK and trivet, ``trivet_train`` also MLflow's client and the
training function. The SDK runs no container components locally (kfp 2.7.0 to 2.17.0, local/subprocess_task_handler.py).

What a condition compares is a component's unnamed output, ``dsl.If(gated.outputs["Output"] == "PASSED")``: kfp.local 2.16 and 2.17 take a
condition on a named one for false, without an error (local/orchestrator/enhanced_dag_orchestrator.py, _resolve_pipeline_channel).
"""
# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator, valid-type, misc, no-any-unimported"
# KFP reads annotations as objects, so there is no `from __future__ import annotations`.
# KFP extracts each component as source text, so each has its own imports.

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl.pipeline_task import TaskState

Component = Callable[..., dsl.PipelineTask]
"""Makes a task of a pipeline, or outside of one runs the step at once by the SDK's local runner."""


@dataclass(frozen=True, kw_only=True)
class Components:
    """The components. Their tasks are not cached: what is in production and in MLflow changes, and the inputs stay the same.

    ``train`` has the outputs ``model`` (``models:/NAME/VERSION``, as ``gate`` and ``deploy`` take it) and ``run_id``, and the artifacts
    ``trained_model``, with the metadata ``mlflow_run_id``, and ``metrics``. The unnamed output of ``gate`` and ``judge`` is the decision, a
    member of ``trivet.model.operation.Decision``, that of ``deploy`` the InferenceService as JSON. The output ``report`` of these three is
    the JSON of the whole report; it is empty after a dry run.

    ``production_alias`` of ``gate``, ``deploy`` and ``judge`` is one alias of the registry's: that of the version that the candidate is
    compared with, and that the other two move.

    ``mlflow`` is the tracking server's address, by default that of ``MLFLOW_TRACKING_URI`` in the environment of the step.
    """

    train: Component
    gate: Component
    deploy: Component
    judge: Component


def components(image: str) -> Components:
    """The components that run in ``image``, a reference with the KFP SDK and trivet inside (docs/operations.md)."""

    @dsl.component(base_image=image, install_kfp_package=False)
    def trivet_train(
        function: str,
        dataset: dsl.Input[dsl.Dataset],
        experiment: str,
        registered_name: str,
        trained_model: dsl.Output[dsl.Model],
        metrics: dsl.Output[dsl.Metrics],
        parameters: dict = {},  # type: ignore[type-arg]  # noqa: B006
        pipeline: str = "",
        mlflow: str = "",
    ) -> NamedTuple("Outputs", [("model", str), ("run_id", str)]):
        """Call the training function MODULE:NAME with the path of the dataset, and log and register the model that it returns."""
        import math

        from trivet.operations.steps import train

        registered = train(
            function,
            dataset.path,
            mlflow=mlflow,
            experiment=experiment,
            registered_name=registered_name,
            parameters=parameters,
            pipeline=pipeline,
        )
        trained_model.uri = registered.model_uri
        trained_model.metadata["mlflow_run_id"] = registered.run_id
        for name, value in registered.metrics.items():
            if math.isfinite(value):
                metrics.log_metric(name, value)
        return (registered.model, registered.run_id)

    @dsl.component(base_image=image, install_kfp_package=False)
    def trivet_gate(
        model: str,
        metric: str,
        report: dsl.OutputPath(str),
        minimum: float = 0.80,
        tolerance: float = 0.02,
        production_alias: str = "production",
        mlflow: str = "",
    ) -> str:
        """PASSED when the metric of the version's run reaches the minimum and is not worse than in production, otherwise FAILED."""
        from trivet.operations.steps import gate

        return gate(
            model,
            mlflow=mlflow,
            metric=metric,
            minimum=minimum,
            tolerance=tolerance,
            production_alias=production_alias,
            report=report,
        )

    @dsl.component(base_image=image, install_kfp_package=False)
    def trivet_deploy(
        model: str,
        service: str,
        report: dsl.OutputPath(str),
        namespace: str = "default",
        pipeline: str = "",
        artifact_root: str = "",
        canary_percent: int = 20,
        mode: str = "Serverless",
        min_replicas: int = 2,
        cpu_target: int = 70,
        service_account: str = "",
        production_alias: str = "production",
        canary_alias: str = "canary",
        dry_run: bool = False,
        mlflow: str = "",
    ) -> str:
        """Serve the version, as a canary beside what serves now, and wait until it does; with dry_run only plan it."""
        from trivet.operations.steps import deploy

        return deploy(
            model,
            service,
            mlflow=mlflow,
            namespace=namespace,
            pipeline=pipeline,
            artifact_root=artifact_root,
            canary_percent=canary_percent,
            mode=mode,
            min_replicas=min_replicas,
            cpu_target=cpu_target,
            service_account=service_account,
            production_alias=production_alias,
            canary_alias=canary_alias,
            dry_run=dry_run,
            report=report,
        )

    @dsl.component(base_image=image, install_kfp_package=False)
    def trivet_judge(
        service: str,
        prometheus: str,
        report: dsl.OutputPath(str),
        namespace: str = "default",
        production_alias: str = "production",
        canary_alias: str = "canary",
        interval: float = 60.0,
        patience: float = 600.0,
        mlflow: str = "",
    ) -> str:
        """Judge the canary until it is decided, then promote it or roll it back."""
        from trivet.operations.steps import judge

        return judge(
            service,
            prometheus=prometheus,
            mlflow=mlflow,
            namespace=namespace,
            production_alias=production_alias,
            canary_alias=canary_alias,
            interval=interval,
            patience=patience,
            report=report,
        )

    return Components(
        train=_uncached(trivet_train),
        gate=_uncached(trivet_gate),
        deploy=_uncached(trivet_deploy),
        judge=_uncached(trivet_judge),
    )


def _uncached(component: Any) -> Component:
    @wraps(component.python_func)
    def task(**arguments: Any) -> dsl.PipelineTask:
        made = component(**arguments)
        # A step that the local runner ran at once takes no settings any more.
        return made if made.state is TaskState.FINAL else made.set_caching_options(False)

    return task
