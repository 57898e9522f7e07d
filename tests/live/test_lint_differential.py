"""``trivet lint`` against a real API server with KServe's and Knative's webhooks, on generated manifests: both say the same.

``differential.agreement`` defines what that means, and lists the differences that are meant to be. The layer ``cluster`` judges hundreds on
one stack, ``catalogue`` thousands on each of :data:`JUDGED`, whose clusters it brings up. More manifests, or one stack:
``TRIVET_DIFFERENTIAL_EXAMPLES=20000 TRIVET_DIFFERENTIAL_SEED=7 TRIVET_DIFFERENTIAL_STACK=current pytest --layer catalogue
tests/live/test_lint_differential.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from differential.agreement import MISSED, Comparison
from differential.children import Controller
from differential.creation import Created, no_pods_namespace
from differential.judges import ApiServer, Lint
from differential.mutations import manifests, text
from differential.sound import sound
from hypothesis import HealthCheck, Phase, given, seed, settings

from trivet.engine.lint_platform import of_cluster
from trivet.engine.registry import Registry
from trivet.model.contract import Contract
from trivet.model.stack import Stack
from trivet.provision.access import ClusterAccess
from trivet.provision.kind.up import ImageSource, up
from trivet.settings import load_settings
from trivet.stacks.read import load_stack

CHOSEN = os.environ.get("TRIVET_DIFFERENTIAL_STACK")
STACK = load_stack(CHOSEN or "2024.11-fixed")
JUDGED = (CHOSEN,) if CHOSEN else ("2024.11-fixed", "current")
"""Stacks of the layer ``catalogue``: the oldest and the newest KServe that the differential was written for."""
NAMESPACE = "default"
RUNTIME = "apis/serving.kserve.io/v1alpha1/clusterservingruntimes/kserve-mlserver"

FEW = 400
CREATED = int(os.environ.get("TRIVET_DIFFERENTIAL_CREATED", "25"))
MANY = int(os.environ.get("TRIVET_DIFFERENTIAL_EXAMPLES", "5000"))
SEED = int(os.environ.get("TRIVET_DIFFERENTIAL_SEED", "1"))


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Stack:
    return load_stack(getattr(request, "param", STACK.name))


@pytest.fixture(scope="module")
def access(stack: Stack) -> ClusterAccess:
    configured = load_settings(Path.cwd())
    return up(stack, lambda event: None, ImageSource(kind=configured.images, mirror=configured.mirror))


@pytest.fixture(scope="module")
def api_server(access: ClusterAccess) -> Iterator[ApiServer]:
    command = access.kubectl.argv("proxy", "--port=0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as proxy:
        assert proxy.stdout is not None
        try:
            match = re.search(r"127\.0\.0\.1:\d+", proxy.stdout.readline())
            assert match is not None
            yield ApiServer(f"http://{match[0]}", NAMESPACE)
        finally:
            proxy.terminate()


@pytest.fixture(scope="module")
def both(
    access: ClusterAccess, api_server: ApiServer, stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Comparison:
    return comparison(access, api_server, tmp_path_factory.mktemp("lint"), list(Registry().contracts.values()), stack)


def comparison(
    access: ClusterAccess, api_server: ApiServer, scratch: Path, contracts: Sequence[Contract], stack: Stack = STACK
) -> Comparison:
    """Both judges; lint knows the platform as ``trivet lint --context`` does."""
    platform = of_cluster(access.kubectl)
    # As if the cluster had every runtime of KServe's release, so that what is behind the choice of a runtime is compared of all formats.
    lint = Lint(scratch / "generated.yaml", contracts, stack, replace(platform, runtimes_are_known=False))
    return Comparison(api_server, lint, Controller(stack=stack, platform=platform, runtime=api_server.object(RUNTIME)))


class Disagreed(AssertionError):
    """A difference between the judges; one class per signature, so that Hypothesis shrinks and reports each of them."""


@cache
def _kind_of(signature: str) -> type[Disagreed]:
    return type("Disagreed", (Disagreed,), {"__doc__": signature})


def compare(both: Comparison, examples: int, number: int, *, shrink: bool = True) -> None:
    """Raises Disagreed, or a group of them, for ``examples`` manifests of the seed ``number``."""
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)

    @seed(number)
    @settings(
        max_examples=examples,
        phases=phases,
        database=None,
        deadline=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(manifests(both.controller.stack))
    def agree(document: dict[str, object]) -> None:
        found = both.disagreement(document)
        if found is not None:
            raise _kind_of(found.signature)(f"seed {number}: {found}")

    agree()


@pytest.mark.cluster
@pytest.mark.parametrize("document", sound(STACK), ids=lambda one: f"{one['kind']}-{sound(STACK).index(one)}")
def test_both_admit_the_manifests_that_generated_ones_are_made_of(document: dict[str, Any], both: Comparison) -> None:
    assert [str(one) for one in both.differences(document)] == []


@pytest.mark.cluster
def test_lint_says_what_the_api_server_says(both: Comparison) -> None:
    compare(both, FEW, 0)


@pytest.mark.cluster
def test_a_lint_without_a_contract_is_noticed(access: ClusterAccess, api_server: ApiServer, tmp_path: Path) -> None:
    contracts = [one for one in Registry().contracts.values() if one.id != "manifests.schema_is_met"]
    with pytest.raises(Disagreed, match=MISSED):
        compare(comparison(access, api_server, tmp_path, contracts), FEW, 0, shrink=False)


@pytest.mark.catalogue
@pytest.mark.parametrize("stack", JUDGED, indirect=True)
def test_lint_says_what_the_api_server_says_of_thousands(both: Comparison) -> None:
    compare(both, MANY, SEED)


@pytest.mark.catalogue
@pytest.mark.parametrize("stack", JUDGED, indirect=True)
def test_what_the_controller_refuses_is_foretold_by_the_dry_run_of_its_objects_or_by_lint(
    access: ClusterAccess, both: Comparison, tmp_path: Path
) -> None:
    created: list[Created] = []
    lint = Lint(
        tmp_path / "created.yaml",
        list(Registry().contracts.values()),
        both.controller.stack,
        of_cluster(access.kubectl),
    )
    with no_pods_namespace(access.kubectl, both.controller) as namespace:
        for document in admitted_services(both, lint, CREATED, SEED):
            created.append(
                Created(
                    manifest=text(document),
                    refusal=namespace.refused(text(document)),
                    foretold=foretold(both, document),
                    lint=lint.judge(text(document)),
                )
            )
    if record := os.environ.get("TRIVET_DIFFERENTIAL_RECORD"):
        Path(record).write_text("\n".join(map(str, created)), encoding="utf-8")
    wrong = [str(one) for one in created if one.problem]
    assert not wrong, "\n\n".join(wrong)


def foretold(both: Comparison, document: dict[str, Any]) -> tuple[str, ...]:
    """Why the objects of an admitted service are rejected; the controller does not see what is only dropped."""
    return tuple(verdict.error for *_, verdict in both.rejected_children(both.admission(document)) if verdict.error)


RUNTIME_IS_MISSING, OBJECT_IS_REJECTED, SOUND = "no runtime", "an object is rejected", "sound"


def admitted_services(both: Comparison, lint: Lint, number: int, seed_: int) -> list[dict[str, Any]]:
    """Generated InferenceServices that the API server admits, each once: a third without a runtime, and a third with an object that it
    rejects."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}

    @seed(seed_)
    @settings(
        max_examples=40 * number,
        phases=(Phase.generate,),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(manifests(both.controller.stack))
    def collect(document: dict[str, Any]) -> None:
        written = text(document)
        if document.get("kind") != "InferenceService" or written in found or both.admission(document).rejects:
            return
        if lint.judge(written).of({"validation.runtime_serves_the_model": ""}).rejects:
            kind = RUNTIME_IS_MISSING
        else:
            kind = OBJECT_IS_REJECTED if foretold(both, document) else SOUND
        wanted = sum(each == kind for each, _ in found.values()) < number // 3
        if wanted and document["metadata"].get("namespace") is None:
            found[written] = kind, document

    collect()
    return [document for _, document in found.values()]
