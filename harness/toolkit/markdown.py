"""The YAML and JSON in the code blocks of a Markdown page, each with its line. Judges nothing."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

YAML = ("yaml", "yml", "json")
SHELL = ("", "bash", "console", "sh", "shell", "shell-session", "zsh")
_HERE = re.compile(r"""<<-?[ \t]*['"]?(\w+)""")


def code_blocks(text: str) -> Iterator[tuple[int, str]]:
    """Each block of YAML or JSON, and each here-document in a block for a shell (``kubectl apply -f - <<EOF``).

    The number of lines of the page before its first, and its text.
    """
    from markdown_it import MarkdownIt  # loaded where there is a page

    for token in MarkdownIt("commonmark").parse(text):
        if token.type != "fence" or token.map is None:
            continue
        language = re.split(r"[\s{,:]", token.info.strip().lower())[0]
        before = token.map[0] + 1
        if language in YAML:
            yield before, token.content
        elif language in SHELL:
            for number, block in _here_documents(token.content):
                yield before + number, block


def _here_documents(text: str) -> Iterator[tuple[int, str]]:
    """The number of lines before each here-document, and its text."""
    lines = text.split("\n")
    ends: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        ends.setdefault(line.strip(" \t"), []).append(number)
    number = 0
    while number < len(lines):
        for word in _HERE.findall(lines[number]):
            after = ends.get(word, [])
            if (index := bisect_right(after, number)) < len(after):
                yield number + 1, "".join(f"{line}\n" for line in lines[number + 1 : after[index]])
                number = after[index]
                break
        number += 1
