"""A kubectl whose cluster is a directory: one JSON file per object. As much of it as faults need, with the same words and exit statuses.

Run it by path; ``FAKE_CLUSTER`` names the directory. It writes a file whole or not at all, as an API server stores an object.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("FAKE_CLUSTER", "/nonexistent"))


def place(kind: str, name: str, namespace: str) -> Path:
    return ROOT / namespace / kind.lower().removesuffix("s") / f"{name}.json"


def store(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{uuid.uuid4().hex}")
    beside.write_text(json.dumps(document))
    beside.rename(path)


def merged(now: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(now) if isinstance(now, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def fail(reason: str, words: str) -> None:
    print(f"Error from server ({reason}): {words}", file=sys.stderr)
    sys.exit(1)


def main(arguments: list[str]) -> None:
    plain, options = [], {}
    taking = iter(arguments)
    for argument in taking:
        if argument in ("-n", "--context", "--kubeconfig", "-f", "-o", "-p", "-l", "-c"):
            options[argument] = next(taking)
        elif argument == "--":
            plain += list(taking)
        elif argument.startswith("-"):
            key, _, value = argument.partition("=")
            options[key] = value
        else:
            plain.append(argument)
    verb, *rest = plain
    namespace = options.get("-n", "")
    time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
    if verb == "get":
        if len(rest) == 2:
            path = place(rest[0], rest[1], namespace)
            if path.exists():
                print(path.read_text())
            return
        selector = dict(part.split("=") for part in options.get("-l", "").split(",") if part)
        found = [json.loads(path.read_text()) for path in sorted(place(rest[0], "x", namespace).parent.glob("*.json"))]
        items = [one for one in found if (one["metadata"].get("labels") or {}).items() >= selector.items()]
        print(json.dumps({"kind": "List", "items": items}))
    elif verb in ("create", "replace"):
        document = json.loads(sys.stdin.read())
        path = place(document["kind"], document["metadata"]["name"], document["metadata"].get("namespace", namespace))
        if verb == "create" and path.exists():
            fail("AlreadyExists", f"{path.name} already exists")
        if verb == "replace":
            now = json.loads(path.read_text())["metadata"].get("resourceVersion")
            if document["metadata"].get("resourceVersion") != now:
                fail("Conflict", "the object has been modified")
        document["metadata"]["resourceVersion"] = uuid.uuid4().hex
        store(path, document)
    elif verb == "patch":
        path = place(rest[0], rest[1], namespace)
        if not path.exists():
            fail("NotFound", f"{rest[0]} {rest[1]} not found")
        if "--patch-file" in options:
            stdin = options["--patch-file"] == "/dev/stdin"
            patch = json.loads(sys.stdin.read() if stdin else Path(options["--patch-file"]).read_text())
        else:
            patch = json.loads(options["-p"])
        store(path, merged(json.loads(path.read_text()), patch))
    elif verb == "delete":
        if options.get("-l"):
            key, value = options["-l"].split("=")
            for path in place(rest[0], "x", namespace).parent.glob("*.json"):
                if (json.loads(path.read_text())["metadata"].get("labels") or {}).get(key) == value:
                    path.unlink()
        else:
            place(rest[0], rest[1], namespace).unlink(missing_ok=True)
    elif verb == "exec":
        print("refused")
    else:
        sys.exit(f"the fake kubectl does not know {verb}")


if __name__ == "__main__":
    main(sys.argv[1:])
