"""What lint makes of files: subjects with their lines, and a clear error for whatever is none."""

from __future__ import annotations

import math
import pickle
import time
import tracemalloc
from io import BufferedReader, BytesIO, FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from trivet.contracts.rules.rule import field_names
from trivet.errors import UsageError
from trivet.model.subjects import CompiledPipeline, Manifest, ModelDirectory, Resource
from trivet.toolkit.documents import MAX_DEPTH, BrokenDocument, documents
from trivet.toolkit.subjects import (
    MAX_BYTES,
    ReadResult,
    companions,
    read,
    read_model_directory,
    read_stream,
    stream_parts,
)
from trivet.toolkit.walking import Found, Skipped, TextStream, places

SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: one
spec:
  predictor:
    containers:
    - image: a
    - image: b
"""
MLMODEL = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n"


def read_text(tmp_path: Path, text: str, name: str = "file.yaml") -> ReadResult:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    (found,) = map(read, places([file]))
    return found


def error(tmp_path: Path, text: str) -> str:
    (only,) = read_text(tmp_path, text).errors
    return str(only)


def test_the_error_of_a_large_file_passes_between_processes(tmp_path: Path) -> None:
    with (tmp_path / "file.yaml").open("wb") as file:
        file.truncate(1 << 27)
    (found,) = read(Found(tmp_path / "file.yaml", named=True)).errors
    assert str(pickle.loads(pickle.dumps(found))) == str(found)


def test_empty_lines_cost_no_more_than_others(tmp_path: Path) -> None:
    began = time.process_time()
    found = read_text(tmp_path, f"{chr(10) * 200_000}kind: A\n")
    assert time.process_time() - began < 5
    assert found.others == ("A",)


@pytest.mark.parametrize("name", ["pipelineInfo", '"pipelineInfo"', '{"pipelineInfo"', '{\r\n\r\n  "pipelineInfo"'])
def test_the_scalars_of_a_pipeline_are_those_of_kfp(tmp_path: Path, name: str) -> None:
    end = "}" if name.startswith("{") else ""
    comma = ", " if end else "\n"
    key = "root" if not end else '"root"'
    (subject,) = read_text(tmp_path, f"{name}: {{a: yes}}{comma}{key}: {{b: yes}}{end}\n").subjects
    assert isinstance(subject, CompiledPipeline)
    assert subject.document["root"] == {"b": "yes"}


# values


def test_values_are_those_that_kubernetes_reads() -> None:
    (document,) = documents(
        "on: yes\ndate: 2024-11-15\nport: 8080\ntime: 1:30\nnone: ~\nquoted: '1'\nhuge: " + "9" * 6000
    )
    assert document.value["true"] is True
    assert document.value["date"] == "2024-11-15"
    assert document.value["port"] == 8080
    assert document.value["time"] == "1:30"
    assert document.value["none"] is None
    assert document.value["quoted"] == "1"
    assert document.value["huge"] == "9" * 6000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("y", True),
        ("N", False),
        ("12345e67", 12345e67),
        ("1e400", "1e400"),
        ("0x1F", 31),
        ("0o17", 15),
        ("-017", -15),
        ("08", 8.0),
        ("1_000", 1000),
        ("+1", 1),
        (".5", 0.5),
        ("-0b11", -3),
        ("1.5.0", "1.5.0"),
        ("18446744073709551616", 18446744073709551616.0),
        ("1Gi", "1Gi"),
        ("0.5", 0.5),
        (".inf", math.inf),
    ],
)
def test_a_scalar_without_quotes_is_what_kubectl_reads(text: str, value: object) -> None:
    (document,) = documents(f"value: {text}")
    assert document.value == {"value": value}
    assert type(document.value["value"]) is type(value)


def test_what_mlflow_wrote_is_read_as_mlflow_reads_it(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text("flavors: {}\nrun_id: 12345e67\nutc_time_created: 2024-11-15\n", encoding="utf-8")
    (model,) = read_model_directory(tmp_path).subjects
    assert isinstance(model, ModelDirectory)
    assert model.mlmodel == {"flavors": {}, "run_id": "12345e67", "utc_time_created": "2024-11-15"}


def test_what_a_mapping_says_wins_over_what_it_merges() -> None:
    (document,) = documents("base: &base {a: 1, b: 1}\nuser:\n  b: 2\n  <<: [*base, {c: 3}]\n")
    assert document.value["user"] == {"a": 1, "b": 2, "c": 3}


def test_a_text_that_belies_its_tag_stays_a_text() -> None:
    (document,) = documents('[!!int "", !!float "", !!bool maybe, !!int x, !!int "7"]')
    assert document.value == ["", "", "maybe", "x", 7]


def test_json_with_tabs_is_read() -> None:
    (document,) = documents('{\n\t"a":\t[1, true, null]\n}')
    assert document.value == {"a": [1, True, None]}
    assert document.line(("a",)) == 2


def test_a_place_is_that_of_the_nearest_parent_that_exists(tmp_path: Path) -> None:
    manifest = read_text(tmp_path, f"# a comment\n---\n{SERVICE}").subjects[0]
    assert isinstance(manifest, Manifest)
    assert [
        manifest.line(keys) for keys in ((), ("spec", "predictor"), ("spec", "predictor", "containers", 1, "image"))
    ] == [3, 8, 11]
    assert manifest.line(("spec", "predictor", "containers", 7)) == 9
    assert manifest.line(("spec", "nothing", "at all")) == 7
    assert str(manifest.at("metadata", "name")) == f"{tmp_path / 'file.yaml'}:6 InferenceService/one"


ODD = "x\u0085y\u2028z\u2029"
"""What libyaml counts as three line ends, and an editor as none."""


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_those_of_an_editor(tmp_path: Path, end: str) -> None:
    text = f"z: '{ODD}'{end}a: '{ODD}'{end}b: 1{end}---{end}c: 1{end}"
    first, second = documents(text)
    assert [first.line(("a",)), first.line(("b",)), second.line(("c",))] == [2, 3, 5]
    for broken, line in ((f"{text}c: 2{end}", 6), (f"{text}d: [{end}e: }}{end}", 7), (f"{text}d: \x0b{end}", 6)):
        with pytest.raises(BrokenDocument) as caught:
            list(documents(broken))
        assert caught.value.line == line


def test_the_place_of_a_character_that_yaml_forbids_is_counted_in_characters() -> None:
    with pytest.raises(BrokenDocument, match=r"U\+000B") as caught:
        list(documents("a: üü日本語😀\nb: 1\nc: \x0b\nd: 1\n"))
    assert (caught.value.line, caught.value.column) == (3, 4)


def test_a_companion_knows_its_line_whatever_stands_before_it(tmp_path: Path) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
    (tmp_path / "a.yaml").write_text(
        f"kind: Secret\r\na: '{ODD}'\r\n# none\r\n---\n{secret}", encoding="utf-8", newline=""
    )
    assert [one.line(()) for one in companions(Found(tmp_path / "a.yaml"))] == [5]


# what is recognised


def test_every_service_of_a_stream_and_of_its_lists_is_found(tmp_path: Path) -> None:
    item = "".join(f"  {line}\n" for line in SERVICE.splitlines())
    text = f"{SERVICE}---\nkind: ConfigMap\n---\n\n---\nkind: List\nitems:\n-{item[1:]}- kind: Secret\n"
    found = read_text(tmp_path, text)
    assert [subject.line(("metadata", "name")) for subject in found.subjects] == [4, 20]
    assert found.others == ("ConfigMap", "Secret")


def test_a_service_of_another_project_is_none_of_ours(tmp_path: Path) -> None:
    found = read_text(tmp_path, SERVICE.replace("serving.kserve.io", "serving.example.com"))
    assert found.subjects == ()
    assert found.others == ("InferenceService",)


def test_a_patch_that_deletes_an_object_is_no_object(tmp_path: Path) -> None:
    found = read_text(tmp_path, "$patch: delete\n" + SERVICE)
    assert found.subjects == ()
    assert found.others == ("strategic merge patch",)


def test_a_document_that_looks_meant_for_kserve_is_a_subject_whatever_its_address(tmp_path: Path) -> None:
    found = read_text(tmp_path, SERVICE.replace("serving.kserve.io", "serving.kubeflow.org"))
    assert [type(subject) for subject in found.subjects] == [Resource]
    assert found.others == ()


def test_a_pipeline_is_recognised_whatever_its_file_is_called(tmp_path: Path) -> None:
    text = "pipelineInfo: {name: p}\nroot: {}\ndeploymentSpec: {}\n---\nplatforms: {kubernetes: {}}\n"
    found = read_text(tmp_path, text, "pipeline.txt")
    assert [type(subject) for subject in found.subjects] == [CompiledPipeline]
    assert found.others == ("platform spec",)


def test_a_directory_is_walked_in_order_and_a_model_directory_is_not(tmp_path: Path) -> None:
    for name in ("b.yml", "a/z.json", "a/.hidden/no.yaml", "model/requirements.yaml", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(SERVICE)
    (tmp_path / "model" / "MLmodel").write_text(MLMODEL)
    subjects = [subject for found in map(read, places([tmp_path, tmp_path / "b.yml"])) for subject in found.subjects]
    assert [s.path if isinstance(s, ModelDirectory) else Path(s.file) for s in subjects] == [
        tmp_path / "a" / "z.json",
        tmp_path / "b.yml",
        tmp_path / "model",
    ]


def test_an_mlmodel_names_its_directory(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_text(MLMODEL)
    (found,) = map(read, places([tmp_path / "MLmodel"]))
    (model,) = found.subjects
    assert isinstance(model, ModelDirectory)
    assert str(model.at("flavors", "python_function")) == f"{tmp_path / 'MLmodel'}:2"


def test_directories_may_be_nested_more_deeply_than_calls(tmp_path: Path) -> None:
    nested = [tmp_path]
    for _ in range(1500):
        nested.append(nested[-1] / "d")
        nested[-1].mkdir()
    (nested[-1] / "a.yaml").write_text(SERVICE)
    try:
        (place,) = places([tmp_path])
        assert len(read(place).subjects) == 1
    finally:  # pytest's own removal of it recurses
        (nested[-1] / "a.yaml").unlink()
        for folder in reversed(nested[1:]):
            folder.rmdir()


def test_a_file_that_goes_or_shrinks_between_finding_and_reading_is_read_as_it_is(tmp_path: Path) -> None:
    for name in ("gone", "shrinking", "directory"):
        (tmp_path / f"{name}.yaml").write_text(SERVICE)
    directory, gone, shrinking = places([tmp_path])
    (tmp_path / "gone.yaml").unlink()
    (tmp_path / "shrinking.yaml").write_text(SERVICE[:-30])
    (tmp_path / "directory.yaml").unlink()
    (tmp_path / "directory.yaml").mkdir()
    assert "gone.yaml does not exist" in str(read(gone).errors[0])
    assert "directory.yaml is a directory, expected a file" in str(read(directory).errors[0])
    assert len(read(shrinking).subjects) + len(read(shrinking).errors) == 1
    assert companions(gone) == companions(directory) == []


def test_a_file_whose_reads_are_short_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class ShortReads(FileIO):
        def read(self, size: int | None = -1, /) -> Any:
            return super().read(min(size or 7, 7) if size != -1 else 7)

        def readinto(self, buffer: Any, /) -> Any:
            return super().readinto(memoryview(buffer)[:7])

    def opened(path: Path, mode: str, buffering: int = -1) -> FileIO | BufferedReader:
        raw = ShortReads(path, mode)
        return raw if buffering == 0 else BufferedReader(raw)

    (tmp_path / "file.yaml").write_text(SERVICE)
    whole = read(Found(tmp_path / "file.yaml", named=True))
    monkeypatch.setattr(Path, "open", opened)
    (only,) = read(Found(tmp_path / "file.yaml", named=True)).subjects
    assert isinstance(only, Manifest)
    assert [only.document] == [one.document for one in whole.subjects if isinstance(one, Manifest)]


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end_or_refused() -> None:
    assert read_stream("a.yaml", BytesIO(b"x" * 100), expected=10).content == b"x" * 100
    assert read_stream("a.yaml", BytesIO(b"x" * 10), expected=100).content == b"x" * 10
    with pytest.raises(UsageError, match="has more than 67,108,864 bytes"):
        read_stream("a.yaml", BytesIO(bytes(MAX_BYTES + 10)), expected=10)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "one.yaml").write_text(SERVICE)
    assert list(places([tmp_path])) == [Found(tmp_path / "a" / "one.yaml")]
    assert len(list(places([tmp_path / "a" / "up"]))) == 1, "a link that is named is followed once"


# what is refused


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "{a: " * 100_000])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(BrokenDocument, match=str(MAX_DEPTH)):
        list(documents(text))


def test_aliases_that_multiply_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    names = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in pairwise(names)]
    began = time.monotonic()
    assert "file.yaml:7:1: more than 2,000,000 values" in error(tmp_path, "\n".join(lines))
    assert time.monotonic() - began < 1


def test_an_alias_of_its_own_parent_is_refused(tmp_path: Path) -> None:
    assert "file.yaml:1:1: the alias *a names no anchor" in error(tmp_path, "&a [*a]")


def test_an_alias_may_stand_for_a_key_that_is_a_text(tmp_path: Path) -> None:
    (document,) = documents("- &a b\n- {*a : c, d: *a}\n")
    assert document.value == ["b", {"b": "c", "d": "b"}]
    assert "file.yaml:1:1: the alias *a stands where a key is expected" in error(tmp_path, "[&a [], {*a : c}]")
    assert "file.yaml:2:1: the key 'b' stands here a second time, after line 2" in error(
        tmp_path, "[&a b,\n{b: c, *a : d}]"
    )


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    assert "file.yaml:10:1: the key 'kind' stands here a second time, after line 2" in error(
        tmp_path, f"{SERVICE}kind: List\n"
    )


def test_what_stood_before_a_broken_document_is_kept(tmp_path: Path) -> None:
    found = read_text(tmp_path, f"{SERVICE}---\na: [1\n")
    assert len(found.subjects) == 1
    assert "file.yaml:12:1: while parsing a flow sequence" in str(found.errors[0])


def test_a_template_is_called_one(tmp_path: Path) -> None:
    assert "helm template" in error(tmp_path, f"{SERVICE}replicas: {{{{ .Values.replicas }}}}\n")


def test_a_template_of_ytt_in_a_directory_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(f'#@ load("@ytt:data", "data")\n{SERVICE}replicas: #@ data.values.replicas\n', encoding="utf-8")
    (found,) = map(read, places([tmp_path]))
    assert (found.subjects, found.skipped) == ((), (Skipped(str(file), "template"),))
    (named,) = map(read, places([file]))
    assert len(named.subjects) == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfe\x00", "not a text file in UTF-8: byte 0 is 0xff"),
        (b"kind: a\x01b", "the character U+0001 is not allowed in YAML"),
        (b"kind: a\0b", "the character U+0000 is not allowed in YAML"),
        (b"\tkind: a", "found character that cannot start any token"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "file.yaml").write_bytes(content)
    (found,) = map(read, places([tmp_path / "file.yaml"]))
    assert complaint in str(found.errors[0])


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    (found,) = map(read, places([tmp_path / "absent.yaml"]))
    assert f"{tmp_path / 'absent.yaml'} does not exist" in str(found.errors[0])


def test_an_mlmodel_that_is_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").mkdir()
    (found,) = map(read, places([tmp_path]))
    assert "MLmodel is a directory, expected a file" in str(found.errors[0])


@pytest.mark.parametrize("text", ["", "- a list\n", "flavors: none\n", "a: 1\n---\nb: 2\n"])
def test_an_mlmodel_that_mlflow_did_not_write_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "MLmodel").write_text(text)
    (found,) = map(read, places([tmp_path]))
    assert "is not an MLmodel" in str(found.errors[0])


def test_a_hundred_thousand_lines_are_read(tmp_path: Path) -> None:
    env = "".join(f"    - name: A{i}\n      value: b\n" for i in range(50_000))
    found = read_text(tmp_path, f"{SERVICE}    - env:\n{env}".replace("    - env:\n", "    env:\n"))
    (manifest,) = found.subjects
    assert manifest.line(("spec", "predictor", "env", 49_999, "value")) == 100_010


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("on", "true"),
        ("'on'", "on"),
        ("No", "false"),
        ("+1", "1"),
        ("0x10", "16"),
        ("010", "8"),
        ("1.50", "1.5"),
        ("0.1", "0.1"),
        ("1e3", "1000"),
        ("1e6", "1e+06"),
        ("123456789.0", "1.2345679e+08"),
        ("1e-5", "1e-05"),
        ("1e300", ".inf"),
        (".NaN", ".nan"),
        ("!!str 1.50", "1.50"),
        ("2024-01-01", "2024-01-01"),
    ],
)
def test_a_key_is_read_as_the_api_server_does(written: str, key: str) -> None:
    (document,) = documents(f"a: 1\n{written}: 2\n")
    assert document.value == {"a": 1, key: 2}
    assert document.line((key,)) == 2


@pytest.mark.parametrize("key", ["~", "null", "!!null ''", "10000000000000000000"])
def test_a_key_that_is_no_text_to_the_api_server_is_refused(key: str) -> None:
    with pytest.raises(BrokenDocument, match="stands where a key is expected, and is no text"):
        list(documents(f"{key}: 1\n"))


def test_two_keys_that_the_api_server_reads_alike_stand_twice() -> None:
    with pytest.raises(BrokenDocument, match="stands here a second time"):
        list(documents("yes: 1\n'true': 2\n"))


def test_documents_are_made_one_after_the_other() -> None:
    text = f"---\n{SERVICE}" * 2000
    next(documents(text))
    tracemalloc.start()
    try:
        assert sum(1 for _ in documents(text)) == 2000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(text)  # all documents at once take twenty times the text


def test_a_document_is_had_before_the_rest_of_its_stream_is_parsed() -> None:
    found = documents("a: 1\n---\nb: 2\n--- [\n")
    assert [next(found).value, next(found).value] == [{"a": 1}, {"b": 2}]
    with pytest.raises(BrokenDocument):
        next(found)


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[1] / "differential").glob("sound*.yaml")), ids=lambda file: file.name
)
def test_the_keys_of_a_document_are_noted_while_it_is_read(file: Path) -> None:
    for one in documents(file.read_text(encoding="utf-8")):
        assert one.fields == field_names(one.value)


def test_the_keys_of_merged_mappings_and_of_aliases_are_noted() -> None:
    (one,) = documents("a: &a {b: &c d}\ne: {<<: *a, *c : [{f: 1}]}\n")
    assert one.value["e"] == {"b": "d", "d": [{"f": 1}]}
    assert one.fields == field_names(one.value) | {"<<"}


# streams in parts


def of_parts(content: bytes) -> list[tuple[int, bytes]]:
    return [(part.before, part.content) for part in stream_parts(TextStream("<stdin>", content))]


def test_a_long_stream_is_read_in_parts_of_whole_documents_with_their_lines() -> None:
    content = b"".join(b"---\n%s" % SERVICE.replace("one", f"s{number}").encode() for number in range(2000))
    parts = stream_parts(TextStream("<stdin>", content))
    assert len(parts) > 5
    *others, last = (part.content for part in parts)
    assert b"".join([*(one.removesuffix(b"---\n") for one in others), last]) == content
    whole, split = read(TextStream("<stdin>", content)), [read(part) for part in parts]
    assert [one.line(("metadata", "name")) for one in whole.subjects] == [
        one.line(("metadata", "name")) for part in split for one in part.subjects
    ]


@pytest.mark.parametrize(
    "dependent",
    [b"%YAML 1.2\n", b"# trivet: ignore[a.b] c\n", b"pipelineInfo: {}\n", b"a: b\r", b"a: \xff\n", b"a: \xc2\x85\n"],
)
def test_a_stream_whose_documents_depend_on_one_another_is_read_at_once(dependent: bytes) -> None:
    content = SERVICE.encode() * 2000 + dependent
    assert of_parts(content) == [(0, content)]


def test_a_short_stream_has_one_part() -> None:
    assert of_parts(b"") == [(0, b"")]
    assert of_parts(b"---\na: 1\n---\nb: 2\n") == [(0, b"---\na: 1\n---\nb: 2\n")]


def test_the_services_beside_a_graph_are_read_on_request(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n---\n{SERVICE}", encoding="utf-8")
    assert [one.kind for one in companions(Found(file))] == ["Secret"]
    assert [(one.kind, one.line(())) for one in companions(Found(file), services=True)] == [("InferenceService", 5)]
