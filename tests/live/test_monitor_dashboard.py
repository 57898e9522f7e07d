"""The dashboard of ``trivet monitor render`` against Grafana's own schema, by Grafana's Foundation SDK (Go)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trivet.operations.monitor.files import monitoring_files
from trivet.operations.monitor.platform import MonitoredPlatform
from trivet.provision.images.build import build_program
from trivet.provision.images.recipes import GoLayer

pytestmark = pytest.mark.catalogue

PLATFORM = MonitoredPlatform(stack="s", metrics_port=8082, metrics_path="/metrics", gpu="dcgm-exporter.gpu.svc:9400")


@pytest.fixture(scope="module")
def checker() -> Path:
    layer = GoLayer(
        name="grafana",
        folder=Path(__file__).parent / "grafana",
        programs={"trivet.dev/tests/grafana": "/usr/local/bin/grafana-schema"},
    )
    return build_program(layer)


def errors(checker: Path, dashboard: Mapping[str, Any], folder: Path) -> str:
    file = folder / "dashboard.json"
    file.write_text(json.dumps(dashboard), encoding="utf-8")
    done = subprocess.run([checker, file], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_the_dashboard_has_grafana_s_schema_and_a_wrong_field_has_not(checker: Path, tmp_path: Path) -> None:
    for platform in (PLATFORM, replace(PLATFORM, gpu="")):
        dashboard = json.loads(monitoring_files(platform)["grafana/dashboard.json"])
        assert errors(checker, dashboard, tmp_path) == ""
    dashboard["panels"][1]["targets"][0]["expression"] = "up"
    assert "expression" in errors(checker, dashboard, tmp_path)
