"""The example in docs/integration.md, run as it stands in a trainer's environment against a real tracking server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from integration_servers import in_trainer, tracking_server

from trivet.stacks.read import load_stack

pytestmark = pytest.mark.processes

PAGE = Path(__file__).parents[2] / "docs" / "integration.md"


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxied"])
@pytest.mark.parametrize("name", ["2024.11-fixed", "current"])
def test_the_documented_example_runs_as_it_stands(name: str, proxied: bool, tmp_path: Path) -> None:
    stack = load_stack(name)
    program = "\n".join(
        re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    )
    store = f"{tmp_path}/store"
    options = (
        ["--artifacts-destination", store] if proxied else ["--no-serve-artifacts", "--default-artifact-root", store]
    )

    with tracking_server(stack, tmp_path / "server", *options) as uri:
        printed = in_trainer(
            stack, program, tmp_path, MLFLOW_TRACKING_URI=uri, **({"ARTIFACT_ROOT": store} if proxied else {})
        )

    (storage_uri,) = re.findall(r"^file://.*/$", printed, re.MULTILINE)
    assert Path(storage_uri.removeprefix("file://"), "MLmodel").is_file()
    assert "no version in production" in printed
    assert "is deleted" in printed
    assert "80 of 1600 requests to the canary failed" in printed
    assert "PROMOTE after about 85 minutes" in printed.splitlines()[-1]
