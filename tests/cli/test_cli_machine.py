"""A machine that does not allow what a run needs: exit code 2, the cause once, and its remedy."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commandline import GOOD, SIX, CommandOutput, run, tiny_stack

from trivet.stacks.environments import cache_directory

pytestmark = pytest.mark.processes


def could_not_tell(result: CommandOutput) -> str:
    """The output of a run that must be inconclusive, and must state the reason once."""
    assert result.code == 2, result
    assert "Traceback" not in result.err
    (contracts,) = re.findall(r"on local: (\d+) contracts", result.out)
    # Each once while it is judged, and once in the summary.
    assert result.out.count("INCONCLUSIVE  ") <= 2 * int(contracts)
    assert len(result.out.splitlines()) < 4 * int(contracts)
    return result.out + result.err


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_disk_too_small_for_a_run_is_reported_before_it_starts(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "4m") as small:
        result = run("run", "--stack", tiny_stack(tmp_path / "tiny"), TRIVET_CACHE=str(small))
        assert "only 4.0 MiB are free, and a run needs up to 64" in could_not_tell(result)
        assert "remedy: free some disk space" in result.err
        seen = run("doctor", TRIVET_CACHE=str(small))
        assert seen.code == 2
        assert f"BAD  cache                  {small}: 0.0 GiB free" in seen.out


def test_a_disk_too_small_for_an_environment_is_reported(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "80m") as small:
        result = run("run", "--stack", "2024.11-fixed", timeout=1800, TRIVET_CACHE=str(small))
        assert "No space left on device" in could_not_tell(result)
        assert "remedy    free some disk space, or set TRIVET_CACHE" in result.out
        assert list((small / "environments").glob("*/bin")) == [], "nothing half-made is left to fill the disk"


def test_a_report_on_a_full_disk_is_an_error(here: Path, tmp_path: Path) -> None:
    (here / "good.yaml").write_text(GOOD)
    with disk(tmp_path / "disk", "16k") as small:
        result = run("lint", "good.yaml", "--report", small)
        assert result.code == 3
        assert f"cannot write the report to '{small}': No space left on device" in result.err


def test_an_unreachable_registry_is_reported_once_with_its_remedy(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        index = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
    result = run(
        "run",
        "--stack",
        tiny_stack(tmp_path / "tiny"),
        TRIVET_CACHE=str(tmp_path / "cache"),
        UV_CACHE_DIR=str(tmp_path / "uv"),
        UV_DEFAULT_INDEX=index,
        UV_HTTP_RETRIES="0",
    )
    assert f"Failed to fetch: {index}/six/" in could_not_tell(result)
    assert "remedy    check that the package registry is reachable; set a mirror with UV_DEFAULT_INDEX" in result.out
    assert list((tmp_path / "cache" / "environments").glob("*/")) == []


def test_a_lock_with_a_wrong_hash_is_reported(tmp_path: Path) -> None:
    stack = tiny_stack(tmp_path / "tiny")
    wrong = "\n".join(line[:30] + "0" * 8 + line[38:] if "sha256" in line else line for line in SIX.splitlines())
    for role in ("trainer", "tracking", "initializer", "runtime"):
        (stack / f"{role}.lock").write_text(wrong)
    result = run("run", "--stack", stack, TRIVET_CACHE=str(tmp_path / "cache"))
    assert "Hash mismatch for `six==1.16.0`" in could_not_tell(result)
    assert "remedy    the registry serves other files than those the lock was made from" in result.out


def test_a_half_made_environment_is_found_cleaned_and_made_again(tmp_path: Path) -> None:
    cache, stack = tmp_path / "cache", tiny_stack(tmp_path / "tiny")

    def build() -> Path:
        could_not_tell(run("run", "--stack", stack, TRIVET_CACHE=str(cache)))  # six is no MLflow
        (made,) = (path for path in (cache / "environments").iterdir() if path.is_dir())
        return made

    made = build()
    marker = made / "trivet-environment.json"
    marker.unlink()
    seen = run("doctor", TRIVET_CACHE=str(cache))
    assert seen.code == 2
    assert f"BAD  environment            {made} is incomplete" in seen.out
    assert "remedy: trivet doctor --clean, or run again" in seen.out
    assert f"removed the incomplete {made}" in run("doctor", "--clean", TRIVET_CACHE=str(cache)).out
    assert not made.exists()
    assert build() == made
    marker.unlink()
    assert build() == made
    assert marker.exists()


def test_a_run_lives_in_its_cache_alone_however_long_and_foreign_its_path(tmp_path: Path) -> None:
    folder, scratch = tmp_path / "überall" / ("lang" * 25), tmp_path / "scratch"
    for each in (folder, scratch):
        each.mkdir(parents=True)
    environments = cache_directory() / "environments"
    environments.mkdir(parents=True, exist_ok=True)
    (folder / "environments").symlink_to(environments)
    # A relative path is meant from where the user stands.
    relative = str(folder.relative_to(tmp_path))
    result = run("run", "--stack", "current", cwd=tmp_path, timeout=1800, TRIVET_CACHE=relative, TMPDIR=str(scratch))
    assert result.code == 0, result.out[-3000:]
    assert list((folder / "runs").iterdir()) == []
    assert list(scratch.iterdir()) == []
