"""A kubectl that answers from a recording of a real cluster: command line → standard output, or error. For tests of what reads clusters.

A recording is JSON: ``{"get --raw /version": {"stdout": …}, "get deployment …": {"stderr": …, "status": 1}}``; JSON output stands as JSON.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trivet.host.kubectl import CALL, Kubectl

RECORDINGS = Path(__file__).parent / "recordings"
SERVER_VOLATILE = ("managedFields", "uid", "resourceVersion", "generation", "creationTimestamp")


@dataclass(frozen=True, kw_only=True)
class RecordedKubectl(Kubectl):
    """Answers from ``answers``; a command that is not in it ends as one that the API server forbids."""

    context: str = "recorded"
    answers: Mapping[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def attempt(
        self, *arguments: str, stdin: str | bytes | None = None, seconds: float = CALL
    ) -> subprocess.CompletedProcess[bytes]:
        command = " ".join(arguments)
        self.asked.append(command)
        answer = self.answers.get(command)
        if answer is None:
            kind = arguments[1] if len(arguments) > 1 else "nothing"
            stderr = f'Error from server (Forbidden): {kind} is forbidden: User "reader" cannot get resource "{kind}"'
            return subprocess.CompletedProcess(arguments, 1, b"", stderr.encode())
        stdout = answer.get("stdout", "")
        text = stdout if isinstance(stdout, str) else json.dumps(stdout)
        return subprocess.CompletedProcess(
            arguments, answer.get("status", 0), text.encode(), answer.get("stderr", "").encode()
        )


def recorded(name: str, **changes: Any) -> RecordedKubectl:
    """The recording ``name``, with the answers to some commands changed; None takes an answer away."""
    answers = json.loads((RECORDINGS / f"{name}.json").read_text(encoding="utf-8"))
    for command, answer in changes.pop("changed", {}).items():
        if answer is None:
            answers.pop(command, None)
        else:
            answers[command] = answer
    return RecordedKubectl(answers=answers, **changes)
