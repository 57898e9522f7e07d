"""The YAML and JSON in the code blocks of a Markdown page, each with its line. Judges nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

YAML = ("yaml", "yml", "json")
SHELL = ("", "bash", "console", "sh", "shell", "shell-session", "zsh")
_HERE_DOCUMENT = re.compile(
    r"""<<-?[ \t]*['"]?(?P<end>\w+)['"]?[^\n]*\n(?P<text>.*?)^[ \t]*(?P=end)[ \t]*$""", re.DOTALL | re.MULTILINE
)


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
            for match in _HERE_DOCUMENT.finditer(token.content):
                yield before + token.content.count("\n", 0, match.start("text")), match["text"]
