"""Stacks of which not everything is known: what ``[unknown]`` in stack.toml says, and what contracts make of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from commandline import call
from contract_examples.static import contract, findings, model_findings

from trivet.engine.lint import lint
from trivet.engine.run import outside_versions, unknown_version
from trivet.errors import CannotTell, UsageError
from trivet.model.outcome import Outcome
from trivet.stacks.composed import compose
from trivet.stacks.lock import lock_stack
from trivet.stacks.parts import part_digest
from trivet.stacks.read import load_stack, stack_folder

MODEL = {
    "MLmodel": "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n  sklearn:\n    pickled_model: model.pkl\n"
    "    sklearn_version: 1.4.1\n    serialization_format: cloudpickle\n",
    "requirements.txt": "scikit-learn==1.4.1\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a shipped stack, of which something is made unknown."""
    return Path(shutil.copytree(stack_folder("2024.11"), tmp_path / "mine"))


def without(folder: Path, pattern: str, unknown: str) -> None:
    """Take what ``pattern`` matches out of stack.toml, and add the table ``unknown``."""
    file = folder / "stack.toml"
    text, count = re.subn(pattern, "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count
    file.write_text(f"{text}\n{unknown}\n", encoding="utf-8")


def test_an_unknown_version_is_asked_for_in_vain_and_not_listed(folder: Path) -> None:
    without(folder, r"^mlflow = .*\n", '[unknown.components]\nmlflow = "no Service of it was found"')
    stack = load_stack(str(folder))
    assert "mlflow" not in {*stack.components}
    with pytest.raises(CannotTell, match="the version of mlflow is unknown: no Service of it was found"):
        stack.components["mlflow"]
    with pytest.raises(CannotTell, match="the version of mlflow is unknown"):
        stack.components.get("mlflow")
    assert stack.components.get("store") is None, "what is absent is not unknown"
    assert [stack.version(one) for one in ("mlflow", "store", "kfp")] == ["(unknown)", "(none named)", "2.9.0"]


def test_a_contract_for_certain_versions_is_inconclusive_and_not_skipped_under_an_unknown_one(folder: Path) -> None:
    without(folder, r"^mlflow = .*\n", '[unknown.components]\nmlflow = "forbidden"')
    stack, judged = load_stack(str(folder)), contract("environment.requirements_are_pinned")
    assert not outside_versions(judged, stack)
    assert "the version of mlflow is unknown: forbidden" in unknown_version(judged, stack)
    (folder.parent / "model").mkdir()
    (folder.parent / "model" / "MLmodel").write_text(MODEL["MLmodel"], encoding="utf-8")
    (result,) = lint([folder.parent / "model"], [judged], stack).report.contracts
    assert (result.outcome, result.reason) == (
        Outcome.INCONCLUSIVE,
        "the version of mlflow is unknown: forbidden",
    )


def test_contracts_that_need_the_packages_of_an_unknown_runtime_are_inconclusive(folder: Path) -> None:
    (folder / "runtime.lock").unlink()
    without(folder, r"\A", '[unknown.roles]\nruntime = "no stack has the image own:1"')
    stack = load_stack(str(folder))
    assert "runtime" not in {*stack.roles}
    with pytest.raises(
        CannotTell, match="the environment of the role runtime is unknown: no stack has the image own:1"
    ):
        model_findings("environment.serialization_is_readable", MODEL, stack)
    assert model_findings("environment.requirements_are_pinned", MODEL, stack)[0].outcome is Outcome.PASSED


def test_a_role_that_was_unknown_is_known_once_it_is_locked(folder: Path) -> None:
    without(folder, r"\A", '[unknown.roles]\ntracking = "not read"')
    assert load_stack(str(folder)).roles["tracking"].pins["mlflow"] == "2.17.2"


SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: classifier}
spec: {predictor: {model: {modelFormat: {name: mlflow}, storageUri: "s3://models/1/"}}}
"""


def test_what_serving_does_not_know_stops_only_contracts_that_need_it(folder: Path) -> None:
    without(folder, r"^deployment_modes = .*\n", '[unknown.serving]\ndeployment_modes = "another KServe"')
    stack = load_stack(str(folder))
    with pytest.raises(CannotTell, match=r"`serving.deployment_modes` of the stack is unknown: another KServe"):
        findings(
            "manifests.deployment_mode_is_supported",
            SERVICE.replace("classifier}", "classifier, annotations: {serving.kserve.io/deploymentMode: Serverless}}"),
            stack,
        )
    assert all(one.outcome is Outcome.PASSED for one in findings("paths.storage_uri_is_fetchable", SERVICE, stack))


def test_contracts_over_the_api_are_inconclusive_without_its_schemas(folder: Path) -> None:
    (folder / "api_schemas.json").unlink()
    without(folder, r"\A", '[unknown]\napi_schemas = "may not read CustomResourceDefinitions"')
    with pytest.raises(
        CannotTell, match=r"the schemas of KServe's API are unknown: stack mine has no api_schemas\.json"
    ):
        findings("manifests.fields_are_known", SERVICE, load_stack(str(folder)))


def test_what_is_unknown_has_a_digest_that_follows_what_is_known(folder: Path) -> None:
    parts = ("components.mlflow", "roles.runtime", "settings.serving", "api_schemas")
    known = {part_digest(load_stack(str(folder)), part) for part in parts}
    (folder / "runtime.lock").unlink()
    (folder / "api_schemas.json").unlink()
    without(
        folder,
        r"^(mlflow|deployment_modes) = .*\n",
        '[unknown]\napi_schemas = "x"\n[unknown.components]\nmlflow = "x"\n[unknown.roles]\nruntime = "x"\n'
        '[unknown.serving]\ndeployment_modes = "x"',
    )
    stack = load_stack(str(folder))
    digests = [part_digest(stack, part) for part in parts]
    assert not {*digests} & known
    text = (folder / "stack.toml").read_text(encoding="utf-8")
    (folder / "stack.toml").write_text(text.replace("http_port = 8080", "http_port = 8081"), encoding="utf-8")
    changed = [part_digest(load_stack(str(folder)), part) for part in parts]
    assert [one == other for one, other in zip(digests, changed, strict=True)] == [True, True, False, True]


@pytest.mark.parametrize(
    ("unknown", "words"),
    [
        ('[unknown.components]\nmlfow = "x"', "`unknown.components.mlfow` is unknown (did you mean `mlflow`?)"),
        ("[unknown]\nroles = 3", "`unknown.roles` is 3, expected a table"),
        ('[unknown.components]\nmlflow = ""', "`unknown.components.mlflow` is '', expected the reason"),
    ],
)
def test_a_table_of_unknown_values_is_checked(folder: Path, unknown: str, words: str) -> None:
    without(folder, r"\A", unknown)
    with pytest.raises(UsageError) as error:
        load_stack(str(folder))
    assert words in str(error.value)


def test_what_is_neither_known_nor_said_to_be_unknown_is_missing(folder: Path) -> None:
    without(folder, r"^(mlflow|kserve) = .*\n", '[unknown.components]\nmlflow = "x"')
    with pytest.raises(UsageError, match=r"`components.kserve` is missing"):
        load_stack(str(folder))


def test_a_role_that_requires_nothing_is_not_locked(folder: Path) -> None:
    without(folder, r'^requires = \[\n    "mlflow==2.17.2",\n    "psycopg[^]]*\]', "")
    text = (folder / "stack.toml").read_text(encoding="utf-8")
    (folder / "stack.toml").write_text(
        text.replace("[roles.tracking]\n", "[roles.tracking]\nrequires = []\n"), encoding="utf-8"
    )
    with pytest.raises(UsageError, match="the tracking of stack mine requires nothing"):
        lock_stack(folder, roles=["tracking"])


def test_what_is_unknown_stays_unknown_in_a_composed_stack_unless_a_lock_has_it(folder: Path) -> None:
    unknown = '[unknown.roles]\nruntime = "no stack has the image own:1"\n[unknown.components]\nkfp = "no pod shows it"'
    without(folder, r"\A|^kfp = .*\n", unknown)
    (folder / "runtime.lock").unlink()
    stack = compose(load_stack(str(folder)), {"tracking": "current"})
    assert stack.components["mlflow"] == load_stack("current").components["mlflow"]
    assert stack.components["kfp"] == "2.9.0", "the lock of the trainer has it"
    with pytest.raises(CannotTell, match="the environment of the role runtime is unknown"):
        stack.roles["runtime"]
    known = compose(stack, {"runtime": "current", "kserve": "current"})
    assert known.roles["runtime"].pins["mlserver"] == known.components["runtime"]
    assert known.components["kserve"] == load_stack("current").components["kserve"]


def test_an_upgrade_from_a_stack_with_an_unknown_role_says_what_settles_it(folder: Path, tmp_path: Path) -> None:
    without(folder, r"\A", '[unknown.roles]\nruntime = "no stack has the image own:1"')
    (folder / "runtime.lock").unlink()
    done = call("verdict", "--from", folder, "--to", "current", "--results", tmp_path / "results", "--dry-run")
    assert done.code == 2
    assert f"lock it: trivet stack lock {folder} --role runtime" in done.err
