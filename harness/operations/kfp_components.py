"""KFP components that gate, deploy and judge, for the pipelines of a platform: ``components(image)``, with the image of docs/operations.md.

They need the KFP SDK (``kfp>=2``) where the pipeline is compiled, and nothing but the image where it runs. A step fails with the exit code
of its command, except that a gate that does not pass and a canary that is rolled back or undecided are outputs, for conditions such as
``dsl.If(gated.outputs["decision"] == "PASSED")``.
"""
# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator, valid-type, misc, no-any-unimported"
# KFP reads annotations as objects, so there is no `from __future__ import annotations`.

from dataclasses import dataclass
from typing import Any

from kfp import dsl


@dataclass(frozen=True, kw_only=True)
class Components:
    """The components. Switch caching off for each task: what is in production changes while the inputs of a step stay the same.

    ``gate`` and ``judge`` have the output parameter ``decision``, a member of ``trivet.model.operation.Decision``, and all have ``report``,
    the JSON of the whole report.
    """

    gate: Any
    deploy: Any
    judge: Any


def components(image: str) -> Components:
    """The components that run in ``image``, a reference with trivet and the extra ``operations`` inside."""

    @dsl.container_component
    def trivet_gate(  # type: ignore[no-untyped-def]
        model: str,
        metric: str,
        mlflow: str,
        decision: dsl.OutputPath(str),
        report: dsl.OutputPath(str),
        minimum: float = 0.80,
        tolerance: float = 0.02,
        production_alias: str = "production",
    ):
        return dsl.ContainerSpec(
            image=image,
            command=["trivet", "gate"],
            args=[
                *(model, "--metric", metric, "--mlflow", mlflow, "--minimum", minimum, "--tolerance", tolerance),
                *(
                    "--production-alias",
                    production_alias,
                    "--decision-file",
                    decision,
                    "--output",
                    report,
                    "--exit-zero",
                ),
            ],
        )

    @dsl.container_component
    def trivet_deploy(  # type: ignore[no-untyped-def]
        model: str,
        service: str,
        mlflow: str,
        report: dsl.OutputPath(str),
        namespace: str = "default",
        pipeline: str = "",
        artifact_root: str = "",
        canary_percent: int = 20,
        mode: str = "Serverless",
        min_replicas: int = 2,
        cpu_target: int = 70,
        service_account: str = "",
    ):
        return dsl.ContainerSpec(
            image=image,
            command=["trivet", "deploy"],
            args=[
                *(model, service, "--namespace", namespace, "--mlflow", mlflow, "--artifact-root", artifact_root),
                *("--pipeline", pipeline, "--canary-percent", canary_percent, "--mode", mode),
                *("--min-replicas", min_replicas, "--cpu-target", cpu_target, "--service-account", service_account),
                *("--output", report),
            ],
        )

    @dsl.container_component
    def trivet_judge(  # type: ignore[no-untyped-def]
        service: str,
        prometheus: str,
        mlflow: str,
        decision: dsl.OutputPath(str),
        report: dsl.OutputPath(str),
        namespace: str = "default",
        interval: float = 60.0,
        patience: float = 600.0,
    ):
        return dsl.ContainerSpec(
            image=image,
            command=["trivet", "canary", "judge"],
            args=[
                *(service, "--namespace", namespace, "--prometheus", prometheus, "--mlflow", mlflow),
                *("--interval", interval, "--patience", patience),
                *("--decision-file", decision, "--output", report, "--exit-zero"),
            ],
        )

    return Components(gate=trivet_gate, deploy=trivet_deploy, judge=trivet_judge)
