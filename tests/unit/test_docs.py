"""What the Markdown files name exists: files and headings that they link, paths of this repository, commands and options of ``trivet``."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from trivet.cli import main

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "contracts", "docs", "fixtures", "harness", "scenarios", "tests")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PROMPT = re.compile(r"^(?:\$ )?(?:\S+=\S+ )*(?:\.venv/bin/)?(?=trivet )")
_PLACEHOLDER = re.compile(r"[*?{}<>…]|\b[A-Z]+\b")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_only_what_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    problems = [*broken_links(page, text), *missing_paths(text), *wrong_commands(text)]
    assert not problems, f"{page.relative_to(ROOT)}:\n" + "\n".join(problems)


def broken_links(page: Path, text: str) -> Iterator[str]:
    """A sentence for each relative link to a file or heading that does not exist."""
    for link in _LINK.findall(_FENCE.sub("", text)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"link {link}: {target.relative_to(ROOT)} does not exist"
        elif anchor and anchor not in anchors(target):
            yield f"link {link}: no such heading; there are {', '.join(sorted(anchors(target)))}"


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub gives a page's headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def missing_paths(text: str) -> Iterator[str]:
    """A sentence for each path of this repository, in code spans, at which nothing exists; placeholders are left out."""
    for code in _CODE.findall(_FENCE.sub("", text)):
        if code.startswith(tuple(f"{folder}/" for folder in FOLDERS)) and not _PLACEHOLDER.search(code):
            path = code.split()[0].partition("::")[0]
            if not (ROOT / path).exists():
                yield f"path {code}: does not exist"


def wrong_commands(text: str) -> Iterator[str]:
    """A sentence for each ``trivet`` command line, in code spans and shell blocks, with an unknown command or option."""
    for line in command_lines(text):
        if problem := wrong_command(line):
            yield f"command {line}: {problem}"


def command_lines(text: str) -> Iterator[str]:
    """The command lines of ``trivet`` in a page, from the word after ``trivet`` to the end of that command."""
    for language, block in _FENCE.findall(text):
        if language in ("sh", "console"):
            for line in re.split(r"\n|&&|[|;]", block):
                if start := _PROMPT.match(line.strip()):
                    yield line.strip()[start.end() :].removeprefix("trivet ")
    for code in _CODE.findall(_FENCE.sub("", text)):
        for part in re.split(r"&&|(?<!\\)\||[;>]", code):
            if start := _PROMPT.match(part.strip()):
                yield part.strip()[start.end() :].removeprefix("trivet ")


def wrong_command(line: str) -> str:
    """What is wrong with a command line of ``trivet``; empty when it names known commands and options."""
    words = shlex.split(re.sub(r"[\[\]]", " ", line), comments=True)
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            return f"no command {name!r}{_nearest(name, command.commands)}"
        command = command.commands[name]
    known = {
        "--help",
        "-h",
        *(option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)),
    }
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("-") and option != "-" and option not in known:
            return f"{command.name} has no option {option}{_nearest(option, known)}"
    return ""


def _nearest(name: str, known: object) -> str:
    (match,) = difflib.get_close_matches(name, list(known), n=1) or [""]  # type: ignore[call-overload]
    return f"; did you mean {match}?" if match else ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a](nowhere.md)", "docs/nowhere.md does not exist"),
        ("[a](README.md#nowhere)", "no such heading"),
        ("`harness/nowhere.py`", "path harness/nowhere.py"),
        ("`trivet rum --stack current`", "no command 'rum'; did you mean run?"),
        ("```sh\n.venv/bin/trivet run --stak current  # it\n```\n", "run has no option --stak; did you mean --stack?"),
        ("```sh\ntrue && trivet stack lok x\n```\n", "no command 'lok'; did you mean lock?"),
        ("`trivet run [--stak S]`", "no option --stak"),
    ],
)
def test_a_page_that_names_something_else_is_noticed(text: str, problem: str) -> None:
    page = ROOT / "docs" / "README.md"
    (found,) = [*broken_links(page, text), *missing_paths(text), *wrong_commands(text)]
    assert problem in found


def test_command_lines_with_values_comments_and_placeholders_are_read() -> None:
    text = "`trivet run --report=out` `trivet lint PATH…` `trivet --version`\n```sh\n$ trivet up --stack current # a -x\n```\n"
    assert len(list(command_lines(text))) == 4
    assert not list(wrong_commands(text))
