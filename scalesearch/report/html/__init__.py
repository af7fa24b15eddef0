"""One page for a reader who opens it a year later, made of nothing but what a run's folder holds.

`answers` says in sentences what came of a run, `sections` puts tables and figures in order, `inline_svg` makes a figure
fit for a page, `page` renders the templates, `write` does it all. What a folder holds is read by `ranking.finished_run`
and `ranking.finished_comparison`.
"""
