"""Names, labels, keys and images as Kubernetes reads them: what each kind admits, to its limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trivet.contracts.rules.names import (
    data_key_problem,
    env_problem,
    image_problem,
    label_problem,
    label_value_problem,
    port_name_problem,
    qualified_problem,
    subdomain_problem,
)

Problem = Callable[[str], str]

ADMITTED: dict[Problem, tuple[str, ...]] = {
    label_problem: ("a", "0", "a-b", "a" * 63),
    subdomain_problem: ("a", "a.b-c.0", "a" * 253),
    qualified_problem: ("a", "A_b.c-d", "example.com/Name", "a" * 63, f"a.b/{'a' * 63}"),
    label_value_problem: ("", "a", "A_b.c-d", "a" * 63),
    env_problem: ("A", "_a", "a.b-c", ".a", "a..", "a1"),
    port_name_problem: ("a", "1a", "http-1", "a" * 15),
    data_key_problem: ("a", "A_b.c-1", ".a", "a..", "a" * 253),
    image_problem: (
        *("a", "a.b", "a__b", "a--b/c", "a:tag", "a:_", f"a:{'t' * 128}", "a/b:T-1.0"),
        *("localhost/a", "localhost:5000/a", "a.b/c/d", "a:5/b", "HOST/a", "[::1]:5/a", "A.b/c"),
        *(f"a@sha256:{'0' * 64}", f"a:tag@sha384:{'f' * 96}", f"a.b/c@sha512:{'0' * 128}"),
    ),
}

REFUSED: dict[Problem, dict[str, str]] = {
    label_problem: {
        **dict.fromkeys(("", "A", "-a", "a-", "a.b", "a_b"), "it must consist of a-z, 0-9 and '-'"),
        "a" * 64: "it has 64 characters, and a DNS label at most 63",
    },
    subdomain_problem: {
        **dict.fromkeys(("", "A", "a..b", "a.", ".a", "a_b"), "it must consist of a-z, 0-9, '-' and '.'"),
        "a" * 254: "it has 254 characters, and a DNS name at most 253",
    },
    qualified_problem: {
        **dict.fromkeys(("", "a b", "-a", "a.b/", "a.b/c."), "its name "),
        "/a": "its prefix '' is no DNS name",
        "A/a": "its prefix 'A' is no DNS name",
        "a" * 64: "its name has 64 characters, and at most 63 are allowed",
        f"a.b/{'a' * 64}": "its name has 64 characters, and at most 63 are allowed",
    },
    label_value_problem: {
        **dict.fromkeys(("a b", "-a", "a."), "it must consist of A-Z"),
        "a" * 64: "it has 64 characters, and at most 63 are allowed",
    },
    env_problem: {
        **dict.fromkeys((".", "..", "..a"), "it must not be '.' or begin with '..'"),
        **dict.fromkeys(("", "1a", "a b"), "it must consist of letters"),
    },
    port_name_problem: {
        **dict.fromkeys(("", "A", "1", "a--b", "-a", "a-"), "it must consist of a-z, 0-9 and single '-'"),
        "a" * 16: "it has 16 characters, and at most 15 are allowed",
    },
    data_key_problem: {
        **dict.fromkeys((".", "..", "..a", "a" * 254), "it must not be '.', begin with '..' or have more than 253"),
        **dict.fromkeys(("", "a b", "a/b"), "it must consist of letters"),
    },
    image_problem: {
        **dict.fromkeys(("a./b", "a.b:x/c", "localhost:/a", "http://a"), "is no host"),
        **dict.fromkeys(("A", "a/B", "a.b/C", "A:t", "HOST/A"), "a repository is in lower case"),
        **dict.fromkeys(("", "-/a", "a..b", "a//b", "a/", "___"), "is no repository"),
        **dict.fromkeys(("a:", "a:b:c", "a:-", f"a:{'t' * 129}", "a/b:ü"), "is no tag"),
        **dict.fromkeys(
            ("a@", "a@sha256:0", f"a@sha256:{'0' * 65}", f"a@md5:{'0' * 32}", f"a@sha256:{'G' * 64}"), "is no digest"
        ),
    },
}


@pytest.mark.parametrize(("problem", "text"), [(one, text) for one, texts in ADMITTED.items() for text in texts])
def test_what_kubernetes_admits_is_no_problem(problem: Problem, text: str) -> None:
    assert problem(text) == ""


@pytest.mark.parametrize(
    ("problem", "text", "why"), [(one, text, why) for one, texts in REFUSED.items() for text, why in texts.items()]
)
def test_what_kubernetes_refuses_is_a_problem_that_says_why(problem: Problem, text: str, why: str) -> None:
    assert why in problem(text)
