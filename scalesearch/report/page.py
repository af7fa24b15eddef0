"""The templates, and how a page is made of them: everything that a run says is escaped, its figures are not."""

from __future__ import annotations

from typing import Any


def rendered(**values: Any) -> str:
    """The page as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from scalesearch.figures.colours import EVERY

    templates = Environment(
        loader=PackageLoader("scalesearch.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template("page.html").render(colours=EVERY, **values)
