"""Whatever stands in a file, reading it ends in subjects, errors or skipped paths."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.toolkit.ignore_comments import ignore_comments
from trivet.toolkit.kustomize import without_patches
from trivet.toolkit.markdown import code_blocks
from trivet.toolkit.subjects import ReadResult, companions, read
from trivet.toolkit.walking import Found, TextStream

WORDS = (
    *(
        "apiVersion: ",
        "v1",
        "serving.kserve.io/v1beta1",
        "kind: ",
        "InferenceService",
        "Secret",
        "List",
        "items:\n",
        "- ",
    ),
    *(
        "metadata: ",
        "{",
        "}",
        "[",
        "]",
        "name: ",
        "'",
        '"',
        "|\n",
        ": ",
        "\n",
        "  ",
        "\t",
        "---\n",
        "...\n",
        "# ",
        "&a ",
        "*a",
        "<<: ",
    ),
    *(
        "!!int ",
        "%YAML 1.2\n",
        "\0",
        "\r",
        "\u2028",
        "\ufeff",
        "$patch: delete",
        "{{ .Values.a }}",
        "{{.Name}}",
        "{% if a %}",
    ),
    *(
        "# trivet: ignore[a.b] c\n",
        "# Source: a/b\n",
        "pipelineInfo: ",
        "root: ",
        "```yaml\n",
        "```\n",
        "<<EOF\n",
        "EOF\n",
    ),
)
CONTENT = st.one_of(
    st.binary(max_size=200),
    st.lists(st.sampled_from(WORDS), max_size=40).map(lambda words: "".join(words).encode()),
)


@settings(max_examples=200, deadline=None)
@given(CONTENT)
def test_any_stream_is_read(content: bytes) -> None:
    found = read(TextStream("<stdin>", content))
    assert isinstance(found, ReadResult)
    for subject in (*found.subjects, *companions(TextStream("<stdin>", content))):
        assert subject.line(()) >= 1
        assert subject.line(("metadata", 0, "name")) >= 1
    for error in found.errors:
        assert str(error).startswith("<stdin>")
        assert error.remedy


@settings(max_examples=100, deadline=None)
@given(CONTENT)
def test_any_file_is_read(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        for name in ("a.yaml", "a.md", "kustomization.yaml"):
            path = Path(folder) / name
            path.write_bytes(content)
            for place in without_patches([Found(path)]):
                assert isinstance(read(place), ReadResult)


@settings(max_examples=200, deadline=None)
@given(CONTENT)
def test_any_page_has_blocks_and_comments_with_lines(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    lines = re.split(r"\r\n|\n|\r", text)  # what ends a line in CommonMark
    for before, block in code_blocks(text):
        assert before + block.count("\n") <= len(lines)
    for comment in ignore_comments(text):
        assert 1 <= comment.line <= len(text.splitlines())
        assert 1 <= comment.target <= len(text.splitlines())
