"""Which small changes to the contracts does no fast test notice?

    python tests/mutation/run.py [MODULE…] [--function NAME]

For every mutant of a module (mutate.py says which there are) the tests that cover it run until the first one fails. A mutant that no test
notices survives, and is printed with its line; explained.toml holds those that no test can or should notice, with the reason. Exit status:
0 when every survivor is explained and every explanation is of one, 1 when not, 2 when the run shows nothing. It is run by hand, not in CI.

Only what a static contract (one over a manifest, a compiled pipeline or a model directory) reaches is mutated, since its examples take
milliseconds: the live contracts need servers or a cluster, seconds for each mutant, and are left out.

Why a script, and neither mutmut nor cosmic-ray, each tried on contracts/environment.py:

* mutmut 3.8.1 leaves out every decorated function (mutmut/mutation/file_mutation.py), and so every contract: it makes 266 mutants of the
  helpers. It tests a copy of the sources that it expects on sys.path; the editable install maps ``trivet.contracts`` to the folder
  ``contracts`` itself, so that the tests import the original.
* cosmic-ray 8.7.0 works, and takes a new process for each mutant: 1.5 s of CPU for each of 199, where a fork takes 0.25 s. It rewrites the
  file in the work tree while it runs, removes ``@contract``, and has no operator that turns one outcome into another or drops a clause.

Here the mutated tree is compiled in a fork of one warm process, under the name that the import system asks for; no file is written.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib.abc
import importlib.util
import os
import pickle
import signal
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from mutation.mutate import Mutant, mutants, reached  # noqa: E402

TESTS = {
    "environment": ["contract_examples/test_static_environment.py"],
    "lineage": ["contract_examples/test_static_lineage.py", "unit/test_contracts_lineage.py"],
    "manifests": ["contract_examples/test_static_manifests.py"],
    "model_files": ["contract_examples/test_static_model_files.py"],
    "paths": ["contract_examples/test_static_paths.py"],
    **dict.fromkeys(
        ("pipelines", "ir.references", "ir.messages", "ir.resources", "ir.credentials", "ir.step_code"),
        ("contract_examples/test_static_pipelines.py", "contract_examples/test_static_pipeline_spec.py"),
    ),
    "signatures": ["contract_examples/test_static_signatures.py"],
}
"""Module of contracts/ → the fast tests that cover it, below tests/."""

ALSO = {
    "lineage": {"_detected"},
    "ir.references": {"dangling", "unfit_arguments"},
    "ir.messages": {"misfits"},
    "ir.resources": {"resource_problems", "effective"},
    "ir.credentials": {"is_credential", "credential_in", "credential_assigned_in", "masked"},
    "ir.step_code": {"read_program", "syntax_error"},
}
"""What these tests cover beside the static contracts: in modules that have none, what contracts call."""

SUBJECTS = {"manifest", "resource", "compiled_pipeline", "model_directory", "stack", "platform"}

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
        tallies[module] = tally = _run(module, options.function, reasons)
        for mutant in tally.survived:
            print(f"{module}:{mutant.line}: survived: {mutant.id}", flush=True)
        stale += [f"explained.toml, {module}: no mutant that survives is called {each!r}" for each in reasons]
    print(f"\n{'module':<14}{'mutants':>8}{'killed':>8}{'timed out':>11}{'explained':>11}{'survived':>10}")
    for module, one in tallies.items():
        figures = f"{one.mutants:>8}{one.killed:>8}{one.timed_out:>11}{one.explained:>11}{len(one.survived):>10}"
        print(f"{module:<14}{figures}")
    print(*([] if options.function else stale), sep="\n", end="")
    return 1 if any(one.survived for one in tallies.values()) or (stale and not options.function) else 0


def _run(module: str, function: str | None, reasons: dict[str, str]) -> Tally:
    """Try every mutant of a module. What is explained and survives is taken out of ``reasons``."""
    tree = ast.parse((ROOT / "contracts" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
    found = [one for one in mutants(tree, _mutated(tree, module)) if function in (None, one.function)]
    seconds = _warm(module)
    tally = Tally(mutants=len(found))
    gc.freeze()
    for mutant in found:
        status = _try(module, mutant.apply(tree), limit=10 + 10 * seconds)
        if status is None:
            tally.timed_out += 1
        elif status != SURVIVED:
            tally.killed += 1
        elif mutant.id in reasons:
            del reasons[mutant.id]
            tally.explained += 1
        else:
            tally.survived.append(mutant)
    return tally


def _mutated(tree: ast.Module, module: str) -> set[str]:
    """The static contracts with what they reach."""
    contracts = [
        statement
        for statement in tree.body
        if isinstance(statement, ast.FunctionDef)
        and any(isinstance(d, ast.Call) and getattr(d.func, "id", "") == "contract" for d in statement.decorator_list)
    ]
    static = {one.name for one in contracts if {argument.arg for argument in one.args.args} <= SUBJECTS}
    return reached(tree, static | ALSO.get(module, set()))


def _warm(module: str) -> float:
    """Run the tests once unmutated, and import here what they imported, except contracts and tests. How long they took."""
    reader, writer = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if not child:
        status = _tests(module, quiet=False)
        with os.fdopen(writer, "wb") as sink:
            pickle.dump([name for name in sys.modules if name.startswith(("trivet", "yaml", "packaging"))], sink)
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as source:
        names = pickle.load(source)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != SURVIVED:
        print(f"the tests of {module} fail without a mutant: {', '.join(TESTS[module])}", file=sys.stderr)
        sys.exit(2)
    seconds = time.monotonic() - began
    for name in names:
        if not name.startswith("trivet.contracts"):
            importlib.import_module(name)
    return seconds


def _try(module: str, tree: ast.Module, *, limit: float) -> int | None:
    """The exit status of the tests with this mutant in place; None when they took longer than ``limit`` seconds."""
    child = os.fork()
    if not child:
        loader = _Loader(f"trivet.contracts.{module}", tree)
        sys.meta_path.insert(0, loader)
        status = _tests(module, quiet=True)
        os._exit(status if loader.loaded else NOT_LOADED)
    deadline = time.monotonic() + limit
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            if code in NOTHING_RUN:
                print(
                    f"the tests of {module} ended with {code}: they do not run trivet.contracts.{module}",
                    file=sys.stderr,
                )
                sys.exit(2)
            return code
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.005)


def _tests(module: str, *, quiet: bool) -> int:
    """Run the module's fast tests until the first failure, in this process."""
    import pytest

    if quiet:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    # Hypothesis' plugin imports all of Hypothesis at the end of every run; tests that use Hypothesis do so without it too.
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist"]
    options += ["--tb=no", "-m", "not processes and not cluster and not catalogue"]
    files = [str(ROOT / "tests" / name) for name in TESTS[module]]
    return int(pytest.main([*options, "--rootdir", str(ROOT), *files]))


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
        exec(compile(self.tree, str(ROOT / "contracts" / f"{self.name.rpartition('.')[2]}.py"), "exec"), vars(module))


if __name__ == "__main__":
    sys.exit(main())
