"""What is registered, what is refused of a plugin, and which contracts a profile holds by what targets declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from types import FunctionType, ModuleType
from typing import Any

import pytest
from fakes.target import STACK, FakeTarget

from trivet.authoring.contracts import MUST, contract
from trivet.authoring.scenarios import scenario, unprotected
from trivet.engine.plan import declared_failures, make_plan
from trivet.engine.registry import Registry
from trivet.engine.run import run
from trivet.errors import UsageError
from trivet.hookspecs import hookimpl
from trivet.model.clients import CLIENTS
from trivet.model.contract import Contract
from trivet.model.events import Emit
from trivet.model.finding import Finding, failed, passed
from trivet.model.outcome import Outcome
from trivet.model.scenario import Case
from trivet.model.stack import Stack
from trivet.model.target import Session
from trivet.render.catalogue import explain, listing, planned


def plugin(**content: Any) -> ModuleType:
    """A module of a third party."""
    module = ModuleType("acme")
    vars(module).update(content)
    return module


def made(check: Any) -> Contract:
    """A contract as if it were made in that module."""
    moved = FunctionType(check.__code__, check.__globals__, check.__name__)
    moved.__module__ = "acme"
    return contract(title="A must B", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do C")(moved)


def holds(manifest: object) -> Iterator[Finding]:
    yield passed("fine")


def prints(tray: object) -> Iterator[Finding]:
    yield passed("full")


def scales(cluster: object) -> Iterator[Finding]:
    yield passed("it does")


def answers(serving: object) -> Iterator[Finding]:
    yield passed("it does")


def hook(name: str, value: Any) -> Any:
    def implementation() -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    implementation.__name__ = name
    return hookimpl(implementation)


class Wrong:
    """A target that lacks some of what a target needs, and offers what is not declared."""

    name = "wrong"

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)

    def plan(self, stack: Stack) -> list[str]:
        return []


class Startable(Wrong):
    def start(self, stack: Stack, emit: Emit) -> AbstractContextManager[Session]:
        raise AssertionError("nobody starts it")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("trivet_contracts", None, "it returns None\n  remedy: return a list of modules"),
        ("trivet_contracts", [made(holds)], "what it names is Contract("),
        ("trivet_contracts", ["acme"], "what it names is 'acme'"),
        ("trivet_contracts", "acme", "it returns 'acme'"),
        ("trivet_contracts", [pytest], "it names pytest, in which no contract is made"),
        ("trivet_contracts", ValueError("boom"), "ValueError: boom"),
        ("trivet_scenarios", [pytest], "it names pytest, in which no scenario is made"),
        ("trivet_targets", [Startable(clients=())], "what it returns is ["),
        (
            "trivet_targets",
            {"wrong": Startable()},
            "the target 'wrong' has no 'clients'\n  remedy: it needs name, clients",
        ),
        ("trivet_targets", {"wrong": Wrong(clients=())}, "the target 'wrong' has no 'start'"),
        ("trivet_targets", {"wrong": Startable(clients=3)}, "clients of the target 'wrong' is 3"),
        (
            "trivet_targets",
            {"wrong": Startable(clients=("srving",))},
            "unknown client of the target 'wrong' 'srving'\n  remedy: did you mean 'serving'?",
        ),
        ("trivet_targets", {"local": Startable(clients=())}, "two plugins register the target 'local'"),
        ("trivet_writers", {"text": 3}, "the writer 'text' has no 'filename'"),
    ],
)
def test_what_a_hook_gives_is_refused_with_the_hook_and_its_line(name: str, value: Any, words: str) -> None:
    registry = Registry(modules=[plugin(**{name: hook(name, value)})])
    with pytest.raises(UsageError) as caught:
        getattr(registry, name.removeprefix("trivet_"))
    assert words in str(caught.value)
    if "two plugins" not in words:
        assert str(caught.value).startswith(f"{name} of acme")


def test_a_hook_that_raises_is_refused_with_its_error() -> None:
    class Acme:
        @hookimpl
        def trivet_targets(self) -> dict[str, Any]:
            raise KeyError("rack")

    with pytest.raises(UsageError, match=r"trivet_targets of .* failed: KeyError: 'rack'"):
        _ = Registry(modules=[Acme()]).targets


def test_a_hook_that_raises_while_it_is_read_is_refused_with_its_error() -> None:
    def lazy() -> Iterator[ModuleType]:
        yield plugin()
        raise ValueError("no more")

    class Lazy(Mapping[str, Any]):
        def __iter__(self) -> Iterator[str]:
            raise ValueError("no keys")

        def __len__(self) -> int:
            return 1

        def __getitem__(self, key: str) -> Any:
            raise KeyError(key)

    for name, value, words in (("trivet_contracts", lazy(), "no more"), ("trivet_writers", Lazy(), "no keys")):
        registry = Registry(modules=[plugin(**{name: hook(name, value)})])
        with pytest.raises(UsageError, match=f"{name} of acme failed: ValueError: {words}") as caught:
            _ = registry.contracts, registry.writers
        assert caught.value.remedy == "correct that plugin"


def test_a_hook_without_its_mark_and_one_that_there_is_not_are_refused() -> None:
    with pytest.raises(UsageError, match=r"trivet_targets of acme is not marked as a hook\n  remedy: put @hookimpl"):
        Registry(modules=[plugin(trivet_targets=lambda: {})])
    with pytest.raises(
        UsageError, match=r"unknown hook 'trivet_contract'\n  remedy: did you mean 'trivet_contracts'\?"
    ):
        Registry(modules=[plugin(trivet_contract=hook("trivet_contract", []))])


def test_a_hook_with_a_parameter_that_there_is_not_is_refused() -> None:
    @hookimpl
    def trivet_targets(setings: object) -> Mapping[str, Any]:
        return {}

    with pytest.raises(UsageError, match="acme implements a hook wrongly"):
        Registry(modules=[plugin(trivet_targets=trivet_targets)])


# profiles and targets


def planned_ids(registry: Registry, profile: str) -> set[str]:
    """The third party's contracts in a profile."""
    contracts = make_plan(registry, profile=profile, stack=STACK).contracts
    return {one.id.removeprefix("acme.") for one in contracts if one.id.startswith("acme.")}


def test_the_core_profile_is_what_every_target_of_trivet_offers() -> None:
    registry = Registry(modules=[plugin(a=made(answers), b=made(scales), c=made(holds))])
    assert planned_ids(registry, "core") == {"answers", "holds"}
    assert planned_ids(registry, "cluster") == {"answers", "holds", "scales"}
    assert planned_ids(registry, "static") == {"holds"}


def test_a_target_of_a_third_party_does_not_change_the_core_profile() -> None:
    few = plugin(a=made(answers), trivet_targets=hook("trivet_targets", {"few": Startable(clients=("tracking",))}))
    assert "answers" in planned_ids(Registry(modules=[few]), "core")


def is_named(stack: Any) -> Iterator[Finding]:
    yield passed(stack.name) if stack.name else failed(f"the stack has no name{stack.title.removeprefix(STACK.title)}")


def test_a_plan_shows_what_the_stack_already_fails_by_what_it_declares() -> None:
    registry = Registry(modules=[plugin(a=made(is_named), b=made(prints))])
    assert registry.contracts["acme.is_named"].declared
    assert not registry.contracts["acme.prints"].declared
    plan = make_plan(registry, profile="core", stack=STACK, patterns=["acme.is_named"])
    assert declared_failures(plan, STACK) == {}
    nameless = replace(STACK, name="")
    failures = declared_failures(plan, nameless)
    assert failures == {"acme.is_named": "the stack has no name"}
    secret = replace(STACK, name="", title="at https://user:hunter2@host")
    assert "hunter2" not in declared_failures(plan, secret)["acme.is_named"]
    text = planned(plan, nameless, failing=failures)
    assert "fails: the stack has no name" in text
    assert "1 to judge, 0 to skip, 1 that fail by what the stack declares" in text


def test_a_client_of_a_third_party_is_not_in_the_core_profile() -> None:
    registry = Registry(
        modules=[plugin(a=made(prints), trivet_targets=hook("trivet_targets", {"p": FakeTarget(tray=1)}))]
    )
    assert not registry.contracts["acme.prints"].unrunnable
    assert "prints" not in planned_ids(registry, "core")
    assert "prints" in planned_ids(registry, "cluster")


def test_every_client_is_offered_by_a_target_of_trivet_and_none_offers_another() -> None:
    offered = {name for target in Registry().targets.values() for name in target.clients}
    assert offered == set(CLIENTS) - CLIENTS.added


def test_a_contract_that_no_registered_target_can_judge_is_in_every_profile_and_says_so() -> None:
    registry = Registry(modules=[plugin(a=made(prints), b=made(holds))])
    broken = registry.contracts["acme.prints"]
    reason = "no registered target offers the client tray (where the printer takes paper from)"
    assert broken.unrunnable.startswith(reason)
    for profile in ("core", "cluster", "static"):
        assert "prints" in planned_ids(registry, profile)
    flat = " ".join(listing(list(registry.contracts.values())).split())
    assert f"cannot run: {reason}" in flat
    plan = make_plan(registry, profile="core", stack=STACK, patterns=["acme.*"])
    assert "1 to judge, 0 to skip, 1 that cannot run" in planned(plan, STACK)
    assert reason in " ".join(explain(broken).split())
    report = run(plan.contracts, target=FakeTarget(), stack=STACK, profile="core", emit=lambda event: None)
    outcomes = {one.id: one.outcome for one in report.contracts}
    assert outcomes["acme.prints"] is Outcome.ERROR
    assert report.exit_code == 2


def test_a_plan_says_what_the_target_will_skip_for_want_of_a_client() -> None:
    registry = Registry(modules=[plugin(b=made(scales))])
    local = registry.targets["local"]
    plan = make_plan(registry, profile="cluster", stack=STACK, target=local, patterns=["acme.*"])
    (reason,) = plan.not_applicable.values()
    assert reason.startswith("the target local does not offer the client cluster: objects, commands and ports")


def test_a_scenario_that_no_registered_target_can_show_says_so() -> None:
    def stage(tray: object) -> Iterator[Case]:
        yield from ()

    made_scenario = scenario(
        title="t", happens="h", recognise="r", remedy="m", variants=[unprotected("bare", "b")], affected_objects=()
    )(stage)
    assert "offers the client tray" in Registry().checked(made_scenario).unrunnable
