"""The library as a whole: light enough for a pipeline step, honest about an unreachable server, exact about pins."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import snapshots

from trivet import integration
from trivet.errors import UsageError
from trivet.integration import (
    TrackingApi,
    TrackingError,
    monitoring,
    pinned_requirements,
    prometheus,
    request_metrics,
)


def test_importing_it_loads_nothing_third_party_but_requests_and_its_own_needs() -> None:
    program = """
import sys
before = set(sys.modules)
import requests
known = set(sys.modules)
import trivet.integration
new = {name.partition(".")[0] for name in set(sys.modules) - known} - set(sys.stdlib_module_names)
print(",".join(sorted(new)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "trivet"


def test_a_refused_connection_names_its_cause_and_a_remedy() -> None:
    with pytest.raises(TrackingError) as failure:
        TrackingApi("http://127.0.0.1:9", retries=0).get_run("abc")

    assert "connection refused" in failure.value.message
    assert "NetworkPolicy" in failure.value.remedy
    assert failure.value.status == 0


def test_a_name_that_does_not_resolve_is_distinguished_from_a_closed_port() -> None:
    with pytest.raises(TrackingError) as failure:
        TrackingApi("http://mlflow.ml-platform.invalid:5000", retries=0, timeout=5).get_run("abc")

    assert "does not resolve" in failure.value.message
    assert "svc.cluster.local" in failure.value.remedy


@pytest.mark.parametrize("uri", ["", "sqlite:///mlflow.db", "./mlruns", "localhost:5000"])
def test_a_tracking_uri_that_is_no_server_s_address_is_refused(uri: str) -> None:
    with pytest.raises(UsageError):
        TrackingApi(uri)


def test_pins_are_exact_and_keep_their_order() -> None:
    assert pinned_requirements(["requests", "pytest", "requests"]) == [
        f"requests=={version('requests')}",
        f"pytest=={version('pytest')}",
    ]


def test_all_distributions_that_are_not_installed_are_named_at_once() -> None:
    with pytest.raises(UsageError, match=r"no-such-a, no-such-b"):
        pinned_requirements(["no-such-a", "requests", "no-such-b"])


def test_no_public_signature_changes_unnoticed() -> None:
    """docs/integration.md says what a release may change. A line that changes or goes needs a deprecation and a line in CHANGELOG.md."""
    lines = [line for name in integration.__all__ for line in described(name, getattr(integration, name))]
    for module in (monitoring, prometheus, request_metrics):
        for name, value in vars(module).items():
            public = (inspect.isfunction(value) or inspect.isclass(value)) and not name.startswith("_")
            if public and value.__module__ == module.__name__:
                lines += described(f"{module.__name__.rpartition('.')[2]}.{name}", value)
    snapshots.same_as_file(
        Path(__file__).parent / "__snapshots__" / "integration-api.txt", "\n".join(sorted(lines)) + "\n"
    )


def described(name: str, value: object) -> Iterator[str]:
    """The signature of a function; of a class also its bases and each public member; of an enumeration its values."""
    if not inspect.isclass(value):
        assert callable(value)
        yield f"{name}{inspect.signature(value)}"
        return
    bases = ", ".join(base.__name__ for base in value.__bases__)
    if members := getattr(value, "__members__", {}):
        yield f"class {name}({bases})"
        yield from (f"{name}.{key} = {member.value!r}" for key, member in members.items())
        return
    yield f"class {name}({bases}){inspect.signature(value)}"
    for key, member in vars(value).items():
        if not key.startswith("_") and (inspect.isfunction(member) or isinstance(member, property)):
            function = member.fget if isinstance(member, property) else member
            assert function is not None
            yield f"{name}.{key}{inspect.signature(function)}" + (" [property]" if isinstance(member, property) else "")


def test_what_is_imported_later_is_what_type_checkers_see() -> None:
    typed = {
        (node.module, alias.name)
        for block in ast.parse(Path(str(integration.__file__)).read_text(encoding="utf-8")).body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == {(module, name) for module, names in integration._LATER.items() for name in names}
    assert {name for _, name in typed} == set(integration.__all__)
    assert dir(integration) == sorted(integration.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'resolve_uri'"):
        integration.resolve_uri  # noqa: B018


def test_lint_loads_only_what_it_needs_of_the_core_library() -> None:
    code = (
        "import sys; import trivet.cli; from trivet.engine.registry import Registry; Registry().contracts\n"
        "unwanted = {f'trivet.integration.{name}' for name in ('canary', 'gate', 'deployment')}\n"
        "assert not unwanted & set(sys.modules), unwanted & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
