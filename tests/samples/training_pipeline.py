"""A pipeline of trivet's components: train, gate, and plan the deployment of what passes."""
# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator, valid-type, misc, no-any-unimported"
# KFP reads annotations as objects, so there is no `from __future__ import annotations`.

import os
from collections.abc import Mapping
from typing import Any

from kfp import dsl

from trivet.operations.kfp_components import components

IMAGE = os.environ["IMAGE"]
steps = components(IMAGE)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prepare(dataset: dsl.Output[dsl.Dataset]):  # type: ignore[no-untyped-def]
    import random
    from pathlib import Path

    numbers = random.Random(7)
    with Path(dataset.path).open("w", encoding="utf-8") as file:
        file.write("age,visits,recommended\n")
        for _ in range(200):
            age, visits = numbers.uniform(18, 80), numbers.uniform(0, 20)
            file.write(f"{age},{visits},{int(age + 4 * visits > 90)}\n")


@dsl.pipeline(name="acme-deployment")
def deployment(model: str):  # type: ignore[no-untyped-def]
    """What follows the gate, for local runners without conditions."""
    steps.deploy(model=model, service="acme", namespace="ml", pipeline="acme-training", dry_run=True)


@dsl.pipeline(name="acme-canary")
def canary(model: str):  # type: ignore[no-untyped-def]
    """A deployment that the judge decides on, with aliases of the registry's own."""
    deployed = steps.deploy(
        model=model, service="acme", namespace="ml", production_alias="champion", canary_alias="challenger"
    )
    judged = steps.judge(
        service="acme",
        namespace="ml",
        prometheus="http://prometheus.monitoring:9090",
        production_alias="champion",
        canary_alias="challenger",
    )
    judged.after(deployed)


@dsl.pipeline(name="acme-training")
def pipeline(registered_name: str, parameters: dict = {}, minimum: float = 0.8, function: str = "acme_training:train"):  # type: ignore[no-untyped-def, type-arg]  # noqa: B006
    prepared = prepare()
    trained = steps.train(
        function=function,
        dataset=prepared.outputs["dataset"],
        parameters=parameters,
        experiment="acme",
        registered_name=registered_name,
        pipeline="acme-training",
    )
    gated = steps.gate(model=trained.outputs["model"], metric="f1_weighted_mean", minimum=minimum)
    with dsl.If(gated.outputs["Output"] == "PASSED", name="passed"):
        steps.deploy(
            model=trained.outputs["model"], service="acme", namespace="ml", pipeline="acme-training", dry_run=True
        )


def branch_arguments(arguments: Mapping[str, Any], outputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The arguments of ``deployment`` after a run of ``pipeline`` up to its condition; None when the gate did not pass."""
    if outputs["trivet-gate"]["Output"] != "PASSED":
        return None
    return {"model": outputs["trivet-train"]["model"]}
