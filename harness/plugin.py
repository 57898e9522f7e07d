"""The pytest plugin: options, fixtures, and test items for contracts and for variants of scenarios.

Every pytest run in an environment with trivet loads it, also with the core library alone: it imports nothing of trivet before it is
needed, then reports what is missing, and supports pytest from 7.0 on.
The plugin collects contract and scenario modules itself and imports them under their canonical names: in a checkout pytest would
otherwise import ``contracts/paths.py`` a second time as ``contracts.paths``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from trivet.engine.incremental import IncrementalRun
    from trivet.engine.registry import Registry
    from trivet.engine.scenarios.incremental import IncrementalScenarioRun
    from trivet.model.contract import Contract
    from trivet.model.report import ContractResult
    from trivet.model.scenario import Scenario, Variant
    from trivet.model.settings import Settings
    from trivet.model.stack import Stack
    from trivet.model.target import Session

CONTRACT_PACKAGE, SCENARIO_PACKAGE = "trivet.contracts", "trivet.scenarios"

TURN = 3600.0
"""Seconds that a worker of pytest-xdist waits for the cluster, on which one variant runs at a time."""

OPTIONS = {
    "stack": "the stack to judge: a shipped name (see `trivet stack list`) or a folder",
    "target": "where the stack runs: local (default), kind or existing",
    "context": "the kubeconfig context, for the target existing",
    "profile": "the contracts to judge (default: core on local; elsewhere cluster: all)",
    "store": "the artifact store of the target local: files (default) or s3",
    "database": "MLflow's database on the target local: sqlite (default) or postgresql",
    "images": "how to get container images: pull (default) or build",
    "report": "write report.json, junit.xml, report.html, report.sarif and report.md to this directory",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("trivet", "trivet: do KFP, MLflow and KServe still fit together")
    for name, text in OPTIONS.items():
        group.addoption(f"--trivet-{name}", default=None, help=text)
    text = "allow fault injection on a cluster that trivet did not create; needs --trivet-context"
    group.addoption("--trivet-allow-faults", action="store_true", help=text)
    text = "also run the extended variants of scenarios, which take long or show a detail"
    group.addoption("--trivet-extended", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "trivet: a contract of trivet, judged on a real stack")


class ContractFailed(Exception):
    """A contract at level MUST failed."""


class ContractInconclusive(Exception):
    """A contract at level MUST is INCONCLUSIVE, or a contract is an ERROR."""


class ScenarioContradicted(Exception):
    """The verdict of a variant differs from the expected one."""


class ScenarioInconclusive(Exception):
    """The verdict of a variant is INCONCLUSIVE or ERROR, for example because its fault could not be reverted."""


class WrongUsage(pytest.Collector.CollectError):
    """Wrong usage of trivet; pytest shows the message without a traceback."""


# -- the run behind the items -----------------------------------------------------------------------------------------

_RUN = pytest.StashKey["IncrementalRun"]()
_PLAY = pytest.StashKey["IncrementalScenarioRun"]()
_REGISTRY = pytest.StashKey["Registry"]()


@contextmanager
def _usage() -> Iterator[None]:
    from trivet.errors import TrivetError
    from trivet.installation import require_harness

    try:
        require_harness("judging contracts in pytest")
        yield
    except TrivetError as error:
        raise WrongUsage(f"trivet: {error}") from error


def _settings(config: pytest.Config) -> Settings:
    with _usage():
        from trivet.settings import load_settings

        return load_settings(config.rootpath, **{name: config.getoption(f"trivet_{name}") for name in OPTIONS})


def _registry(config: pytest.Config) -> Registry:
    if _REGISTRY not in config.stash:
        with _usage():
            from trivet.engine.registry import Registry, offers

            settings = _settings(config)
            local = [plugin for plugin in config.pluginmanager.get_plugins() if offers(plugin)]
            config.stash[_REGISTRY] = Registry(settings.plugins, local, settings=settings)
    return config.stash[_REGISTRY]


def _run(config: pytest.Config) -> IncrementalRun:
    if _RUN not in config.stash:
        settings = _settings(config)
        with _usage():
            from trivet.engine.acceptance import acceptance_of
            from trivet.engine.incremental import IncrementalRun
            from trivet.errors import unknown
            from trivet.settings import settings_folder
            from trivet.stacks.read import load_stack

            targets = _registry(config).targets
            if settings.target not in targets:
                raise unknown("target", settings.target, targets)
            stack = load_stack(settings.stack)
            config.stash[_RUN] = IncrementalRun(
                target=targets[settings.target],
                stack=stack,
                profile=settings.profile,
                emit=lambda event: None,
                command="pytest",
                acceptance=acceptance_of(
                    settings, _registry(config), settings_folder(config.rootpath), stack=stack.name
                ),
            )
        # Also if an interrupt prevents pytest from finishing its session.
        config.add_cleanup(config.stash[_RUN].close)
    return config.stash[_RUN]


def _planned(config: pytest.Config) -> Sequence[Contract]:
    with _usage():
        from trivet.engine.plan import make_plan

        run = _run(config)
        settings = _settings(config)
        return make_plan(
            _registry(config),
            profile=settings.profile,
            stack=run.stack,
            target=run.target,
            features=settings.require_features,
        ).contracts


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if _RUN not in session.config.stash:
        return
    with session.config.stash[_RUN] as run:
        if _PLAY in session.config.stash:
            _finish_playing(session.config)
        directory = _settings(session.config).report
        if directory and run.judged:
            from trivet.render.writers import write_files

            write_files(run.report(), Path(directory), _registry(session.config).writers)


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if _RUN not in config.stash or not config.stash[_RUN].judged:
        return
    from trivet.render.wording import waiver_warning

    if texts := [text for use in config.stash[_RUN].waiver_uses if (text := waiver_warning(use))]:
        terminalreporter.section("trivet: waivers")
        for text in texts:
            terminalreporter.write_line(f"warning: {text}", yellow=True)


# -- contracts as items -----------------------------------------------------------------------------------------------


class ContractModule(pytest.File):
    """A module of contracts, imported under its canonical name."""

    module_name: str

    def collect(self) -> Iterator[ContractItem]:
        with _usage():
            importlib.import_module(self.module_name)
        for contract in _planned(self.config):
            if contract.check.__module__ == self.module_name:
                yield ContractItem.from_parent(self, name=contract.id.partition(".")[2], contract=contract)


class ContractItem(pytest.Item):
    """One contract on the configured stack and target."""

    def __init__(self, *, contract: Contract, **rest: Any) -> None:
        super().__init__(**rest)
        self.contract = contract
        self.add_marker("trivet")

    def runtest(self) -> None:
        __tracebackhide__ = True
        with _usage():
            result = _run(self.config).judge(self.contract)
        raise_for(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, ContractFailed | ContractInconclusive | WrongUsage):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.path, self.contract.check.__code__.co_firstlineno - 1, self.contract.id


def raise_for(result: ContractResult) -> None:
    """Report the outcome of a contract to pytest. What is visible and no failure is an xfail: a SHOULD that failed or is inconclusive, and
    what a waiver accepts."""
    __tracebackhide__ = True
    from trivet.model.outcome import Outcome
    from trivet.render.wording import acceptances

    if result.blocks:
        raise (ContractFailed if result.outcome is Outcome.FAILED else ContractInconclusive)(_message(result))
    if result.outcome is Outcome.SKIPPED:
        pytest.skip(result.reason)
    if result.accepted:
        pytest.xfail(f"{'; '.join(acceptances(result))}: {result.reason}")
    if result.outcome.deviates:
        word = "advice" if result.outcome is Outcome.FAILED else "advice, inconclusive"
        pytest.xfail(f"{word}: {result.reason}")


def _message(result: ContractResult) -> str:
    from trivet.render.wording import acceptance

    lines = [f"{result.id} {result.outcome}: {result.title}"]
    for finding in result.findings:
        if finding.outcome is result.outcome:
            lines.append(f"  {finding.message}" + (f"  [{finding.location}]" if finding.location else ""))
            lines += [f"    known: {text}"] if (text := acceptance(finding)) else []
            lines += [f"    {line}" for item in finding.evidence for line in item.text.splitlines()[-15:]]
    return "\n".join([*lines, f"  why it matters: {result.rationale}", f"  remedy: {result.remedy}"])


# -- scenarios as items -----------------------------------------------------------------------------------------------


class ScenarioModule(pytest.File):
    """A module of scenarios, imported under its canonical name."""

    module_name: str

    def collect(self) -> Iterator[VariantItem]:
        with _usage():
            importlib.import_module(self.module_name)
            known = _registry(self.config).scenarios
        for scenario in known.values():
            if scenario.stage.__module__ == self.module_name:
                for variant in scenario.variants:
                    if variant.extended and not self.config.getoption("trivet_extended"):
                        continue
                    name = f"{scenario.id.partition('.')[2]}[{variant.name}]"
                    yield VariantItem.from_parent(self, name=name, scenario=scenario, variant=variant)


class VariantItem(pytest.Item):
    """One variant of a scenario on the configured stack and target."""

    def __init__(self, *, scenario: Scenario, variant: Variant, **rest: Any) -> None:
        super().__init__(**rest)
        self.scenario, self.variant = scenario, variant
        self.add_marker("trivet")

    def runtest(self) -> None:
        __tracebackhide__ = True
        from trivet.engine.registry import use_registry
        from trivet.model.scenario import Verdict

        with _usage(), use_registry(_registry(self.config)):
            result = _playing(self.config).play(self.scenario, self.variant)
        if result.verdict is Verdict.SKIPPED:
            pytest.skip(result.reason)
        message = f"{self.scenario.id}[{result.name}] {result.verdict}: {result.reason}"
        if result.contradicted:
            raise ScenarioContradicted(f"{message}\n  expected verdict: {result.expected}")
        if not result.verdict.conclusive:
            raise ScenarioInconclusive(message + (f"\n  clean up: {result.cleanup}" if result.cleanup else ""))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, ScenarioContradicted | ScenarioInconclusive | WrongUsage):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        return self.path, self.scenario.stage.__code__.co_firstlineno - 1, f"{self.scenario.id}[{self.variant.name}]"


def _playing(config: pytest.Config) -> IncrementalScenarioRun:
    if _PLAY not in config.stash:
        from trivet.engine.scenarios.incremental import IncrementalScenarioRun

        allowed = config.getoption("trivet_allow_faults")
        config.stash[_PLAY] = IncrementalScenarioRun(
            _run(config),
            allow_faults=allowed,
            context=_settings(config).existing.context,
            wait=TURN if "PYTEST_XDIST_WORKER" in os.environ else 0.0,
        )
    return config.stash[_PLAY]


def _finish_playing(config: pytest.Config) -> None:
    play = config.stash[_PLAY]
    directory = _settings(config).report
    if directory and play.played:
        from trivet.render.scenario_files import write_files

        write_files(play.report(), Path(directory))


# -- collecting modules -----------------------------------------------------------------------------------------------


def _canonical(path: Path) -> str | None:
    """The canonical name of a contract or scenario module at ``path``; imports nothing but trivet itself."""
    for package in (CONTRACT_PACKAGE, SCENARIO_PACKAGE):
        if path.parent == _folder(package) and path.suffix == ".py" and path.name != "__init__.py":
            return f"{package}.{path.stem}"
    return None


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package) if package not in sys.modules else None
    origin = spec.origin if spec else getattr(sys.modules.get(package), "__file__", None)
    return Path(origin).parent if origin else None


@pytest.hookimpl(tryfirst=True, optionalhook=True)  # pytest 7 has no such hook
def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    # A Package would import the folder's __init__.py under a bare name.
    if path in (_folder(CONTRACT_PACKAGE), _folder(SCENARIO_PACKAGE)):
        directory: pytest.Collector = pytest.Dir.from_parent(parent, path=path)
        return directory
    return None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    name = _canonical(file_path)
    if name is None or parent.session.isinitpath(file_path):
        return None  # pytest_pycollect_makemodule handles a path of the command line
    return _module(file_path, parent, name)


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> Any:
    name = _canonical(module_path)
    return _module(module_path, parent, name) if name else None


def _module(path: Path, parent: pytest.Collector, name: str) -> ContractModule | ScenarioModule:
    kind = ScenarioModule if name.startswith(f"{SCENARIO_PACKAGE}.") else ContractModule
    module: ContractModule | ScenarioModule = kind.from_parent(parent, path=path)
    module.module_name = name
    return module


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # The contract of required features is in no module that is collected.
    first = next((item for item in items if isinstance(item, ContractItem)), None)
    if first is None or first.parent is None or not _settings(config).require_features:
        return
    from trivet.engine.required import REQUIRED

    (required,) = [contract for contract in _planned(config) if contract.id == REQUIRED.id]
    name = required.id.partition(".")[2]
    items.insert(0, ContractItem.from_parent(first.parent, name=name, contract=required))


# -- for a team's own tests -------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trivet_contract" not in metafunc.fixturenames:
        return
    marked = [pytest.param(c, id=c.id, marks=pytest.mark.trivet) for c in _planned(metafunc.config)]
    metafunc.parametrize("trivet_contract", marked)


@pytest.fixture(scope="session")
def trivet_stack(request: pytest.FixtureRequest) -> Stack:
    """The configured stack: component versions, roles, digest."""
    return _run(request.config).stack


@pytest.fixture(scope="session")
def trivet_session(request: pytest.FixtureRequest) -> Session:
    """The stack running on the target; ``trivet_session.client("serving")`` and the like."""
    return _run(request.config).session


@pytest.fixture(scope="session")
def trivet_judge(request: pytest.FixtureRequest) -> Any:
    """A function that judges a contract, given as a contract or as its id, and reports the outcome to pytest."""

    def judge(contract: Contract | str) -> None:
        __tracebackhide__ = True
        registry = _registry(request.config)
        known = registry.contract(contract) if isinstance(contract, str) else registry.checked(contract)
        raise_for(_run(request.config).judge(known))

    return judge
