"""Charts and kustomizations are rendered by the user's own programs, and findings name the template."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from trivet.authoring.contracts import MUST, contract
from trivet.engine.lint import lint
from trivet.errors import PlatformError, UsageError
from trivet.host import renderers
from trivet.host.renderers import helm_template, kustomize_build
from trivet.model.finding import Finding, failed
from trivet.model.subjects import Manifest
from trivet.stacks.read import load_stack
from trivet.toolkit.walking import TextStream

SERVICE = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: one}\n"


@contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do")
def fails(manifest: Manifest) -> Iterator[Finding]:
    yield failed("no", location=manifest.at("metadata"))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory of programs on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_findings_in_a_rendered_stream_name_the_template() -> None:
    text = f"---\n# Source: churn/templates/a.yaml\n{SERVICE}---\n# Source: churn/templates/b.yaml\n{SERVICE}"
    stream = TextStream("<helm churn>", f"{SERVICE}{text}".encode())
    (only,) = lint([stream], [fails], load_stack("current")).report.contracts
    assert [(finding.message, str(finding.location)) for finding in only.findings] == [
        ("no", "<helm churn>:3 InferenceService/one"),
        ("no (rendered from churn/templates/a.yaml)", "<helm churn>:8 InferenceService/one"),
        ("no (rendered from churn/templates/b.yaml)", "<helm churn>:13 InferenceService/one"),
    ]


@pytest.mark.processes
def test_helm_and_kustomize_are_called_with_the_path(programs: Path, tmp_path: Path) -> None:
    install(programs, "helm", 'echo "helm $@"')
    install(programs, "kubectl", 'echo "kubectl $@"')
    assert helm_template(tmp_path) == f"helm template {tmp_path}\n".encode()
    assert kustomize_build(tmp_path) == f"kubectl kustomize {tmp_path}\n".encode()
    install(programs, "kustomize", 'echo "kustomize $@"')
    assert kustomize_build(tmp_path) == f"kustomize build {tmp_path}\n".encode()


@pytest.mark.usefixtures("programs")
def test_a_program_that_is_not_there_is_named_with_another_way(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="there is no helm on this machine to render chart") as caught:
        helm_template(Path("chart"))
    assert "`trivet lint -`" in caught.value.remedy
    with pytest.raises(PlatformError, match="there is neither kustomize nor kubectl on this machine"):
        kustomize_build(tmp_path)


@pytest.mark.processes
def test_what_cannot_be_rendered_is_an_error_with_the_programs_words(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(programs, "helm", "echo 'Chart.yaml file is missing' >&2; exit 1")
    with pytest.raises(UsageError, match=r"failed: Chart.yaml file is missing"):
        helm_template(tmp_path)
    with pytest.raises(UsageError, match="it does not exist"):
        helm_template(tmp_path / "absent")
    install(programs, "helm", "exec /bin/sleep 30")
    monkeypatch.setattr(renderers, "TIMEOUT", 0.2)
    with pytest.raises(PlatformError, match=r"timed out after 0.2 s"):
        helm_template(tmp_path)


@pytest.mark.processes
@pytest.mark.skipif(not shutil.which("kubectl"), reason="there is no kubectl on this machine")
def test_kubectl_builds_a_kustomization(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SERVICE)
    (tmp_path / "kustomization.yaml").write_text("resources: [base.yaml]\nnamePrefix: prod-\n")
    (only,) = lint(
        [TextStream("<kustomize>", kustomize_build(tmp_path))], [fails], load_stack("current")
    ).report.contracts
    assert str(only.findings[0].location) == "<kustomize>:3 InferenceService/prod-one"
