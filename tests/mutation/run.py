"""Which small changes to the contracts does no fast test notice?

    python tests/mutation/run.py [MODULE…] [--function NAME]

For every mutant of a module (mutate.py says which there are) the tests that execute its lines run until the first one fails. A mutant that
no test notices survives, and is printed with its line; explained.toml holds those that no test can or should notice, with the reason.
Exit status: 0 when every survivor is explained and every explanation is of one, 1 when not, 2 when the run shows nothing. It is run by
hand, not in CI.

Only what a static contract (one over a manifest, a compiled pipeline or a model directory) reaches is mutated, since its examples take
milliseconds: the live contracts need servers or a cluster, seconds for each mutant, and are left out.

Why a script, and neither mutmut nor cosmic-ray, each tried on contracts/environment.py:

* mutmut 3.8.1 leaves out every decorated function (mutmut/mutation/file_mutation.py), and so every contract: it makes 266 mutants of the
  helpers. It tests a copy of the sources that it expects on sys.path; the editable install maps ``trivet.contracts`` to the folder
  ``contracts`` itself, so that the tests import the original.
* cosmic-ray 8.7.0 works, and takes a new process for each mutant: 1.5 s of CPU for each of 199, where a fork takes 0.25 s. It rewrites the
  file in the work tree while it runs, removes ``@contract``, and has no operator that turns one outcome into another or drops a clause.

Here the tests are collected once. A fork of that process puts a mutant into it by giving functions their other code, which takes 0.02 s;
what survives that and runs when contracts are imported is tried again in a fork that imports contracts and tests anew. No file is written.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib.abc
import importlib.util
import inspect
import os
import pickle
import re
import select
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FrameType, FunctionType, MappingProxyType, ModuleType
from typing import Any

import pytest

from trivet.engine.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from mutation.mutate import Mutant, defined, mutants, reached  # noqa: E402

_PIPELINES = ("contract_examples/test_static_pipelines.py", "contract_examples/test_static_pipeline_spec.py")
_RULES = ("unit/test_contracts_rules.py",)
_ODD = ("unit/test_lint_odd_values.py",)

TESTS = {
    "_model_directories": (
        "contract_examples/test_static_model_files.py",
        "contract_examples/test_static_environment.py",
    ),
    "environment": ("contract_examples/test_static_environment.py",),
    "ir.credentials": ("unit/test_contracts_credentials.py",),
    "ir.messages": ("unit/test_contracts_messages.py", "contract_examples/test_static_pipeline_spec.py", *_ODD),
    "ir.parts": _PIPELINES,
    "ir.platform": ("contract_examples/test_static_pipeline_spec.py",),
    "ir.references": ("unit/test_contracts_references.py", "contract_examples/test_static_pipeline_spec.py"),
    "ir.resources": ("unit/test_contracts_resources.py", *_ODD),
    "ir.step_code": ("unit/test_contracts_step_code.py", *_PIPELINES, *_ODD),
    "lineage": ("contract_examples/test_static_lineage.py", "unit/test_contracts_lineage.py"),
    "manifests": ("contract_examples/test_static_manifests.py",),
    "model_files": ("contract_examples/test_static_model_files.py",),
    "paths": ("contract_examples/test_static_paths.py",),
    "pipelines": _PIPELINES,
    "quantities": ("contract_examples/test_static_pipeline_spec.py", *_ODD),
    "rules.companions": _RULES,
    "rules.credentials": _RULES,
    "rules.effects": ("contract_examples/test_static_validation.py",),
    "rules.expressions": ("contract_examples/test_static_paths.py",),
    "rules.knative": (*_RULES, *_ODD),
    "rules.kserve": _RULES,
    "rules.llm": ("contract_examples/test_static_validation.py",),
    "rules.names": ("unit/test_contracts_names.py",),
    "rules.pods": _RULES,
    "rules.rule": ("unit/test_contracts_rule.py", *_RULES),
    "rules.runtimes": ("unit/test_contracts_runtimes.py", *_RULES),
    "rules.schema": ("contract_examples/test_static_manifests.py",),
    "rules.uris": ("unit/test_contracts_uris.py", *_ODD),
    "signatures": ("contract_examples/test_static_signatures.py",),
    "validation": ("contract_examples/test_static_validation.py",),
    "values": (*_RULES, *_ODD),
}
"""Module of contracts/ → the fast tests that cover it, below tests/."""

ALSO = {"lineage": {"_detected"}}
"""What these tests cover beside the static contracts of a module."""

SUBJECTS = {"manifest", "resource", "compiled_pipeline", "model_directory", "stack", "platform"}

CONSTANTS = (str, int, float, tuple, list, dict, set, frozenset, MappingProxyType, re.Pattern)

SURVIVED, NOT_LOADED = 0, 99
NOTHING_RUN = (4, 5, NOT_LOADED)
"""Exit statuses that show nothing: pytest's for wrong usage and for no tests, and ours for tests that never imported the module."""


@dataclass
class Tally:
    """What became of a module's mutants."""

    mutants: int = 0
    killed: int = 0
    timed_out: int = 0
    explained: int = 0
    survived: list[Mutant] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TESTS)}; all of them by default")
    parser.add_argument("--function", help="only mutants of this top-level name")
    options = parser.parse_args()
    if wrong := set(options.modules) - set(TESTS):
        parser.error(f"unknown module {', '.join(sorted(wrong))}; there are {', '.join(TESTS)}")
    explained = tomllib.loads((Path(__file__).parent / "explained.toml").read_text(encoding="utf-8"))
    tallies, stale = {}, []
    for module in options.modules or TESTS:
        reasons = {mutant: each["because"] for each in explained.get(module, ()) for mutant in each["mutants"]}
        tallies[module] = _run(module, options.function, reasons)
        stale += [f"explained.toml, {module}: no mutant that survives is called {each!r}" for each in reasons]
    print(f"\n{'module':<20}{'mutants':>8}{'killed':>8}{'timed out':>11}{'explained':>11}{'survived':>10}")
    for module, one in tallies.items():
        figures = f"{one.mutants:>8}{one.killed:>8}{one.timed_out:>11}{one.explained:>11}{len(one.survived):>10}"
        print(f"{module:<20}{figures}")
    print(*([] if options.function else stale), sep="\n", end="")
    return 1 if any(one.survived for one in tallies.values()) or (stale and not options.function) else 0


def _run(module: str, function: str | None, reasons: dict[str, str]) -> Tally:
    """Try every mutant of a module. What is explained and survives is taken out of ``reasons``."""
    tree = ast.parse(Path(_file(module)).read_text(encoding="utf-8"))
    found = [one for one in mutants(tree, _mutated(tree, module)) if function in (None, one.function)]
    first = _first(module, tree, found)
    tally = Tally(mutants=len(found))
    gc.freeze()
    for mutant, quick in zip(found, first.statuses, strict=True):
        status = quick
        if quick == SURVIVED and first.is_of_import(mutant, tree):
            status = _try(module, mutant.apply(tree), [*first.lines], limit=10 + 2 * first.seconds)
        if status is None:
            tally.timed_out += 1
        elif status != SURVIVED:
            tally.killed += 1
        elif mutant.id in reasons:
            del reasons[mutant.id]
            tally.explained += 1
        else:
            tally.survived.append(mutant)
            print(f"{module}:{mutant.line}: survived: {mutant.id}", flush=True)
    return tally


def _mutated(tree: ast.Module, module: str) -> set[str]:
    """The static contracts, or in a module without contracts its public names, with what they reach."""
    contracts = [
        statement
        for statement in tree.body
        if isinstance(statement, ast.FunctionDef)
        and any(isinstance(d, ast.Call) and getattr(d.func, "id", "") == "contract" for d in statement.decorator_list)
    ]
    if not contracts:
        return reached(tree, {name for name in defined(tree) if not name.startswith("_")})
    static = {one.name for one in contracts if {argument.arg for argument in one.args.args} <= SUBJECTS}
    return reached(tree, static | ALSO.get(module, set()))


@dataclass
class _First:
    """What a first look at a module's mutants shows: what became of each, the lines that each test executes, and those that run outside
    of tests, when contracts are imported. A mutant of these may survive it, and be killed where everything is imported anew.
    """

    statuses: list[int | None] = field(default_factory=list)
    lines: dict[str, set[int]] = field(default_factory=dict)
    outside: set[int] = field(default_factory=set)
    seconds: float = 0.0

    def executing(self, mutant: Mutant, tree: ast.Module) -> list[str]:
        """The tests that execute a mutant; all of them for what runs when contracts are imported."""
        if self.is_of_import(mutant, tree):
            return [*self.lines]
        return [test for test, theirs in self.lines.items() if not theirs.isdisjoint(mutant.lines(tree))]

    def is_of_import(self, mutant: Mutant, tree: ast.Module) -> bool:
        """Whether it runs when contracts are imported."""
        return not self.outside.isdisjoint(mutant.lines(tree))


def _first(module: str, tree: ast.Module, found: Sequence[Mutant]) -> _First:
    """Run the tests once unmutated, and with each mutant put into the running program; import here what they imported, except contracts."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        looking = _Looking(module, tree, found)
        status = _tests(module, looking)
        with os.fdopen(writer, "wb") as sink:
            names = [name for name in sys.modules if name.startswith(("trivet", "yaml", "packaging"))]
            pickle.dump((names, looking.first), sink)
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as source:
        names, first = pickle.load(source)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != SURVIVED:
        print(f"the tests of {module} fail without a mutant: {', '.join(TESTS[module])}", file=sys.stderr)
        sys.exit(2)
    for name in names:
        if not name.startswith("trivet.contracts"):
            importlib.import_module(name)
    assert isinstance(first, _First)
    return first


class _Looking:
    """A plugin of pytest that collects the tests once, and runs them in forks: traced, then with each mutant."""

    def __init__(self, module: str, tree: ast.Module, found: Sequence[Mutant]) -> None:
        self.module = module
        self.file = _file(module)
        self.tree = tree
        self.found = found
        self.first = _First()
        self.now = self.first.outside
        sys.settrace(self._call)
        assert Registry().contracts  # imports them

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        sys.settrace(None)
        began = time.monotonic()
        status, traced = _forked(lambda: self._traced(session), limit=3600)
        self.first.seconds = time.monotonic() - began
        if status != SURVIVED:
            session.testsfailed = 1
            return True
        self.first.lines, self.first.outside = traced
        functions = [
            one
            for one in gc.get_objects()
            if isinstance(one, FunctionType) and one.__module__ == f"trivet.contracts.{self.module}"
        ]
        gc.freeze()
        for mutant in self.found:
            tests = {*self.first.executing(mutant, self.tree)}
            items = [item for item in session.items if item.nodeid in tests]
            work = partial(self._mutated, mutant, functions, session, items)
            status, _ = _forked(work, limit=10 + 2 * self.first.seconds) if items else (SURVIVED, None)
            self.first.statuses.append(status)
        return True

    def _traced(self, session: pytest.Session) -> tuple[int, object]:
        for item in session.items:
            self.now = self.first.lines[item.nodeid] = set()
            sys.settrace(self._call)
            item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
            sys.settrace(None)
        return session.testsfailed, (self.first.lines, self.first.outside)

    def _mutated(
        self, mutant: Mutant, functions: Sequence[FunctionType], session: pytest.Session, items: Sequence[pytest.Item]
    ) -> tuple[int, object]:
        if self._put_in_place(mutant, functions):
            for item in items:
                item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
                if session.testsfailed:
                    return 1, None
        return SURVIVED, None

    def _put_in_place(self, mutant: Mutant, functions: Sequence[FunctionType]) -> bool:
        """Give functions their other code, and constants their other value. False if the mutant changes none."""
        changed = mutant.apply(self.tree)
        before, after = (_functions(one.body[mutant.statement], self.file) for one in (self.tree, changed))
        others = {key: code for key, code in after.items() if before.get(key) != code}
        if not others and not _other_constants(f"trivet.contracts.{self.module}", compile(changed, self.file, "exec")):
            return False
        for function in functions:
            code = function.__code__
            function.__code__ = others.get((code.co_qualname, code.co_firstlineno), code)
        for name, one in [*sys.modules.items()]:
            if name.startswith("trivet.contracts"):
                for value in vars(one).values():
                    if callable(clear := getattr(value, "cache_clear", None)):
                        clear()
        return True

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        return self._line(frame, event, argument) if frame.f_code.co_filename == self.file else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        self.now.add(frame.f_lineno)
        return self._line


def _other_constants(module: str, changed: CodeType) -> bool:
    """Give the constants of a module, and their imports in other modules, the values that its changed code gives them."""
    fresh = {**vars(sys.modules[module])}
    exec(changed, fresh)
    others = {
        name: (old, fresh[name])
        for name, old in vars(sys.modules[module]).items()
        if isinstance(old, CONSTANTS) and not name.startswith("__") and old != fresh[name]
    }
    for name, one in [*sys.modules.items()]:
        if name.startswith("trivet.contracts"):
            for constant, (old, new) in others.items():
                if vars(one).get(constant) is old:
                    setattr(one, constant, new)
    return bool(others)


def _functions(statement: ast.stmt, file: str) -> Mapping[tuple[str, int], CodeType]:
    """The code of the functions and methods that a statement of a module makes, by name and line."""
    whole = compile(ast.Module(body=[statement], type_ignores=[]), file, "exec")
    return {(code.co_qualname, code.co_firstlineno): code for code in _codes(whole)}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of the functions and methods of a module, without those that functions make."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if each.co_flags & inspect.CO_OPTIMIZED:
                yield each
            else:  # a class
                yield from _codes(each)


def _forked(work: Callable[[], tuple[int, object]], *, limit: float) -> tuple[int | None, Any]:
    """What ``work`` returns in a fork without output: a status, None after ``limit`` seconds, and anything."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        status, result = 1, None
        with suppress(BaseException):
            status, result = work()
        with os.fdopen(writer, "wb") as sink:
            pickle.dump(result, sink)
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as source:
        if not select.select([source], [], [], limit)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None, None
        result = pickle.loads(source.read() or pickle.dumps(None))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), result


class _Only:
    """A plugin of pytest that runs only the tests of these ids."""

    def __init__(self, tests: Collection[str]) -> None:
        self.tests = tests

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.tests]


def _try(module: str, tree: ast.Module, tests: Collection[str], *, limit: float) -> int | None:
    """The exit status of these tests where this mutant is imported; None when they took longer than ``limit`` seconds."""

    def work() -> tuple[int, object]:
        loader = _Loader(f"trivet.contracts.{module}", tree)
        sys.meta_path.insert(0, loader)
        status = _tests(module, _Only(tests))
        return status if loader.loaded else NOT_LOADED, None

    status, _ = _forked(work, limit=limit)
    if status in NOTHING_RUN:
        print(f"the tests of {module} ended with {status}: they do not run trivet.contracts.{module}", file=sys.stderr)
        sys.exit(2)
    return status


def _tests(module: str, plugin: object) -> int:
    """Run the module's fast tests until the first failure, in this process, with a plugin."""
    # Hypothesis' plugin imports all of Hypothesis at the end of every run; tests that use Hypothesis do so without it too.
    options = ["-x", "-q", "-s", "--no-header", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist"]
    options += ["--tb=no", "-m", "not processes and not cluster and not catalogue"]
    files = [str(ROOT / "tests" / name) for name in TESTS[module]]
    return int(pytest.main([*options, "--rootdir", str(ROOT), *files], [plugin]))


class _Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another tree than its file holds."""

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        self.tree = tree
        self.loaded = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if fullname == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        self.loaded = True
        exec(compile(self.tree, _file(self.name.removeprefix("trivet.contracts.")), "exec"), vars(module))


def _file(module: str) -> str:
    return str(ROOT / "contracts" / f"{module.replace('.', '/')}.py")


if __name__ == "__main__":
    sys.exit(main())
