"""What refuses scenarios before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fakes.scenario_session import FakeFaultClient, FakeSession, FakeTarget
from fakes.target import STACK

from trivet.authoring.scenarios import scenario, unprotected
from trivet.engine.registry import Registry
from trivet.engine.scenarios.choose import choose
from trivet.engine.scenarios.guards import check_target
from trivet.engine.scenarios.play import run
from trivet.errors import UsageError
from trivet.model.fault import PIPELINES, PLATFORM, SERVING, AffectedObject, Verb
from trivet.model.scenario import Case, Scenario

OWN = AffectedObject(verb=Verb.CREATE, kind="Pod", name="x", namespace=SERVING)


def harmless(*affected_objects: AffectedObject) -> Scenario:
    @scenario(
        title="t",
        happens="h",
        recognise="r",
        remedy="m",
        variants=[unprotected("bare", "as it is"), unprotected("worn", "as it was")],
        affected_objects=affected_objects or (OWN,),
    )
    def incident() -> Iterator[Case]:
        raise AssertionError("a guard lets nothing through")
        yield

    return incident


def refused(one: Scenario, faults: FakeFaultClient, target: str = "kind", **options: object) -> str:
    fake = FakeTarget(FakeSession(faults=faults), target)
    with pytest.raises(UsageError) as caught:
        run([(one, one.variants)], target=fake, stack=STACK, emit=lambda event: None, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 3
    assert not faults.taken
    assert not faults.leased
    assert fake.started is (target == "kind" or bool(options.get("context")))
    return str(caught.value)


def test_a_cluster_that_is_not_ours_needs_the_word_and_the_context() -> None:
    assert "--allow-faults" in refused(harmless(), FakeFaultClient(owned=False), "existing")
    assert "no context is named" in refused(harmless(), FakeFaultClient(owned=False), "existing", allow_faults=True)


def test_a_target_declares_that_its_cluster_is_trivets_own() -> None:
    target = FakeTarget(FakeSession(), "acme")
    with pytest.raises(UsageError, match="the target 'acme' is not a cluster of trivet's own"):
        check_target(target, allow_faults=False, context="")
    target.owns_cluster = True
    check_target(target, allow_faults=False, context="")
    own = {name: getattr(one, "owns_cluster", False) for name, one in Registry().targets.items()}
    assert own == {"local": False, "kind": True, "existing": False}


def test_a_cluster_that_turns_out_not_to_be_ours_needs_the_word() -> None:
    assert "is not trivet's own" in refused(harmless(), FakeFaultClient(owned=False))


def test_the_shared_services_of_a_cluster_that_is_not_ours_are_never_changed() -> None:
    platform = AffectedObject(verb=Verb.PATCH, kind="Deployment", name="mlflow", namespace=PLATFORM)
    message = refused(harmless(platform), FakeFaultClient(owned=False), "existing", allow_faults=True, context="theirs")
    assert "the shared services" in message


def test_a_namespace_that_the_cluster_has_no_role_for_is_never_changed() -> None:
    faults = FakeFaultClient()
    faults.namespaces = {PIPELINES: "p"}
    assert "the role 'serving'" in refused(harmless(OWN), faults)


def test_too_many_objects_are_refused() -> None:
    many = AffectedObject(verb=Verb.REPLACE, kind="Pod", name="p*", namespace=SERVING, count=40)
    assert "affects up to 40 objects; the maximum is 10" in refused(harmless(many), FakeFaultClient())


def test_scenarios_and_single_variants_are_chosen_by_patterns() -> None:
    one = harmless()
    known = {one.id: one}
    assert [variant.name for _, variants in choose(known, ["*incident"]) for variant in variants] == ["bare", "worn"]
    assert [variant.name for _, variants in choose(known, ["*[worn]"]) for variant in variants] == ["worn"]
    for pattern in ("nothing", "*[nothing]"):
        with pytest.raises(UsageError, match="unknown"):
            choose(known, [pattern])
    with pytest.raises(UsageError, match="no scenario is registered"):
        choose({}, [])


def test_a_further_variant_is_played_only_when_variants_are_named() -> None:
    one = harmless()
    bare, worn = one.variants
    known = {one.id: replace(one, variants=(bare, replace(worn, extended=True)))}

    def names(*patterns: str) -> list[str]:
        return [variant.name for _, variants in choose(known, patterns) for variant in variants]

    assert names() == names("*incident") == ["bare"]
    assert names("*[worn]") == ["worn"]
    assert names("*[*]") == ["bare", "worn"]


def test_a_scenario_needs_a_variant_without_a_remedy() -> None:
    with pytest.raises(UsageError, match="at least one without a remedy"):
        scenario(title="t", happens="h", recognise="r", remedy="m", variants=[], affected_objects=())(lambda: iter(()))
