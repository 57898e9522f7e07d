"""What an installation of trivet costs every ``pytest`` of its environment: start-up over one trivial test, beside pytest alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

from sides import Spent, interleaved, spend, table
from uv import find_uv_bin

ROOT = Path(__file__).parents[1]

ALONE = "pytest alone"
CORE = "with trivet, the core library"
FULL = "with trivet[harness]"
WITHOUT = "… without its plugins"


def measure(scratch: Path, rounds: int) -> str:
    """Three fresh environments with the same pytest: alone, with trivet's wheel, and with all that the harness needs."""
    pytest = f"pytest=={version('pytest')}"
    built = wheel(scratch).as_uri()
    alone = environment(scratch / "alone", pytest)
    core = environment(scratch / "core", pytest, f"trivet @ {built}")
    full = environment(scratch / "full", pytest, f"trivet[harness] @ {built}")
    project = scratch / "project"
    project.mkdir()
    (project / "test_one.py").write_text("def test_one():\n    pass\n", encoding="utf-8")
    plugins = {python: plugins_of(python) for python in (alone, core, full)}
    sides = {
        ALONE: (alone, []),
        CORE: (core, []),
        FULL: (full, []),
        WITHOUT: (full, list(plugins[full])),
    }
    for python, off in sides.values():
        see_what_is_loaded(command(python, off), project, plugins[python], off)
    turns = interleaved({name: partial(spend, command(*side), project) for name, side in sides.items()}, rounds)
    rows = [["", "wall ms", "CPU ms", "of pytest alone"]]
    for name, spent in turns.items():
        wall, cpu = (median(getattr(turn, unit) for turn in spent) * 1000 for unit in ("wall", "cpu"))
        rows.append([name, f"{wall:.0f}", f"{cpu:.0f}", f"{median(ratios(spent, turns[ALONE])):.2f}x"])
    costs = {
        "the whole of trivet[harness]": difference(turns[FULL], turns[ALONE]),
        "the core library": difference(turns[CORE], turns[ALONE]),
        "its plugins": difference(turns[FULL], turns[WITHOUT]),
        "looking through more distributions": difference(turns[WITHOUT], turns[ALONE]),
    }
    added = [
        ["adds, by the median of the rounds", "wall ms", "CPU ms"],
        *([name, *cost] for name, cost in costs.items()),
    ]
    found = ", ".join(f"{entry} ({module})" for entry, module in plugins[full].items())
    return (
        f"`pytest --collect-only` over one test, {pytest}, {rounds} rounds; plugins of trivet[harness]: {found}\n"
        f"{table(rows)}\n\n{table(added)}"
    )


def plugins_of(python: Path) -> dict[str, str]:
    """Entry point and module of every plugin that pytest finds in an environment."""
    script = (
        "from importlib.metadata import entry_points; [print(e.name, e.module) for e in entry_points(group='pytest11')]"
    )
    return dict(line.split() for line in quiet(str(python), "-c", script).splitlines())


def environment(folder: Path, *requirements: str) -> Path:
    """A fresh environment's Python; the versions are those of trivet's own lock."""
    quiet(find_uv_bin(), "venv", "--quiet", "--python", sys.executable, str(folder))
    python = folder / "bin" / "python"
    given = ("--quiet", "--compile-bytecode", "--python", str(python), "--constraint", str(ROOT / "requirements.lock"))
    quiet(find_uv_bin(), "pip", "install", *given, *requirements)
    return python


def wheel(scratch: Path) -> Path:
    """trivet's wheel, built from a copy of the checkout so that the build leaves nothing in it."""
    source = scratch / "source"
    for name in quiet("git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    quiet(find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", str(scratch / "wheel"), str(source))
    (built,) = (scratch / "wheel").glob("*.whl")
    return built


def command(python: Path, plugins: Sequence[str] = ()) -> list[str]:
    """pytest without the plugins named."""
    without = [word for plugin in plugins for word in ("-p", f"no:{plugin}")]
    return [str(python), "-m", "pytest", "--collect-only", "-q", *without]


def see_what_is_loaded(side: Sequence[str], project: Path, plugins: Mapping[str, str], off: Sequence[str]) -> None:
    """A side whose plugin is imported though it is switched off, or not although it is on, measures something else."""
    script = "import sys, pytest; pytest.main(sys.argv[1:]); print('modules:', *sys.modules)"
    output = spend([side[0], "-c", script, *side[3:]], project).output
    loaded = set(output.rpartition("modules:")[2].split())
    for entry, module in plugins.items():
        if (module in loaded) == (entry in off):
            raise SystemExit(
                f"{' '.join(side)}: {module} is {'' if module in loaded else 'not '}imported\n{output[:2000]}"
            )


def ratios(spent: Sequence[Spent], base: Sequence[Spent]) -> list[float]:
    """Wall time in proportion to the same round's other side."""
    return [one.wall / other.wall for one, other in zip(spent, base, strict=True)]


def difference(more: Sequence[Spent], less: Sequence[Spent]) -> list[str]:
    """Wall and CPU milliseconds that ``more`` takes beyond ``less`` in the same round."""
    pairs = list(zip(more, less, strict=True))
    return [f"{median((getattr(a, unit) - getattr(b, unit)) * 1000 for a, b in pairs):.1f}" for unit in ("wall", "cpu")]


def quiet(*words: str) -> str:
    """The standard output of a command that must succeed."""
    return subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE).stdout
