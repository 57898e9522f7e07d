"""``trivet fleet`` against what really happens: models by many writers, predicted by their files, then served in two runtimes.

Usage: ``python benchmarks/fleet_truth.py --folder DIR [--examples DIR…] [--seed N] [--writers …] [--kinds N] [--per-writer N]
[--without-server]``. Needs Docker. Takes about an hour on two cores, and less without a server.

1. Environments of writers are locked and built, and two stacks that know what their runtime holds: the lock of a shipped stack's runtime
   with the libraries that its image has besides (``known_runtime``).
2. Each writer logs models to a real MLflow server on PostgreSQL and S3: one of each flavor that it has, a random choice of the other
   kinds in ``fleet_models.py``, and of what examples in ``--examples`` fit, such as those of scikit-learn, XGBoost and LightGBM. It keeps
   what its models answer.
3. ``trivet fleet`` judges all of them for both stacks.
4. Each model is downloaded, served by each runtime as KServe starts it, in a process of its own, and asked for the same rows. With
   ``--without-server`` it is loaded and asked by ``mlflow.pyfunc`` in the runtime's environment instead (``fleet_ask.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from sides import table

from trivet.errors import PlatformError, TrivetError
from trivet.host.journal import Run, clean_leftovers
from trivet.host.processes import Processes, ServerFailed
from trivet.host.signals import unwinding_on_signals
from trivet.integration import TrackingApi, read_signature, v2_request, v2_values
from trivet.integration.model_files import download_files, locate_files
from trivet.model.stack import Stack
from trivet.stacks.environments import build_environment
from trivet.stacks.lock import lock_stack, resolve
from trivet.stacks.read import IMAGE_FILE, STACK_FILE, load_stack
from trivet.stacks.runtime_image import load_runtime_image, runtime_image_text
from trivet.stacks.uv import run_uv
from trivet.targets.local import limits
from trivet.targets.local.backing import Backing
from trivet.targets.local.servers import start_runtime, start_tracking
from trivet.toolkit.logs import first_exception

PYTHON = "3.11"
COMMON = ("boto3", "pip", "setuptools<81", "skops", "matplotlib", "pandas")


@dataclass(frozen=True)
class Writer:
    """What an environment requires, as of which day. No torch, tensorflow or prophet: their wheels take gigabytes, or are none."""

    cutoff: str
    requires: tuple[str, ...]


WRITERS: Mapping[str, Writer] = {
    "w2309": Writer(
        "2023-12-20",
        (
            *("mlflow==2.9.2", "scikit-learn==1.3.2", "numpy==1.26.2", "xgboost==1.7.6", "lightgbm==4.1.0"),
            *("catboost==1.2.2", "statsmodels"),
        ),
    ),
    "w2404": Writer(
        "2024-05-20",
        (
            *("mlflow==2.12.2", "scikit-learn==1.4.1.post1", "numpy==1.26.4", "xgboost==2.0.3", "lightgbm==4.3.0"),
            *("statsmodels", "spacy==3.7.4", "scipy<1.13"),
        ),
    ),
    "w2411": Writer(
        "2024-11-20",
        (
            *("mlflow==2.17.2", "scikit-learn==1.5.2", "numpy==1.26.4", "xgboost==2.1.2", "lightgbm==4.5.0"),
            *("catboost==1.2.7", "onnx==1.17.0", "onnxruntime"),
        ),
    ),
    "w2503": Writer(
        "2025-03-10",
        (
            *("mlflow==2.20.3", "scikit-learn==1.6.1", "numpy==2.2.3", "xgboost==2.1.4", "lightgbm==4.6.0"),
            "statsmodels",
        ),
    ),
    "w2509": Writer(
        "2025-10-05",
        (
            *("mlflow==3.4.0", "scikit-learn==1.7.2", "numpy==2.3.3", "xgboost==3.0.5", "lightgbm==4.6.0"),
            *("onnx", "onnxruntime"),
        ),
    ),
    "w2611": Writer(
        "2026-11-22", ("mlflow==3.17.2", "scikit-learn", "numpy", "xgboost", "lightgbm", "catboost", "statsmodels")
    ),
}

STACKS = ("2024.11-fixed", "current")
SERVED = ("mlserver-xgboost", "mlserver-lightgbm", "catboost", "onnx", "onnxruntime", "spacy")
"""What the image has beside the stack's runtime.lock, as far as a model here needs it: those of MLServer in its version."""
PINNED = ("xgboost", "lightgbm", "onnx", "onnxruntime", "spacy")
"""Of those, what takes the version of the image, where that is known."""

limits.RUNTIME = limits.TRACKING_SERVER = 900.0
"""Seconds: a busy machine must not look like a model that fails."""


# -- environments -----------------------------------------------------------------------------------------------------


def python_of(lock: Path) -> Path:
    """The interpreter of the environment of a lock, made once beside it: without bytecode, since little of it is imported."""
    made = lock.with_suffix("")
    if not (made / "complete").exists():
        run_uv(["venv", "--quiet", "--no-project", "--clear", "--python", PYTHON, str(made)], what=f"create {made}")
        command = ["pip", "sync", "--quiet", "--require-hashes", "--python", str(made / "bin" / "python"), str(lock)]
        run_uv(command, what=f"install {lock.name}")
        (made / "complete").touch()
    return made / "bin" / "python"


def writer_python(name: str, folder: Path) -> Path:
    """The interpreter of the writer's environment, whose lock is made once in ``folder``."""
    lock = folder / f"{name}.lock"
    if not lock.exists():
        requires = {"requires": (*WRITERS[name].requires, *COMMON), "python": PYTHON}
        lock.write_text(resolve(name, requires, WRITERS[name].cutoff, "fleet"), encoding="utf-8")
    return python_of(lock)


def known_runtime(name: str, folder: Path) -> Stack:
    """A stack like ``name`` whose runtime's packages are all known: those of its lock, with SERVED added."""
    made = folder / f"{name}-known"
    if not (made / "complete").exists():
        shutil.rmtree(made, ignore_errors=True)
        shipped = load_stack(name)
        shutil.copytree(shipped.folder, made)
        image = load_runtime_image(made / IMAGE_FILE)
        version = shipped.components["runtime"]
        added = [f"{one}=={version}" if one.startswith("mlserver-") else one for one in SERVED]
        pinned = [f"{one}=={image.packages[one]}" for one in PINNED if image.packages.get(one)]
        before, marker, after = (made / STACK_FILE).read_text(encoding="utf-8").partition("[roles.runtime]")
        after = re.sub(r"image_python = .*\n", "", after, count=1)
        texts = ", ".join(json.dumps(one) for one in [*added, *pinned])
        after = re.sub(r"requires = \[(.*?)\]", lambda found: f"requires = [{found[1]}, {texts}]", after, count=1)
        (made / STACK_FILE).write_text(before + marker + after, encoding="utf-8")
        lock_stack(made, roles=["runtime"])
        pins = load_stack(str(made)).roles["runtime"].pins
        (made / IMAGE_FILE).write_text(runtime_image_text(image, pins), encoding="utf-8")
        (made / "complete").touch()
    return load_stack(str(made))


# -- the registry -----------------------------------------------------------------------------------------------------


@contextmanager
def tracking_server(scratch: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """MLflow of the newest stack on PostgreSQL and S3: its URI, and the variables with which its clients reach the store."""
    stack, tracking = load_stack("2024.11-fixed"), load_stack("current")
    clean_leftovers()
    stop = threading.Event()
    backing = Backing(store="s3", database="postgresql", images="build")
    with (
        Run() as run,
        closing(Processes(run)) as processes,
        backing.open(stack, run, stop, lambda event: None) as parts,
    ):
        database, artifacts = parts
        url, variables = database.start(), artifacts.start()
        python = build_environment(tracking.roles["tracking"]).python
        _, uri = start_tracking(processes, python, environment=variables, database=url, root=artifacts.root)
        yield uri, variables


def log_models(uri: str, variables: Mapping[str, str], folder: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Let each writer log its models, and return what they keep of them: name, inputs, answers."""
    kept = folder / "logged.jsonl"
    kept.unlink(missing_ok=True)
    for writer in asked.writers:
        python = writer_python(writer, folder)
        environment = {
            **variables,
            "PATH": f"{python.parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "MLFLOW_TRACKING_URI": uri,
            "MPLBACKEND": "Agg",
            "GIT_PYTHON_REFRESH": "quiet",
        }
        chosen = random.Random(f"{asked.seed} {writer}")
        kinds = re.findall(r"@kind\ndef (\w+)", MODELS.read_text(encoding="utf-8"))
        picked = [*FLAVORS, *chosen.sample([one for one in kinds if one not in FLAVORS], asked.kinds)]
        _run([python, MODELS, "kinds", kept, writer, *picked], environment, folder / f"{writer}.log", 900)
        files = sorted(file for directory in asked.examples for file in directory.rglob("*.py") if _is_offline(file))
        chosen.shuffle(files)
        before = len(_lines(kept))
        if files:
            command = [python, MODELS, "examples", kept, writer, str(asked.per_writer), *files[: 4 * asked.per_writer]]
            _run(command, environment, folder / f"{writer}.log", 1800)
        print(f"{writer}: {len(_lines(kept)) - before} models of examples, and of {', '.join(picked)}", flush=True)
    return _lines(kept)


MODELS = Path(__file__).with_name("fleet_models.py")
FLAVORS = (
    *("catboost", "onnx_graph", "ordinary_least_squares", "spacy_categories"),
    *("xgboost_booster", "lightgbm_booster", "pyfunc_by_value"),
)
"""Kinds that every writer logs which has the library: one of each flavor beside scikit-learn."""


def _run(command: Sequence[str | Path], environment: Mapping[str, str], log: Path, seconds: float) -> None:
    with log.open("ab") as opened:
        try:
            subprocess.run(
                list(map(str, command)),
                env=dict(environment),
                stdout=opened,
                stderr=opened,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            opened.write(f"timed out: {command}\n".encode())


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _is_offline(file: Path) -> bool:
    """Whether an example fits something, and neither downloads data nor needs a cluster or a GPU."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return bool(re.search(r"\.(fit|train)\(", text)) and not re.search(
        r"fetch_|urlopen|dask|cuda|spark|distributed|optuna", text
    )


# -- what happens -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Happened:
    """``works``, ``fails`` or ``answers wrongly``, and how that was seen."""

    what: str
    detail: str = ""


def try_all(
    uri: str,
    entries: Sequence[Mapping[str, Any]],
    stacks: Sequence[Stack],
    folder: Path,
    *,
    side_by_side: int,
    without_server: bool,
) -> dict[str, Happened]:
    """Model and stack (``NAME STACK``) → what happens when the stack's runtime has it; also a line each in happened.jsonl."""
    for stack in stacks:
        python_of(stack.roles["runtime"].lock)  # once, before several threads ask for it
    tracking = TrackingApi(uri, retries=2, timeout=120)
    found: dict[str, Happened] = {}
    kept = (folder / "happened.jsonl").open("w", encoding="utf-8", buffering=1)
    with Run() as run, closing(Processes(run)) as processes, ThreadPoolExecutor(side_by_side) as pool:

        def one(entry: Mapping[str, Any]) -> None:
            version = tracking.get_model_version(entry["name"], "1")
            directory = folder / "models" / entry["name"]
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            files = locate_files(version, tracking)
            download_files(version, files.listed, directory, tracking)
            for stack in stacks:
                seen = ask(entry, directory, stack) if without_server else serve(entry, directory, stack, processes)
                found[f"{entry['name']} {stack.name}"] = seen
                kept.write(f"{json.dumps([entry['name'], stack.name, seen.what, seen.detail])}\n")

        for done in [pool.submit(one, entry) for entry in entries]:
            done.result()
    return found


def serve(entry: Mapping[str, Any], directory: Path, stack: Stack, processes: Processes) -> Happened:
    """Serve one model, and ask it for the rows that its writer's environment was asked for."""
    python = python_of(stack.roles["runtime"].lock)
    try:
        process, url = start_runtime(processes, python, stack, name="candidate", directory=directory)
    except ServerFailed as error:
        cause = first_exception(error.process.text())
        failed = re.search(r"Error|Exception|Interrupt", cause)
        return Happened("fails", cause) if failed else Happened("not asked", error.message)
    try:
        return answered(entry, directory, url)
    finally:
        process.stop()


def answered(entry: Mapping[str, Any], directory: Path, url: str) -> Happened:
    """What a server at ``url`` answers for the rows of ``entry``."""
    import requests

    mlmodel = yaml.load((directory / "MLmodel").read_text(encoding="utf-8"), yaml.CSafeLoader)
    try:
        signature = read_signature(mlmodel)
        body = v2_request(signature, entry["rows"])
    except (TrivetError, AttributeError) as error:
        return Happened("not asked", str(error))
    answer = requests.post(f"{url}/v2/models/candidate/infer", json=body, timeout=60)
    if not answer.ok:
        return Happened("fails", f"HTTP {answer.status_code}: {answer.text[:300]}")
    try:
        served = v2_values(answer.json())
    except PlatformError as error:
        return Happened("fails", error.message)
    return compared(served, entry["answers"])


ASK = Path(__file__).with_name("fleet_ask.py")


def ask(entry: Mapping[str, Any], directory: Path, stack: Stack) -> Happened:
    """Load one model in the environment of the stack's runtime, and ask it for the rows that its writer's environment was asked for."""
    python = python_of(stack.roles["runtime"].lock)
    environment = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": str(directory.parent),
        "GIT_PYTHON_REFRESH": "quiet",
    }
    try:
        done = subprocess.run(
            [python, ASK, directory],
            input=json.dumps(entry["rows"]),
            env=environment,
            capture_output=True,
            text=True,
            timeout=limits.RUNTIME,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Happened("not asked", str(error))
    if done.returncode:
        return Happened("not asked", f"exit code {done.returncode}: {done.stderr[-300:]}")
    result = json.loads(done.stdout.splitlines()[-1])
    return Happened("fails", result["error"]) if result["error"] else compared(result["answers"], entry["answers"])


def compared(answers: Any, expected: Any) -> Happened:
    """What the answers of a runtime are beside those of the writer's environment, None if that has none."""
    if expected is None:
        return Happened("works", "the writer's environment does not answer")
    if close(answers, expected):
        return Happened("works")
    return Happened("answers wrongly", f"{str(answers)[:120]} instead of {str(expected)[:120]}")


def close(one: Any, other: Any) -> bool:
    """Equal to a relative 1e-5: libraries of other versions add in another order, in single precision too."""
    one, other = _plain(one), _plain(other)
    if isinstance(other, list):
        if not isinstance(one, list):
            return len(other) == 1 and close(one, other[0])
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, list):
        return len(one) == 1 and close(one[0], other)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= 1e-5 * max(1.0, abs(one), abs(other))
    return bool(one == other)


def _plain(value: Any) -> Any:
    """A cell without its column's name; the entries of one that is a mapping, which MLServer 1.7.1 answers as JSON, without their names."""
    if isinstance(value, str) and value.startswith("{"):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, Mapping):
        return _plain(next(iter(value.values()))) if len(value) == 1 else list(value.values())
    return value


# -- the table --------------------------------------------------------------------------------------------------------


def predict(uri: str, stack: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Model → what ``trivet fleet`` says of it."""
    command = [
        str(Path(sys.executable).with_name("trivet")),
        "fleet",
        "--mlflow",
        uri,
        "--stack",
        stack,
        "--format",
        "json",
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ""}
    )
    if done.returncode not in (0, 1, 2):
        raise SystemExit(done.stderr)
    return {model["name"]: model for model in json.loads(done.stdout)["models"]}


VERDICTS = ("fine", "unsupported", "unknown", "breaks")
OUTCOMES = ("works", "fails", "answers wrongly")


def described(title: str, pairs: Sequence[tuple[str, str]]) -> str:
    """The table of predicted and happened, and the two shares."""
    counts = Counter(pairs)
    rows = [["predicted", *OUTCOMES]]
    rows += [[verdict, *(str(counts[verdict, outcome]) for outcome in OUTCOMES)] for verdict in VERDICTS]
    bad = [verdict for verdict, outcome in pairs if outcome in ("fails", "answers wrongly")]
    good = [verdict for verdict, outcome in pairs if outcome == "works"]
    shares = [
        f"of {len(bad)} that fail or answer wrongly, {_share(bad, 'breaks')} are called breaks, "
        f"and {100 - _percent(bad, 'fine'):.1f} % are not called fine",
        f"of {len(good)} that work, {_share(good, 'breaks')} are called breaks, {_share(good, 'unknown')} unknown, "
        f"{_share(good, 'unsupported')} unsupported",
    ]
    return "\n".join([f"{title}, {len(pairs)} servings", table(rows), *shares])


def _percent(verdicts: Sequence[str], wanted: str) -> float:
    return 100 * list(verdicts).count(wanted) / len(verdicts) if verdicts else 0.0


def _share(verdicts: Sequence[str], wanted: str) -> str:
    return f"{_percent(verdicts, wanted):.1f} %"


def main() -> None:
    """Make the fleet, judge it, serve it, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="keeps locks, models, and results.json")
    parser.add_argument("--examples", type=Path, nargs="*", default=[], help="folders with examples in Python")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writers", nargs="*", choices=WRITERS, default=list(WRITERS))
    parser.add_argument("--kinds", type=int, default=5, help="further kinds of models for each writer")
    parser.add_argument("--per-writer", type=int, default=4, help="models of examples for each writer")
    parser.add_argument("--side-by-side", type=int, default=2, help="models that are served at once")
    parser.add_argument(
        "--without-server",
        action="store_true",
        help="load and ask each model with mlflow.pyfunc in the runtime's environment, instead of serving it with MLServer",
    )
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    asked.examples = [each.resolve() for each in asked.examples]
    stacks = [known_runtime(name, folder) for name in STACKS]
    with tracking_server(folder) as (uri, variables):
        entries = log_models(uri, variables, folder, asked)
        predictions = {stack.name: predict(uri, str(stack.folder), folder) for stack in stacks}
        happened = try_all(
            uri, entries, stacks, folder, side_by_side=asked.side_by_side, without_server=asked.without_server
        )
    results = []
    for entry in entries:
        for stack in stacks:
            seen = happened[f"{entry['name']} {stack.name}"]
            model = predictions[stack.name][entry["name"]]
            results.append(
                {
                    "model": entry["name"],
                    "flavors": model["flavors"],
                    "stack": stack.name,
                    "happened": seen.what,
                    "detail": seen.detail,
                    "own": entry["error"],
                    "predicted": model["verdict"],
                    "reasons": [reason["message"] for reason in model["reasons"]],
                }
            )
    (folder / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    report(results)


def report(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the tables of what was asked, and each disagreement."""
    asked = [one for one in results if one["happened"] in OUTCOMES]
    flavors = {flavor for one in asked for flavor in one["flavors"]}
    print(f"{date.today()}: {len({one['model'] for one in asked})} models of the flavors {', '.join(sorted(flavors))}")
    for one in results:
        wrong = (one["predicted"] == "breaks") == (one["happened"] == "works")
        missed = one["predicted"] == "fine" and one["happened"] != "works"
        if wrong or missed or one["happened"] not in OUTCOMES:
            print(f"{one['model']} on {one['stack']}: {one['happened']} ({one['detail'][:200]})")
            print(f"    predicted: {one['predicted']}: {'; '.join(one['reasons'])[:200]}")
    for title in sorted({one["stack"] for one in asked}):
        pairs = [(one["predicted"], one["happened"]) for one in asked if one["stack"] == title]
        print(described(title, pairs))
    print(described("both", [(one["predicted"], one["happened"]) for one in asked]))


if __name__ == "__main__":
    with unwinding_on_signals():
        main()
