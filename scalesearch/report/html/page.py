"""The templates, and how a page is made of them: everything that a run says is escaped, its figures are not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def rendered(**values: Any) -> str:
    """The page as HTML."""
    from scalesearch.report.figures.colours import EVERY

    return template("page.html").render(colours=EVERY, **values)


def template(name: str) -> Template:
    """One of the templates."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("scalesearch.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["bound"] = bound
    return templates.get_template(name)


def bound(text: str) -> str:
    """``text`` with all coefficients of a point, or a number and its unit, never on two lines."""
    text = re.sub(r"([αβγφP]) (= )?(?=\d)", lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    return re.sub(r"(?<=\d) (?=(?:[βγ]\s\d|%|px\b|[kMGT]\b|GiB\b))", "\N{NO-BREAK SPACE}", text)
