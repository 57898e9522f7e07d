"""Regular expressions out of foreign files, judged by an engine without backtracking: no expression keeps it busy.

KServe evaluates them by Go's ``regexp`` (RE2). The engine here is Rust's ``regex``, of the same family; what only one of them reads is
not decided.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_GO_ONLY = re.compile(r"\\[CQ0-9]|\{(?!\d{1,3}(,\d{0,3})?\})|\[\^?\]?(?:\\.|[^\]\\])*(\[|&&|--|~~)")
"""Go reads these otherwise than Rust: ``\\C``, ``\\Q``, octal escapes, literal braces, repetitions over 999, and some signs in a class."""


def searches(expression: str, text: str) -> bool | None:
    """Whether ``expression`` matches anywhere in ``text``; None if this engine does not read it as Go does."""
    compiled = _compiled(expression)
    return None if compiled is None or _GO_ONLY.search(expression) else bool(compiled.is_valid(text))


def is_refused(expression: str) -> bool:
    """Whether Go refuses ``expression``: this engine does, for more than the size of its repetitions, and nothing in it is Go's alone."""
    return _compiled(expression) is None and "{" not in expression and not _GO_ONLY.search(expression)


@lru_cache(maxsize=64)
def _compiled(expression: str) -> Any:
    import jsonschema_rs  # 20 ms, which files without expressions need not spend

    try:
        return jsonschema_rs.Draft202012Validator({"pattern": expression}, pattern_options=jsonschema_rs.RegexOptions())
    except ValueError:  # a ValidationError, or a text that is not UTF-8
        return None
