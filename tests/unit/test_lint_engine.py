"""The result of lint: outcomes over all files, counts, errors and exit codes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from trivet.authoring.contracts import MUST, SHOULD, contract
from trivet.engine import lint as engine
from trivet.engine.lint import LintResult, lint
from trivet.engine.registry import Registry
from trivet.errors import CannotTell, UsageError
from trivet.host import process_pool
from trivet.model.contract import Check, Contract
from trivet.model.finding import Finding, failed, passed
from trivet.model.outcome import Level, Outcome
from trivet.model.platform_config import PlatformConfig, indexed
from trivet.model.stack import Stack
from trivet.model.subjects import CompiledPipeline, Manifest, ModelDirectory, Resource
from trivet.stacks.read import load_stack
from trivet.toolkit import subjects
from trivet.toolkit.remembered import remembered
from trivet.toolkit.walking import Found, PathPatterns, Place, TextStream

STACK = load_stack("2024.11")

NAMED = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: {}}}\n"


def rule(level: Level = MUST, **more: Any) -> Callable[[Check], Contract]:
    return contract(title="X must Y", level=level, seam=("kfp", "kserve"), rationale="because", remedy="do", **more)


@rule()
def is_good(manifest: Manifest) -> Iterator[Finding]:
    name = manifest.document["metadata"]["name"]
    where = manifest.at("metadata", "name")
    yield passed("good", location=where) if name == "good" else failed(f"{name} is not good", location=where)


@rule(SHOULD)
def is_best(manifest: Manifest, stack: Stack) -> Iterator[Finding]:
    yield failed(f"not the best on {stack.name}", location=manifest.at())


@rule()
def is_a_pipeline(compiled_pipeline: CompiledPipeline) -> Iterator[Finding]:
    yield passed("a pipeline")


def run(tmp_path: Path, *contracts: Contract, **files: str) -> LintResult:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return lint([tmp_path], contracts, STACK)


def test_a_failed_must_exits_1_with_file_and_line(tmp_path: Path) -> None:
    result = run(tmp_path, is_good, a=NAMED.format("good"), b=NAMED.format("bad"))
    (only,) = result.report.contracts
    assert (result.exit_code, only.outcome, only.reason) == (1, Outcome.FAILED, "bad is not good")
    assert str(only.findings[0].location) == f"{tmp_path / 'b.yaml'}:3 InferenceService/bad"
    assert only.findings[0].contract == only.id


def test_advice_alone_exits_0(tmp_path: Path) -> None:
    result = run(tmp_path, is_good, is_best, a=NAMED.format("good"))
    assert [each.outcome for each in result.report.contracts] == [Outcome.PASSED, Outcome.FAILED]
    assert result.exit_code == 0


def test_files_that_only_advice_concerns_exit_0_and_files_that_nothing_concerns_2(tmp_path: Path) -> None:
    assert run(tmp_path, is_best, a=NAMED.format("good")).exit_code == 0
    assert run(tmp_path, is_a_pipeline, a=NAMED.format("good")).exit_code == 2


def test_confirmations_are_counted_and_deviations_kept(tmp_path: Path) -> None:
    files = {f"f{number}": NAMED.format("good") for number in range(5)} | {"g": NAMED.format("bad")}
    (only,) = run(tmp_path, is_good, **files).report.contracts
    assert [finding.message for finding in only.findings] == ["bad is not good", "good (and 4 more)"]


def test_a_contract_without_a_document_of_its_kind_is_skipped(tmp_path: Path) -> None:
    result = run(tmp_path, is_good, is_a_pipeline, a=NAMED.format("good"))
    assert result.report.contracts[1].outcome is Outcome.SKIPPED
    assert result.report.contracts[1].reason == "no compiled pipeline among the files"
    assert result.exit_code == 0


def test_a_contract_outside_the_stacks_versions_is_skipped(tmp_path: Path) -> None:
    @rule(versions={"kserve": ">=99"})
    def is_of_the_future(manifest: Manifest) -> Iterator[Finding]:
        yield failed("never asked")

    result = run(tmp_path, is_good, is_of_the_future, a=NAMED.format("good"))
    assert result.report.contracts[1].reason == "applies to kserve>=99; the stack has 0.14.1"
    assert result.exit_code == 0


def test_a_wrong_address_is_a_failed_must_and_not_nothing_to_lint(tmp_path: Path) -> None:
    text = NAMED.format("good").replace("kserve.io", "kubeflow.org")
    result = run(tmp_path, Registry().contract("manifests.api_version_is_served"), a=text)
    (only,) = result.report.contracts
    assert (result.exit_code, only.outcome, result.errors) == (1, Outcome.FAILED, ())
    assert str(only.findings[0].location) == f"{tmp_path / 'a.yaml'}:1 InferenceService/good"


def test_nothing_to_lint_exits_2_and_says_what_was_seen(tmp_path: Path) -> None:
    result = run(tmp_path, is_good, a="kind: ConfigMap\n---\nkind: ConfigMap\n")
    assert result.exit_code == 2
    assert "seen were 2 ConfigMap" in str(result.errors[0])


def test_a_broken_manifest_exits_3_and_the_others_are_judged(tmp_path: Path) -> None:
    broken = NAMED.format("[")
    result = run(tmp_path, is_good, a=broken, b=NAMED.format("good"), c=broken)
    assert result.exit_code == 3
    assert [type(error) for error in result.errors] == [UsageError, UsageError]
    assert result.report.contracts[0].outcome is Outcome.PASSED
    assert result.counts == {"InferenceService": 1}


def test_a_failed_must_outranks_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    result = run(tmp_path, is_good, a=NAMED.format("["), b=NAMED.format("bad"))
    assert len(result.errors) == 1
    assert result.exit_code == 1


def test_what_cannot_be_read_and_is_no_manifest_is_skipped_with_a_count(tmp_path: Path) -> None:
    template = NAMED.format("{{ .Values.name }}")
    files = {"a": "a: [1\n", "b": NAMED.format("good"), "c": "{", "d": template, "e": "{% if x %}\na: b\n"}
    result = run(tmp_path, is_good, **files)
    assert result.exit_code == 0
    assert {reason: one.number for reason, one in result.skipped.items()} == {
        "file that is no YAML or JSON": 2,
        "template": 2,
    }
    assert result.skipped["template"].samples == (str(tmp_path / "d.yaml"), str(tmp_path / "e.yaml"))


def test_deviations_are_emitted_as_they_are_judged_in_the_order_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PIECE", 2)
    for number in range(5):
        (tmp_path / f"{number}.yaml").write_text(NAMED.format(f"n{number}"))
    emitted: list[list[str]] = []
    lint(
        [tmp_path],
        [is_good],
        STACK,
        emit=lambda deviations: emitted.append([finding.message for finding, _ in deviations]),
    )
    assert [one for one in emitted if one] == [
        ["n0 is not good"],
        ["n1 is not good", "n2 is not good"],
        ["n3 is not good", "n4 is not good"],
    ]


def test_a_stream_is_judged_like_a_file(tmp_path: Path) -> None:
    result = lint([TextStream("<stdin>", NAMED.format("bad").encode())], [is_good], STACK)
    assert result.exit_code == 1
    assert str(result.report.contracts[0].findings[0].location) == "<stdin>:3 InferenceService/bad"


def test_a_long_stream_ends_at_its_first_broken_document(tmp_path: Path) -> None:
    good = [f"---\n{NAMED.format('bad' if number % 500 == 100 else 'good')}" for number in range(2000)]
    good[1200] = "---\na: [\n"
    result = lint([TextStream("<stdin>", "".join(good).encode())], [is_good], STACK)
    (only,) = result.report.contracts
    failures = [str(one.location) for one in only.findings if one.outcome is Outcome.FAILED]
    assert failures == [f"<stdin>:{line} InferenceService/bad" for line in (404, 2404, 4404)]
    assert result.counts["InferenceService"] == 1200
    (error,) = result.errors
    assert str(error).startswith("<stdin>:4803:")


@pytest.mark.parametrize(
    "broken",
    ["", "a: [\n", "a: 'LONG\n", 'a: "LONG\n', "LONG\n", "# Source: chart/a.yaml\na: 1\n", "a: '{{ b }}'\n"],
)
def test_a_large_file_is_judged_in_parts_as_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    services = [f"---\n{NAMED.format('bad' if number % 500 == 100 else 'good')}" for number in range(2000)]
    services[1200] = "---\n" + broken.replace("LONG", "b " * 20_000)  # the last of its part
    (tmp_path / "a.yaml").write_text("".join(services))
    (tmp_path / "b.yaml").write_text(NAMED.format("bad"))
    stacks = [(PathPatterns(["a.yaml"], tmp_path), load_stack("current"))]

    def judged() -> tuple[object, ...]:
        result = lint([tmp_path], [is_good, is_best], STACK, stacks=stacks)
        findings = [one for each in result.report.contracts for one in each.findings]
        return findings, [str(one) for one in result.errors], result.counts, result.stacks, result.skipped

    whole = judged()
    read: list[object] = []

    def noted(place: Place) -> subjects.ReadResult:
        read.append(place)
        return subjects.read(place)

    monkeypatch.setattr(engine, "read", noted)
    monkeypatch.setattr(process_pool, "MAX_PROCESSES", 1)
    for module in (engine, subjects):
        monkeypatch.setattr(module, "MAX_OBJECT", 50_000)
    assert judged() == whole
    assert len(read) == 2 if "{{" in broken else len(read) > 3


def test_files_are_judged_by_the_stack_of_the_last_pattern_that_matches(tmp_path: Path) -> None:
    @rule(SHOULD)
    def names_its_stack(manifest: Manifest, stack: Stack) -> Iterator[Finding]:
        yield failed(f"{manifest.name} on {stack.name}")

    for name in ("old/a", "old/new", "b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(NAMED.format(Path(name).name))
    current = load_stack("current")
    stacks = [
        (PathPatterns(["old/"], tmp_path), load_stack("2024.11-fixed")),
        (PathPatterns(["new.yaml"], tmp_path), current),
    ]
    result = lint([tmp_path], [names_its_stack], STACK, stacks=stacks)
    assert [finding.message for finding in result.report.contracts[0].findings] == [
        "b on 2024.11",
        "a on 2024.11-fixed",
        "new on current",
    ]
    assert result.stacks == {"2024.11": 1, "2024.11-fixed": 1, "current": 1}
    assert [finding.stack for finding in result.report.contracts[0].findings] == list(result.stacks)
    assert [one.name for one in result.report.stacks] == list(result.stacks)


def test_of_several_stacks_each_finding_and_each_reason_names_its_own(tmp_path: Path) -> None:
    @rule(versions={"mlflow": ">=3"})
    def is_recent(manifest: Manifest) -> Iterator[Finding]:
        yield passed("recent")

    for name in ("old", "other"):
        (tmp_path / f"{name}.yaml").write_text(NAMED.format("good"))
    stacks = [(PathPatterns(["other.yaml"], tmp_path), load_stack("current"))]
    both, recent = lint([tmp_path], [is_good, is_recent], STACK, stacks=stacks).report.contracts
    assert [(one.outcome, one.message, one.stack) for one in both.findings] == [
        (Outcome.PASSED, "good", "2024.11"),
        (Outcome.PASSED, "good", "current"),
    ]
    assert [(one.outcome, one.message, one.stack) for one in recent.findings] == [
        (Outcome.PASSED, "recent", "current"),
        (Outcome.SKIPPED, "applies to mlflow>=3; the stack has 2.17.2", "2024.11"),
    ]
    (alone,) = lint([tmp_path], [is_good], STACK).report.contracts
    assert [one.stack for one in alone.findings] == [""]


def test_two_stacks_of_one_name_are_refused(tmp_path: Path) -> None:
    other = replace(STACK, digest="0", folder=tmp_path)
    with pytest.raises(UsageError, match=r"two stacks are called '2024\.11'"):
        lint([tmp_path], [is_good], STACK, stacks=[(PathPatterns(["a"], tmp_path), other)])


def test_a_pattern_for_directories_matches_a_model_directory(tmp_path: Path) -> None:
    @rule(SHOULD)
    def names_its_stack(model_directory: ModelDirectory, stack: Stack) -> Iterator[Finding]:
        yield failed(f"on {stack.name}")

    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "MLmodel").write_text("flavors: {}\n")
    stacks = [(PathPatterns(["old/"], tmp_path), load_stack("current"))]
    for path in (tmp_path, tmp_path / "old", tmp_path / "old" / "MLmodel"):
        assert lint([path], [names_its_stack], STACK, stacks=stacks).stacks == {"current": 1}


# files that are judged together


@rule()
def has_a_name(resource: Resource) -> Iterator[Finding]:
    yield passed("named", location=resource.at())


@pytest.mark.parametrize("together", [0, 1_000_000])
def test_what_is_judged_together_has_the_findings_that_it_has_by_itself(
    together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "AHEAD", together)
    emitted: list[str] = []
    for name, text in {
        "a": f"{SECRET.format('one')}---\n{NAMED.format('one')}---\n{NAMED.format('good')}",
        "b": f"{NAMED.format('two')}---\n{SECRET.format('two')}",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    result = lint(
        [tmp_path],
        [is_good, is_best, has_a_name],
        STACK,
        emit=lambda found: emitted.extend(f"{one.location} {one.message}" for one, _ in found),
    )
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    assert emitted == [
        f"{a}:7 InferenceService/one not the best on 2024.11",
        f"{a}:9 InferenceService/one one is not good",
        f"{a}:11 InferenceService/good not the best on 2024.11",
        f"{b}:1 InferenceService/two not the best on 2024.11",
        f"{b}:3 InferenceService/two two is not good",
    ]
    (named,) = result.report.contracts[2].findings
    assert (named.message, str(named.location)) == ("named (and 4 more)", f"{a}:1 Secret/one-secret")


def test_searches_for_cycles_are_rare_while_linting_and_as_frequent_afterwards_as_before(tmp_path: Path) -> None:
    before, during = gc.get_threshold(), []
    path = tmp_path / "bad.yaml"
    path.write_text(NAMED.format("bad"))
    lint([path], [is_good], STACK, emit=lambda found: during.append(gc.get_threshold()))
    assert during[-1] == (engine.NEW_OBJECTS, *before[1:])
    assert gc.get_threshold() == before


def test_linting_in_another_thread_leaves_the_searches_for_cycles_of_the_process(tmp_path: Path) -> None:
    before, during = gc.get_threshold(), []
    path = tmp_path / "bad.yaml"
    path.write_text(NAMED.format("bad"))

    def in_a_thread() -> None:
        lint([path], [is_good], STACK, emit=lambda found: during.append(gc.get_threshold()))

    thread = Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert set(during) == {before}


def test_what_contracts_ask_of_a_manifest_is_found_once_and_not_kept_when_its_batch_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "AHEAD", 1)
    monkeypatch.setattr(process_pool, "MAX_PROCESSES", 1)
    found: list[weakref.ref[Resource]] = []
    alive: list[int] = []

    @remembered
    def length(manifest: Manifest) -> int:
        alive.append(sum(one() is not None for one in found))
        found.append(weakref.ref(manifest))
        return len(manifest.name)

    def contract_of(identifier: str) -> Contract:
        def is_long(manifest: Manifest) -> Iterator[Finding]:
            yield passed("long") if length(manifest) > 1 else failed("short")

        return replace(is_good, id=identifier, check=is_long)

    for number in range(20):
        (tmp_path / f"{number:02}.yaml").write_text(NAMED.format(f"name-{number}"))
    lint([tmp_path], [contract_of("test.is_long"), contract_of("test.is_longer")], STACK)
    assert len(found) == 20
    assert max(alive) <= 1  # the one before, whose results are still being taken up
    assert [one() for one in found] == [None] * 20


def test_a_model_directory_is_judged_by_itself(tmp_path: Path) -> None:
    first, second, last = (Found(path=tmp_path / f"{name}.yaml") for name in "abc")
    model = Found(path=tmp_path / "model", model=True)
    assert list(engine._batches([first, second, model, last])) == [[first, second], [model], [last]]


# the platform and the objects beside a manifest


@rule()
def is_accompanied(manifest: Manifest, platform: PlatformConfig) -> Iterator[Finding]:
    secret = platform.find("Secret", f"{manifest.name}-secret")
    where = secret.at("data", "key") if secret else None
    yield passed("found", location=where) if secret else failed(f"no secret for {manifest.name}")


SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {{name: {}-secret}}\ndata:\n  key: a2V5\n"


def test_objects_in_the_same_paths_are_known_wherever_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PIECE", 1)
    first = f"# a comment\n---\n{NAMED.format('one')}--- # two\n{SECRET.format('one')}---\na: [1"
    listed = '{"kind": "List", "apiVersion": "v1", "items": [{"kind":"Secret","apiVersion":"v1","metadata":{"name":"two-secret"}}]}'
    result = run(tmp_path, is_accompanied, a=first, b=listed, c=NAMED.format("two"), d=NAMED.format("three"))
    assert [finding.message for finding in result.report.contracts[0].findings] == [
        "no secret for three",
        "found (and 1 more)",
    ]
    assert str(result.report.contracts[0].findings[1].location) == f"{tmp_path / 'a.yaml'}:7 Secret/one-secret"


def test_files_come_before_the_clusters_objects(tmp_path: Path) -> None:
    on_cluster = Resource(
        file="context prod",
        document={"kind": "Secret", "metadata": {"name": "one-secret"}},
        line=lambda keys: 1,
    )
    (tmp_path / "a.yaml").write_text(NAMED.format("one"))
    platform = PlatformConfig(resources=indexed([on_cluster]))
    for file in ("context prod:1", f"{tmp_path / 'b.yaml'}:1"):
        (finding,) = lint([tmp_path], [is_accompanied], STACK, platform).report.contracts[0].findings
        assert str(finding.location) == f"{file} Secret/one-secret"
        (tmp_path / "b.yaml").write_text(SECRET.format("one"))


@pytest.mark.parametrize(
    ("error", "outcome"), [(CannotTell("who knows"), Outcome.INCONCLUSIVE), (KeyError("oops"), Outcome.ERROR)]
)
def test_a_check_that_breaks_does_not_judge_the_file(tmp_path: Path, error: Exception, outcome: Outcome) -> None:
    @rule()
    def breaks(manifest: Manifest) -> Iterator[Finding]:
        raise error
        yield

    result = run(tmp_path, breaks, a=NAMED.format("good"))
    assert result.report.contracts[0].outcome is outcome
    assert result.report.contracts[0].findings[0].location is not None
    assert result.exit_code == 2


def test_a_check_that_observes_nothing_is_inconclusive(tmp_path: Path) -> None:
    @rule()
    def observes_nothing(manifest: Manifest) -> Iterator[Finding]:
        yield from ()

    result = run(tmp_path, observes_nothing, a=NAMED.format("good"))
    assert result.report.contracts[0].outcome is Outcome.INCONCLUSIVE


def test_contracts_that_are_not_static_are_left_out(tmp_path: Path) -> None:
    @rule()
    def needs_a_server(serving: object) -> Iterator[Finding]:
        yield passed("served")

    assert len(run(tmp_path, is_good, needs_a_server, a=NAMED.format("good")).report.contracts) == 1
    with pytest.raises(UsageError, match="none of the chosen contracts is static"):
        lint([tmp_path], [needs_a_server], STACK)


# what must not be flagged

SOUND_ELSEWHERE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: torch}
spec:
  predictor:
    pytorch: {storageUri: gs://models/torch/v1, resources: {limits: {cpu: 1, memory: 2Gi, nvidia.com/gpu: 1}}}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: llm}
spec:
  predictor:
    model:
      modelFormat: {name: huggingface}
      args: [--model_name=llm]
      storageUri: hf://example/llm
      resources: {requests: {cpu: 1, memory: 2Gi}}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: triton}
spec:
  predictor:
    triton: {storageUri: s3://models/triton, runtimeVersion: 23.05-py3, resources: {limits: {cpu: 1, memory: 2Gi}}}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: custom
  annotations: {serving.kserve.io/deploymentMode: RawDeployment, serving.kserve.io/autoscalerClass: hpa}
spec:
  predictor:
    scaleMetric: memory
    containers:
    - {name: kserve-container, image: example/custom:1, resources: {limits: {cpu: 1, memory: 2Gi}}}
  transformer:
    containers:
    - {name: kserve-container, image: example/transformer:1}
"""
LOGGED_BY_MLFLOW_3 = {
    "MLmodel": """\
artifact_path: s3://models/1/models/m-0123456789abcdef0123456789abcdef/artifacts
flavors:
  python_function:
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.pytorch
    python_version: 3.10.14
  pytorch: {code: null, model_data: data, pytorch_version: 2.9.0}
mlflow_version: 3.17.2
model_id: m-0123456789abcdef0123456789abcdef
model_uuid: m-0123456789abcdef0123456789abcdef
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
""",
    "requirements.txt": "mlflow==3.17.2\nnumpy==2.3.0\ntorch==2.9.0\n",
    "conda.yaml": "dependencies:\n- python=3.10.14\n- pip:\n  - mlflow==3.17.2\n",
    "python_env.yaml": "python: 3.10.14\n",
    "data/model.pth": "PK",
}


@pytest.mark.parametrize("stack", ["2024.11", "2024.11-fixed", "current"])
def test_no_must_is_held_against_other_formats_and_mlflow_3s_layout(tmp_path: Path, stack: str) -> None:
    (tmp_path / "services.yaml").write_text(SOUND_ELSEWHERE)
    (tmp_path / "m-0123" / "artifacts" / "data").mkdir(parents=True)
    for name, text in LOGGED_BY_MLFLOW_3.items():
        (tmp_path / "m-0123" / "artifacts" / name).write_text(text)
    result = lint([tmp_path], list(Registry().contracts.values()), load_stack(stack))
    findings = [
        (each.id, each.reason)
        for each in result.report.contracts
        if each.outcome not in (Outcome.PASSED, Outcome.SKIPPED)
    ]
    assert [each for each in findings if not each[0].startswith("environment.versions_are_the_same")] == []
    assert result.exit_code == 0
