"""Random inputs for ``trivet lint``, by the million. Run by hand; not part of the test suite.

    python tests/stress/lint_inputs.py --inputs 1000000 --seed 1 [--keep DIRECTORY]

Each batch of inputs is made from ``SEED:BATCH`` and linted in this process as one call of ``trivet lint`` with every static contract:
bytes, soups of YAML's tokens, manifests and objects beside them, compiled pipelines with step code, model directories with pickles,
Markdown pages, kustomizations, ignore comments; a baseline, and all report formats of every tenth batch. Changed are bytes, lines,
words, and single values of documents.

An input fails when lint raises, when a check raises (a finding that is an ERROR), when an error or its remedy is empty, when it alone
takes more than ``SECONDS`` of CPU, or when the process grows by more than ``MEGABYTES``. Failing inputs are printed, and kept in
DIRECTORY; ``--batch N`` repeats one batch. The exit status is 1 when any failed.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import re
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract_examples import test_static_model_files as model_files
from contract_examples import test_static_pipeline_spec as pipeline_spec
from contract_examples import test_static_pipelines as pipelines
from contract_examples.pickles import LINEAR, pickled
from differential.mutations import FIELDS, OTHER_TYPES, VALUES
from differential.sound import sound

from trivet.engine.lint import Deviation, LintResult, lint
from trivet.engine.registry import Registry
from trivet.errors import TrivetError, UsageError
from trivet.model.contract import Contract
from trivet.model.outcome import Outcome
from trivet.model.platform_config import PlatformConfig
from trivet.model.stack import Stack
from trivet.render.baseline import read_baseline
from trivet.render.linting import LintText
from trivet.stacks.read import load_stack
from trivet.toolkit.walking import TextStream

BATCH = 50
SECONDS = 5.0
"""Of CPU for one input. The largest that is made has some ten thousand values."""
MEGABYTES = 300
"""What the process may grow by over its size after the first batches."""

RULES = yaml.safe_load((Path(__file__).parents[1] / "contract_examples/validation_rules.yaml").read_text("utf-8"))
OBJECTS = [
    *(one for name in ("2024.11-fixed", "current") for one in sound(load_stack(name))),
    *(yaml.safe_load(text.replace("MODE", "Serverless")) for text in RULES["bases"].values()),
]
PIPELINES = [
    list(yaml.safe_load_all(text))
    for text in (pipeline_spec.SOUND, pipelines.pipeline(), pipelines.pipeline(field="args", cached=True, given=False))
]
TEXTS = [
    *(yaml.safe_dump(one, sort_keys=False) for one in OBJECTS),
    *(yaml.safe_dump_all(one, sort_keys=False) for one in PIPELINES),
    pipeline_spec.SOUND,
    *model_files.TEXTS.values(),
]
COMPONENT_CODE = (pipeline_spec.SOURCE, pipelines.INJECTED)

ODD: tuple[Any, ...] = (
    *OTHER_TYPES,
    *(
        1e400,
        -1e400,
        float("nan"),
        10**30,
        10**400,
        -(2**63),
        2**64,
        "9" * 5000,
        "1e9999",
        "²",
        "\0",
        "\u2028",
        "é" * 300,
    ),
    *(
        "a" * 70_000,
        "../" * 50,
        "/",
        "..",
        "${x}",
        "{{x}}",
        "$(A)",
        "{{$.inputs.parameters['x']}}",
        "https://[x",
        "s3://",
    ),
    *("2024-01-01", "y", "~", "*a", "&a", "!!int", "<<", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
    *([[[[[[]]]]]], {"a": {"a": {"a": {}}}}, [{}] * 200, {f"k{n}": n for n in range(200)}, ["x"] * 500, "(a+)+$" * 20),
)
KEYS = (
    *VALUES,
    *FIELDS,
    "<<",
    "",
    "x",
    "$patch",
    "kind",
    "apiVersion",
    "metadata",
    "spec",
    "items",
    "status",
    "y",
    "1",
    "0o",
    "null",
)
TOKENS = (
    *(
        "apiVersion: ",
        "serving.kserve.io/v1beta1",
        "v1",
        "kind: ",
        "InferenceService",
        "Secret",
        "List",
        "items:\n",
        "- ",
        "? ",
    ),
    *(
        "metadata: ",
        "name: ",
        "spec: ",
        "predictor: ",
        "model: ",
        "storageUri: ",
        "s3://a/b",
        "flavors: ",
        "pipelineInfo: ",
        "root: ",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "'",
        '"',
        "|",
        ">",
        "|-2\n",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "\t",
        "\r\n",
        "\r",
        "---\n",
        "...\n",
    ),
    *(
        "# ",
        "&a ",
        "*a",
        "<<: *a",
        "!!int ",
        "!!binary ",
        "!x ",
        "%YAML 1.2\n",
        "%TAG ! x\n",
        "\0",
        "\x07",
        "\u2028",
        "\ufeff",
        "\x85",
    ),
    *(
        "0o",
        "0x1F",
        "1e3",
        "1_000",
        "yes",
        "~",
        ".inf",
        "2024-11-15",
        "\\u0041",
        "\\ud800",
        "\\x00",
        "𝄞",
        "é",
        "$patch: delete\n",
    ),
    *(
        "{{ .Values.a }}",
        "{{.Name}}",
        "{% if a %}",
        "# trivet: ignore[manifests.resources_are_set] why\n",
        "# trivet: ignore\n",
    ),
    *(
        "# trivet: ignore[*, a.b,,] x\n",
        "# Source: a/b\n",
        "```yaml\n",
        "```\n",
        "~~~json\n",
        "    ",
        "> ",
        "cat <<EOF\n",
        "EOF\n",
    ),
    *(
        "import mlflow\n",
        "mlflow.set_tracking_uri(",
        "os.environ['A'] = ",
        "def f(x):\n",
        "f'{x!r:>{y}}'",
        "lambda: ",
        "**",
        "%s" * 5,
    ),
)
MODEL_FILES = (*model_files.TEXTS, "model.pkl", "data/model.skops", "python_model.pkl", "code/a.py", "MLmodel")

Input = bytes | dict[str, bytes]
"""The content of a stream, or of the files of a directory."""


class Random(random.Random):
    """What inputs are made with."""

    def soup(self) -> str:
        """Tokens in any order."""
        return "".join(self.choices(TOKENS, k=self.randrange(1, 60)))

    def changed_bytes(self, content: bytes) -> bytes:
        """``content`` with some bytes changed, removed, doubled or added."""
        made = bytearray(content)
        for _ in range(self.randrange(1, 6)):
            at, length = self.randrange(len(made) + 1), self.choice((0, 1, 1, 2, 8, 64, 512))
            piece = self.choice(
                (b"", self.randbytes(length), bytes(made[at : at + length]) * 2, self.choice(TOKENS).encode())
            )
            made[at : at + length] = piece
        return bytes(made)

    def changed_lines(self, text: str) -> str:
        """``text`` with some lines removed, doubled, moved, indented, or with another word."""
        lines = text.split("\n")
        for _ in range(self.randrange(1, 6)):
            at = self.randrange(len(lines))
            match self.randrange(8):
                case 0:
                    lines[at] = ""
                case 1:
                    lines.insert(at, lines[at])
                case 2:
                    lines.insert(self.randrange(len(lines)), lines.pop(at))
                case 3:
                    lines[at] = self.choice((" ", "  ", "\t", "- ")) + lines[at]
                case 4:
                    lines[at] = lines[at][self.randrange(1, 4) :]
                case 5:
                    lines[at] += self.choice(TOKENS)
                case 6:
                    lines[at] = re.sub(r"\w+", lambda _: str(self.choice(KEYS)), lines[at], count=1)
                case _:
                    lines[at] = lines[at].partition(":")[0] + ": " + str(self.choice(ODD))
            lines = lines or [""]
        return "\n".join(lines)

    def changed_value(self, document: Any) -> Any:
        """``document`` with one to four values replaced, removed, renamed, added, or put elsewhere."""
        made = copy.deepcopy(document)
        for _ in range(self.choice((1, 1, 1, 2, 3, 4))):
            place = made
            while True:
                keys = list(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    break
                key = self.choice(keys)
                below = place[key]
                if isinstance(below, dict | list) and below and self.random() < 0.85:
                    place = below
                    continue
                self._change(place, key)
                break
        return made

    def _change(self, place: Any, key: Any) -> None:
        old, odd = place[key], copy.deepcopy(self.choice(ODD))
        match self.randrange(9):
            case 0:
                del place[key]
            case 1 if isinstance(place, dict):
                place[self.choice(KEYS)] = place.pop(key)
            case 2 if isinstance(place, dict):
                place[str(key)[:-1]] = old
            case 3:
                place[key] = [old]
            case 4:
                place[key] = {"value": old}
            case 5 if isinstance(place, dict):
                fields = FIELDS[self.choice(tuple(FIELDS))]
                name = self.choice(tuple(fields))
                place[name] = copy.deepcopy(self.choice(fields[name]))
            case 6:
                place[key] = copy.deepcopy(self.choice(VALUES.get(str(key), ODD)))
            case 7 if isinstance(old, str):
                place[key] = self.changed_lines(old)
            case _:
                place[key] = odd

    def written(self, document: Any) -> bytes:
        """``document`` as JSON, or as YAML in one of its styles."""
        if self.random() < 0.7:
            return json.dumps(document, indent=self.choice((None, None, 1))).encode()
        style = self.choice((None, None, True, False))
        try:
            text = yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=style)
        except (yaml.YAMLError, ValueError, UnicodeEncodeError):
            return json.dumps(document).encode()
        return str(text).encode("utf-8", "replace")


def any_bytes(draw: Random) -> Input:
    return (
        draw.randbytes(draw.randrange(300)) if draw.random() < 0.3 else draw.changed_bytes(draw.choice(TEXTS).encode())
    )


def any_tokens(draw: Random) -> Input:
    return draw.soup().encode()


def any_lines(draw: Random) -> Input:
    return draw.changed_lines(draw.choice(TEXTS)).encode("utf-8", "replace")


def any_object(draw: Random) -> Input:
    return draw.written(draw.changed_value(draw.choice(OBJECTS)))


def any_stream(draw: Random) -> Input:
    listed = [draw.changed_value(one) for one in draw.choices(OBJECTS, k=draw.randrange(2, 5))]
    if draw.random() < 0.5:
        return draw.written({"apiVersion": "v1", "kind": "List", "items": listed})
    return b"\n---\n".join(map(draw.written, listed))


def any_pipeline(draw: Random) -> Input:
    documents = [draw.changed_value(one) for one in draw.choice(PIPELINES)]
    return b"\n---\n".join(map(draw.written, documents))


def any_step_code(draw: Random) -> Input:
    code = draw.choice(COMPONENT_CODE)
    code = (
        draw.soup()
        if draw.random() < 0.3
        else draw.changed_lines(code.replace(draw.choice(code.split()), draw.choice(TOKENS), 1))
    )
    return pipelines.pipeline(code, field=draw.choice(("command", "args"))).encode("utf-8", "replace")


def any_comments(draw: Random) -> Input:
    lines = draw.choice(TEXTS).split("\n")
    for _ in range(draw.randrange(1, 5)):
        ids = draw.choice(
            ("[a]", "[manifests.resources_are_set]", "[paths.*]", "", "[", "[]", "[,]", f"[{draw.soup()}]")
        )
        comment = f"{draw.choice(('# ', '#', ' # '))}trivet: ignore{ids} {draw.choice(('', 'why', draw.soup()))}"
        at = draw.randrange(len(lines))
        lines[at : at + draw.choice((0, 1))] = [draw.choice((lines[at], "")) + comment]
    return "\n".join(lines).encode("utf-8", "replace")


def any_bomb(draw: Random) -> Input:
    match draw.randrange(5):
        case 0:
            width, depth = draw.randrange(2, 12), draw.randrange(2, 9)
            names = [f"a{n}" for n in range(depth)]
            lines = [f"{names[0]}: &{names[0]} [{', '.join('x' * width)}]"]
            lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * width)}]" for a, b in pairwise(names)]
            return "\n".join([draw.choice(("", "kind: InferenceService", "<<: *a0")), *lines]).encode()
        case 1:
            deep = draw.randrange(50, 3000)
            return (draw.choice(("[", "{a: ", "- ", "? ", "- - ", "!x [", "&a [")) * deep).encode()
        case 2:
            return draw.choice((b"a", b"\n", b" ", b"\t", b"-", b"#", b":", b"'", b"\0", b"- ")) * draw.randrange(
                20_000
            )
        case 3:
            key = draw.choice(("a" * 1200, "? " * 40, "'" * 999))
            return f"{key}: {draw.choice(ODD)}\n".encode("utf-8", "replace") * draw.randrange(1, 40)
        case _:
            service = draw.choice([one for one in OBJECTS if one["kind"] == "InferenceService"])
            wide = copy.deepcopy(service)
            env = [{"name": f"A{n % 40}", "value": "b"} for n in range(draw.randrange(1500))]
            next(iter(wide["spec"].values()))["volumes"] = env
            return json.dumps(wide).encode()


def any_page(draw: Random) -> Input:
    blocks = [
        f"{draw.choice(('```', '~~~', '   ```', '> ```'))}{draw.choice(('yaml', 'json', '', 'sh', 'yaml {a=b}'))}\n{text}\n```\n"
        for text in (draw.changed_lines(draw.choice(TEXTS)), draw.soup(), f"cat <<EOF\n{draw.choice(TEXTS)}EOF")
    ]
    draw.shuffle(blocks)
    page = draw.soup().join(blocks)
    return {"page.md": page.encode("utf-8", "replace")}


def any_kustomization(draw: Random) -> Input:
    text = "resources: [a.yaml]\npatches: [{path: a.yaml}]\npatchesStrategicMerge: [b.yaml, ../a.yaml]\n"
    service = draw.choice(TEXTS).encode()
    return {
        draw.choice(("kustomization.yaml", "Kustomization")): draw.changed_lines(text).encode("utf-8", "replace"),
        "a.yaml": service,
    }


def any_model(draw: Random) -> Input:
    files: dict[str, bytes] = {name: text.encode() for name, text in model_files.TEXTS.items()}
    files["model.pkl"] = LINEAR
    for _ in range(draw.choice((1, 1, 2, 3))):
        name = draw.choice(MODEL_FILES)
        match draw.randrange(4):
            case 0:
                files[name] = draw.changed_bytes(files.get(name, b""))
            case 1 if name in model_files.TEXTS:
                files[name] = draw.changed_lines(model_files.TEXTS[name]).encode("utf-8", "replace")
            case 2:
                files[name] = draw.changed_bytes(
                    pickled("a:b", *draw.choices(("numpy:x", "sklearn.a:B", ":", "a"), k=3), sklearn="1.5.2")
                )
            case _:
                document = yaml.safe_load(model_files.MLMODEL)
                signature = {
                    "inputs": '[{"type": "double", "name": "a"}]',
                    "outputs": draw.choice(('[{"type": "long"}]', "[", None)),
                }
                document["signature"] = draw.changed_value(signature)
                files["MLmodel"] = draw.written(draw.changed_value(document))
    return files


MAKERS: Sequence[tuple[Callable[[Random], Input], int]] = (
    (any_bytes, 14),
    (any_tokens, 16),
    (any_lines, 14),
    (any_object, 20),
    (any_stream, 4),
    (any_pipeline, 6),
    (any_step_code, 5),
    (any_comments, 7),
    (any_bomb, 2),
    (any_page, 4),
    (any_kustomization, 2),
    (any_model, 6),
)
"""What makes inputs, and in which shares."""


class Judge:
    """One call of lint per batch, in the directory ``scratch``."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._registry = Registry()
        self._contracts: list[Contract] = [one for one in self._registry.contracts.values() if one.static]
        self._stacks: list[Stack] = [load_stack(name) for name in ("2024.11", "current")]
        self._platforms = [
            None,
            PlatformConfig(),
            PlatformConfig(default_deployment_mode="RawDeployment", runtimes=("own",)),
        ]

    def path(self, name: str, made: Input) -> Path | TextStream:
        """What lint is called with for an input."""
        if isinstance(made, bytes):
            return TextStream(name, made)
        folder = self._scratch / name
        for file, content in made.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
        return folder / "page.md" if "page.md" in made else folder

    def judged(self, inputs: dict[str, Input], number: int) -> tuple[list[str], float]:
        """What is wrong with one call over ``inputs``, and the seconds of CPU that lint and its reports took."""
        stack, platform = self._stacks[number % 2], self._platforms[number % 3]
        text, emitted = LintText(), list[Sequence[Deviation]]()
        try:
            paths = [self.path(name, made) for name, made in inputs.items()]
            began = time.process_time()
            result = lint(paths, self._contracts, stack, platform, markdown=True, emit=emitted.append)
            for deviations in emitted:
                text.lines(deviations)
            text.summary(result)
            wrong = [
                f"{one.id}: {finding.message} {finding.location}\n{''.join(each.text for each in finding.evidence)}"
                for one in result.report.contracts
                for finding in one.findings
                if finding.outcome is Outcome.ERROR
            ]
            wrong += [
                f"error without remedy: {error}" for error in result.errors if not (error.message and error.remedy)
            ]
            every = number % 10 == 0
            formats = (
                {name: writer.write(result.report) for name, writer in self._registry.writers.items()} if every else {}
            )
            seconds = time.process_time() - began
            if every:
                wrong += self._baseline(formats["json"], Random(number), result)
            return wrong, seconds
        finally:
            for one in self._scratch.iterdir():
                shutil.rmtree(one, ignore_errors=True) if one.is_dir() else one.unlink()

    def _baseline(self, report: str, draw: Random, result: LintResult) -> list[str]:
        """A report that is a baseline is read, and one that was changed is read or refused."""
        file = self._scratch / "baseline.json"
        file.write_text(report, encoding="utf-8")
        accepted = len(read_baseline(file))
        deviations = sum(f.outcome.deviates for one in result.report.contracts for f in one.findings)
        errors = sum(f.outcome is Outcome.ERROR for one in result.report.contracts for f in one.findings)
        wrong = (
            []
            if accepted == deviations - errors
            else [f"the baseline has {accepted} of {deviations - errors} findings"]
        )
        document = json.loads(report)
        for _ in range(20):
            content = (
                draw.changed_bytes(report.encode())
                if draw.random() < 0.5
                else json.dumps(draw.changed_value(document)).encode()
            )
            file.write_bytes(content)
            try:
                read_baseline(file)
            except UsageError as error:
                if not error.remedy:
                    wrong.append(f"refused without a remedy: {error}")
        return wrong


class Memory(threading.Thread):
    """Watches the size of this process. While it runs, lint starts no processes of its own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process()
        self.now = self.peak = self._process.memory_info().rss
        self.start()

    def run(self) -> None:
        while True:
            self.now = self._process.memory_info().rss
            self.peak = max(self.peak, self.now)
            time.sleep(0.1)


def main() -> int:
    """Make, lint and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first batch")
    parser.add_argument("--batch", type=int, help="only this batch")
    parser.add_argument("--keep", type=Path, help="a directory for failing inputs")
    asked = parser.parse_args()
    numbers = [asked.batch] if asked.batch is not None else range(asked.first, asked.first + -(-asked.inputs // BATCH))
    makers, weights = zip(*MAKERS, strict=True)
    counts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    memory = Memory()
    with tempfile.TemporaryDirectory() as scratch:
        judge = Judge(Path(scratch))
        base, began = memory.now, time.monotonic()
        slowest = 0.0
        for number in numbers:
            draw = Random(f"{asked.seed}:{number}")
            inputs: dict[str, Input] = {}
            for index, maker in enumerate(draw.choices(makers, weights, k=BATCH)):
                inputs[f"{maker.__name__}-{number}-{index}"] = maker(draw)
                counts[maker.__name__] += 1
            memory.peak = memory.now
            found, seconds = _problems(judge, inputs, number)
            if number - numbers[0] < 20:
                base = max(base, memory.now)
            if seconds > SECONDS or found or memory.peak > base + MEGABYTES * 1e6:
                for name, made in inputs.items():
                    alone, took = _problems(judge, {name: made}, number)
                    slowest = max(slowest, took)
                    if took > SECONDS:
                        alone.append(f"took {took:.1f} s of CPU")
                    for problem in alone or []:
                        failures[problem.splitlines()[-1]] += 1
                        if failures[problem.splitlines()[-1]] <= 3:
                            print(f"\n{name}: {problem}", flush=True)
                            _keep(asked.keep, name, made)
                if memory.peak > base + MEGABYTES * 1e6:
                    failures["memory"] += 1
                    print(
                        f"\nbatch {number} took the process from {base / 1e6:.0f} to {memory.peak / 1e6:.0f} MB",
                        flush=True,
                    )
            done = sum(counts.values())
            if number % 100 == 99 or number == numbers[-1]:
                rate = done / (time.monotonic() - began)
                print(
                    f"{done:,} inputs, {rate:.0f} a second, {memory.now / 1e6:.0f} MB, {failures.total()} failures, "
                    f"slowest input looked at {slowest:.2f} s",
                    flush=True,
                )
    print(", ".join(f"{number:,} {name}" for name, number in counts.items()))
    for problem, times in failures.most_common():
        print(f"{times} × {problem}")
    return 1 if failures else 0


def _problems(judge: Judge, inputs: dict[str, Input], number: int) -> tuple[list[str], float]:
    """What is wrong with one call of lint, and the seconds of CPU that it took."""
    began = time.process_time()
    try:
        return judge.judged(inputs, number)
    except TrivetError as error:
        found = [f"raised {type(error).__name__}: {error}"]
    except Exception:
        found = [traceback.format_exc()]
    return found, time.process_time() - began


def _keep(folder: Path | None, name: str, made: Input) -> None:
    if folder is None:
        return
    for file, content in made.items() if isinstance(made, dict) else [(f"{name}.yaml", made)]:
        target = folder / name / file if isinstance(made, dict) else folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())
