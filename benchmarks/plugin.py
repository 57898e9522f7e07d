"""What trivet's plugin costs every ``pytest`` of an environment: start-up over one trivial test, beside pytest alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median

from sides import Spent, interleaved, spend, table
from uv import find_uv_bin

ROOT = Path(__file__).parents[1]

ALONE = "pytest alone"
FULL = "with trivet"
WITHOUT = {
    "… -p no:trivet": ("trivet",),
    "… -p no:hypothesispytest": ("hypothesispytest",),
    "… without both": ("trivet", "hypothesispytest"),
}
MODULES = {"trivet": "trivet.plugin", "hypothesispytest": "_hypothesis_pytestplugin"}
"""What pytest loads for each entry point."""


def measure(scratch: Path, rounds: int) -> str:
    """Two fresh environments, one with trivet's wheel and its dependencies; the same pytest in both."""
    pytest = f"pytest=={version('pytest')}"
    alone = environment(scratch / "alone", pytest)
    full = environment(scratch / "full", pytest, str(wheel(scratch)))
    project = scratch / "project"
    project.mkdir()
    (project / "test_one.py").write_text("def test_one():\n    pass\n", encoding="utf-8")
    sides = {ALONE: command(alone), FULL: command(full)}
    sides |= {name: command(full, plugins) for name, plugins in WITHOUT.items()}
    for name, plugins in {ALONE: tuple(MODULES), FULL: (), **WITHOUT}.items():
        see_what_is_loaded(sides[name], project, plugins)
    turns = interleaved({name: partial(spend, side, project) for name, side in sides.items()}, rounds)
    rows = [["", "wall ms", "CPU ms", "of pytest alone"]]
    for name, spent in turns.items():
        wall, cpu = (median(getattr(turn, unit) for turn in spent) * 1000 for unit in ("wall", "cpu"))
        rows.append([name, f"{wall:.0f}", f"{cpu:.0f}", f"{median(ratios(spent, turns[ALONE])):.2f}x"])
    costs = {
        "trivet's plugin": difference(turns["… -p no:hypothesispytest"], turns["… without both"]),
        "Hypothesis' plugin, a dependency": difference(turns["… -p no:trivet"], turns["… without both"]),
        "both": difference(turns[FULL], turns["… without both"]),
        "looking through more distributions": difference(turns["… without both"], turns[ALONE]),
    }
    told = [
        ["adds, by the median of the rounds", "wall ms", "CPU ms"],
        *([name, *cost] for name, cost in costs.items()),
    ]
    return f"`pytest --collect-only` over one test, {pytest}, {rounds} rounds\n{table(rows)}\n\n{table(told)}"


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


def see_what_is_loaded(side: Sequence[str], project: Path, missing: Sequence[str]) -> None:
    """A side whose plugin is imported though it is switched off, or not although it is on, measures something else."""
    script = "import sys, pytest; pytest.main(sys.argv[1:]); print('modules:', *sys.modules)"
    said = spend([side[0], "-c", script, *side[3:]], project).output
    loaded = set(said.rpartition("modules:")[2].split())
    for entry, module in MODULES.items():
        if (module in loaded) == (entry in missing):
            raise SystemExit(
                f"{' '.join(side)}: {module} is {'' if module in loaded else 'not '}imported\n{said[:2000]}"
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
