"""One page for a reader who opens it a year later, made of nothing but what a run's folder holds.

`run` and `comparison` read a folder, `answers` says in sentences what came of it, `sections` puts tables and figures
in order, `shown` makes a figure fit for a page, `page` renders the templates, `write` does it all.
"""

from scalesearch.report.html.write import write_report

__all__ = ["write_report"]
