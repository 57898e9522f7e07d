"""Shared by trivet's HTML pages: the template environment and the style sheet (look.css)."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from trivet.render.wording import printable

if TYPE_CHECKING:
    import jinja2


def environment() -> jinja2.Environment:
    """The environment of this package's templates. All text is escaped; characters that HTML does not allow are replaced."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: files("trivet.render").joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
