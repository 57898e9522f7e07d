"""Code blocks of Markdown pages are judged where they stand."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from trivet.model.subjects import Manifest, Resource
from trivet.toolkit.markdown import code_blocks
from trivet.toolkit.subjects import companions, read
from trivet.toolkit.walking import Found, places

PAGE = """\
# A service

```yaml
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: first}
```

1. Apply it:

   ```bash
   kubectl apply -f - <<EOF
   apiVersion: serving.kserve.io/v1beta1
   kind: InferenceService
   metadata: {name: second}
   EOF
   ```

~~~~yml title="a secret"
apiVersion: v1
kind: Secret
metadata: {name: third}
~~~~

```python
kind = "InferenceService"
```

    kind: not a fence
"""


def test_blocks_keep_the_lines_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    found = read(Found(tmp_path / "page.md"))
    assert [
        (subject.name, subject.line(("metadata",))) for subject in found.subjects if isinstance(subject, Resource)
    ] == [("first", 6), ("second", 15), ("third", 22)]
    assert found.errors == ()
    (secret,) = companions(Found(tmp_path / "page.md"))
    assert (secret.name, secret.line(())) == ("third", 20)


def test_pages_are_read_on_request_or_when_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    page = Found(tmp_path / "page.md")
    assert list(places([tmp_path])) == []
    assert list(places([tmp_path], markdown=True)) == [page]
    (named,) = places([tmp_path / "page.md"])
    assert isinstance(read(named).subjects[0], Manifest)


def test_a_part_of_a_manifest_on_a_page_is_not_judged(tmp_path: Path) -> None:
    part = "spec:\n  predictor:\n    model: {args: [--backend=huggingface]}\n"
    (tmp_path / "page.md").write_text(f"```yaml\n{part}```\n")
    (tmp_path / "part.yaml").write_text(part)
    found = read(Found(tmp_path / "page.md"))
    assert (found.subjects, found.others) == ((), ("document without a kind",))
    assert len(read(Found(tmp_path / "part.yaml")).subjects) == 1


@pytest.mark.parametrize(
    ("block", "errors", "skipped"),
    [("a: [1", 0, 1), ("kind: InferenceService\na: [1", 1, 0), ("kind: InferenceService\na: {{ .Values.a }}", 0, 1)],
)
def test_a_broken_block_matters_only_if_it_shows_a_manifest(
    tmp_path: Path, block: str, errors: int, skipped: int
) -> None:
    (tmp_path / "page.md").write_text(f"```yaml\n{block}\n```\n")
    found = read(Found(tmp_path / "page.md", named=True))
    assert (len(found.errors), len(found.skipped)) == (errors, skipped)
    if errors:
        assert "page.md:4:" in str(found.errors[0])


@pytest.mark.parametrize("text", ["", "```", "```yaml", "```sh\ncat <<EOF\nno end\n```", "\x00\ud800"])
def test_pages_that_hold_nothing_hold_no_block(text: str) -> None:
    assert [block for _, block in code_blocks(text) if block.strip()] == []


def test_comments_and_broken_places_have_the_lines_of_the_page(tmp_path: Path) -> None:
    block = "# trivet: ignore[x] y\nkind: InferenceService\nkind: again\n"
    (tmp_path / "page.md").write_text(f"one\n\n```yaml\n{block}```\n")
    found = read(Found(tmp_path / "page.md"))
    assert [(one.line, one.target) for one in found.ignores] == [(4, 5)]
    assert "page.md:6:1: the key 'kind' stands here a second time, after line 5" in str(found.errors[0])


def test_blocks_far_down_a_page_cost_no_more_than_those_at_its_top(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("\n" * 50_000 + "```yaml\na: 1\n```\n" * 1_000)
    began = time.process_time()
    assert len(read(Found(tmp_path / "page.md")).others) == 1_000
    assert time.process_time() - began < 10


def test_here_documents_without_an_end_cost_no_more_than_others(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```sh\n" + "cat <<a\n" * 100_000 + "cat <<EOF | cat\nkind: A\n  EOF\n```\n")
    began = time.process_time()
    assert read(Found(tmp_path / "page.md")).others == ("A",)
    assert time.process_time() - began < 10


def test_a_page_larger_than_anybody_reads_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE + "x" * 3_000_000)
    assert read(Found(tmp_path / "page.md")).subjects == ()
