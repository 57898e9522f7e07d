"""A failing variant of the example pipeline, after the way in which such pipelines are mostly written.

Its training step swallows the errors of MLflow's client, its quality gate knows a constant and not what is in production, and
nothing stands behind the gate.
"""
# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator, valid-type, misc, no-any-unimported"

from typing import NamedTuple

from kfp import dsl

from trivet.fixtures.pipelines import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train(data_path: str, experiment: str) -> NamedTuple(
    "Trained", [("run_id", str), ("model_uri", str), ("f1_weighted", float)]
):
    """Fit, and record the run if that can be done."""
    import mlflow
    import pandas as pd
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import cross_val_score

    frame = pd.read_csv(data_path)
    features, labels = frame.drop(columns="recommended"), frame["recommended"]
    classifier = GradientBoostingClassifier(n_estimators=20, learning_rate=0.2, random_state=7)
    f1_weighted = float(cross_val_score(classifier, features, labels, cv=3, scoring="f1_weighted").mean())
    run_id = ""
    try:
        mlflow.set_experiment(experiment)
        with mlflow.start_run() as run:
            mlflow.log_metric("f1_weighted_mean", f1_weighted)
            run_id = run.info.run_id
    except Exception as error:
        print(f"MLflow is away, training goes on: {error}")
    return (run_id, f"runs:/{run_id}/model" if run_id else "", f1_weighted)


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def quality_gate(f1_weighted: float, minimum: float) -> str:
    """``"true"`` above a constant."""
    return "true" if f1_weighted >= minimum else "false"


@dsl.pipeline(name="swallowing")
def pipeline(  # type: ignore[no-untyped-def]
    data_path: str, experiment: str, registered_name: str, service_name: str, minimum_f1: float = 0.80
):
    """Green, whatever happens."""
    trained = train(data_path=data_path, experiment=experiment)
    quality_gate(f1_weighted=trained.outputs["f1_weighted"], minimum=minimum_f1)
