"""The YAML and JSON in the code blocks of a Markdown page, each with its line. Judges nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

YAML = ("yaml", "yml", "json")
SHELL = ("", "bash", "console", "sh", "shell", "shell-session", "zsh")
_HERE_DOCUMENT = re.compile(
    r"""<<-?[ \t]*['"]?(?P<end>\w+)['"]?[^\n]*\n(?P<text>.*?)^[ \t]*(?P=end)[ \t]*$""", re.DOTALL | re.MULTILINE
)


def code_blocks(text: str) -> Iterator[str]:
    """The text of each block of YAML or JSON, and of each here-document in a block for a shell (``kubectl apply -f - <<EOF``).

    Empty lines stand before it, so that its lines have the numbers that they have in the page.
    """
    from markdown_it import MarkdownIt  # loaded where there is a page

    for token in MarkdownIt("commonmark").parse(text):
        if token.type != "fence" or token.map is None:
            continue
        language = re.split(r"[\s{,:]", token.info.strip().lower())[0]
        before = token.map[0] + 1
        if language in YAML:
            yield "\n" * before + token.content
        elif language in SHELL:
            for match in _HERE_DOCUMENT.finditer(token.content):
                yield "\n" * (before + token.content.count("\n", 0, match.start("text"))) + match["text"]
