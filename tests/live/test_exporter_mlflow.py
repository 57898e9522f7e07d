"""The exporter on real tracking servers of MLflow 2 and 3: what it exports of models and runs, and that nothing is left when they go."""

from __future__ import annotations

from pathlib import Path

import pytest
from integration_servers import in_trainer, tracking_server

from trivet.integration import TrackingApi
from trivet.operations.exporter import REJECTED_TAG, Exporter, RegistrySource, exposition
from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

REGISTER = """
import mlflow

client = mlflow.MlflowClient()
mlflow.set_experiment("training")
client.create_registered_model("rec")
for f1 in (0.91, 0.5, 0.86, 0.88, 0.89):
    with mlflow.start_run() as run:
        mlflow.log_metric("f1_weighted", f1)
    client.create_model_version("rec", source=run.info.artifact_uri, run_id=run.info.run_id)
with mlflow.start_run():
    pass
client.set_registered_model_alias("rec", "production", "3")
client.set_registered_model_alias("rec", "canary", "4")
client.set_model_version_tag("rec", "3", "trivet.dev/service/models/recommender", "s3://store/rec")
client.set_model_version_tag("rec", "2", "REJECTED", "below the gate")
client.set_model_version_tag("rec", "4", "REJECTED", "rolled back")
client.create_registered_model("idle")
"""


@pytest.mark.parametrize("name", ["current", "2024.11-fixed"])
def test_models_and_runs_of_a_real_registry_are_exported_and_nothing_when_it_is_gone(name: str, tmp_path: Path) -> None:
    stack = load_stack(name)
    with tracking_server(stack, tmp_path / "server") as uri:
        in_trainer(stack, REGISTER.replace("REJECTED", REJECTED_TAG), tmp_path, MLFLOW_TRACKING_URI=uri)
        source = RegistrySource(
            tracking=TrackingApi(uri, timeout=5, retries=0), metrics=["f1_weighted"], experiments=["training"]
        )
        exporter = Exporter(sources=[source])
        assert exporter.refresh(source) == ""
        lines = exposition(exporter).splitlines()
    assert 'trivet_exporter_up{source="mlflow"} 1.0' in lines
    assert 'trivet_model_production_version{model="rec"} 3.0' in lines
    assert 'trivet_model_alias_version{alias="canary",model="rec"} 4.0' in lines
    assert 'trivet_model_production_metric{metric="f1_weighted",model="rec"} 0.86' in lines
    assert 'trivet_model_previous_metric{metric="f1_weighted",model="rec"} 0.91' in lines
    assert 'trivet_model_versions_pending{model="rec"} 1.0' in lines
    assert 'trivet_model_production_service{inferenceservice="recommender",model="rec",namespace="models"} 1.0' in lines
    assert 'trivet_tracking_runs{experiment="training",status="FINISHED"} 6.0' in lines
    assert not any("idle" in line for line in lines)
    assert "Connection refused" in exporter.refresh(source) or "connection refused" in exporter.refresh(source)
    values = [line for line in exposition(exporter).splitlines() if not line.startswith("#")]
    assert [line.partition("{")[0] for line in values] == [
        "trivet_exporter_up",
        "trivet_exporter_last_success_timestamp_seconds",
    ]
    assert values[0].endswith(" 0.0")
