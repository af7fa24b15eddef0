"""One table in several forms: what is escaped, what is kept in full, and that stdout holds nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scalesearch.cli.commands.replay import _markdown, _table
from scalesearch.ranking.metric_columns import as_ranked
from scalesearch.report.comparison_tables import comparison_markdown
from scalesearch.report.formats import FORMATS, MANY_ROWS, Column, Page, Table, comma_separated, tex
from scalesearch.report.tables import ranking_table, verified_table
from tests.support.small import RESULTS, Cli

SMALL = Table(
    [Column("", ["a_b", "50 % & more"], words=True), Column("α", ["1 ", "1.25"]), Column("acc", ["55.0 ± 1.2", "—"])],
    [{"name": "a_b", "alpha": 1, "accuracy": 0.55}, {"name": "50 % & more", "alpha": 1 / 3, "accuracy": None}],
    notes=["  a remark"],
)


def test_latex_has_booktabs_rules_right_aligned_numbers_and_signs_as_maths() -> None:
    assert SMALL.latex() == (
        "\\begin{tabular}{lrr}\n"
        "\\toprule\n"
        " & $\\alpha$ & acc \\\\\n"
        "\\midrule\n"
        "a\\_b & 1 & 55.0 $\\pm$ 1.2 \\\\\n"
        "50 \\% \\& more & 1.25 & --- \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
    )


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("2.05×", r"2.05$\times$"),
        ("d·w²·r²", r"d$\cdot$w$^2\cdot$r$^2$"),
        ("#1 {x} $y\\z~^", r"\#1 \{x\} \$y\textbackslash{}z\textasciitilde{}\textasciicircum{}"),
        ("49.3–60.7", "49.3--60.7"),
    ],
)
def test_nothing_that_a_table_says_is_a_command_of_latex(text: str, escaped: str) -> None:
    assert tex(text) == escaped


def test_markdown_aligns_numbers_and_escapes_bars() -> None:
    assert Table([Column("a|b", ["x"], words=True), Column("n", ["1"])]).markdown() == (
        "| a\\|b | n |\n|--|--:|\n| x | 1 |\n"
    )


def test_csv_keeps_full_precision_under_the_records_names() -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated([SMALL, SMALL]))))
    assert len(rows) == 4 and float(rows[1]["alpha"]) == 1 / 3 and rows[1]["accuracy"] == ""


def on_terminal(table: Table, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None, highlight=False)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", range(8, 120, 7))
@pytest.mark.parametrize("rows", [3, MANY_ROWS + 1])
def test_no_terminal_is_too_narrow_for_a_cell(width: int, rows: int) -> None:
    names = ["", "α", "acc %", "to first", "a heading"]
    wide = Table.of(names, [[f"{c}{r}.5" * (c % 3 + 1) for c in range(5)] for r in range(rows)], notes=["and a note"])
    shown = on_terminal(wide, width)
    assert max(map(len, shown.splitlines())) <= width
    if width < 24:  # of the longest cell
        shown = "".join(shown.split())
        assert all(cell.replace(" ", "") in shown for row in (*wide.rows, names) for cell in row)
        return
    assert all(re.search(rf"(?<!\S){re.escape(cell)}(?!\S)", shown) for row in (*wide.rows, names) for cell in row)
    assert "and a note" in " ".join(shown.split())


def test_a_spare_column_goes_first_and_that_is_said() -> None:
    table = Table([Column("α", ["1.25"]), Column("MACs", ["46.7 M"], spare=True), Column("acc", ["55.0 ± 1.2"])])
    assert "46.7 M" in on_terminal(table, 22)
    narrow = on_terminal(table, 21)
    assert "46.7 M" not in narrow and "without MACs" in " ".join(narrow.split()) and "55.0 ± 1.2" in narrow


@pytest.mark.parametrize("run", sorted(RESULTS.rglob("ranking.json")), ids=lambda path: path.parent.name)
def test_eighty_columns_show_all_of_a_kept_run_but_what_is_spare(run: Path) -> None:
    found = json.loads(run.read_text())
    rows = [as_ranked(row, "accuracy") for row in found["ranking"]]
    table = ranking_table(rows, match=found.get("match"))
    shown = on_terminal(table, 80)
    kept = [column for column in table.columns if not column.spare]
    assert all(cell.strip() in shown for column in kept for cell in (column.heading, *column.cells))


def test_only_the_table_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    for form in FORMATS[1:]:
        Page(form).show([SMALL])
        shown, told = capsys.readouterr()
        assert "remark" not in shown and told == "  a remark\n"
    assert json.loads(shown) == SMALL.records
    Page().show([SMALL])
    assert "remark" in capsys.readouterr().out


def test_committed_tables_are_still_printed_byte_for_byte() -> None:
    run = RESULTS / "small_resnet-phi1-imagenette-replay"
    with (run / "replay.csv").open(newline="") as file:
        plain = list(csv.DictReader(file))
    scores: list[dict[str, Any]] = [
        {"policy": row["policy"], "replays": int(row["replays"])}
        | {name: float(value) if value else None for name, value in list(row.items())[2:]}
        for row in plain
    ]
    first, _, command, *_ = (kept := (run / "replay.md").read_text()).splitlines()
    about = first.removeprefix("# The search replayed: ")
    assert _markdown(_table(scores), about, command.split("`")[1]) == kept
    assert comma_separated([_table(scores)]) == (run / "replay.csv").read_text()


def test_a_comparison_is_a_markdown_table_for_each_baseline() -> None:
    row = {
        "label": "deep", "depth": 2.0, "width": 1.0, "pixels": 64, "macs": 2e8, "ratio": 2.01, "params": 3e6,
        "paper": {"macs": 2e8, "top1": 70.5}, "accuracy": None, "note": "as printed",
    }  # fmt: skip
    group = {"baseline": "net", "base": {"resolution": 64}, "rows": [row], "gain": None, "words": "Nobody wins."}
    plain = {"title": "T", "about": None, "source": "S", "groups": [group], "notes": ["n"]}
    assert comparison_markdown(plain) == (
        "# T\n\nSource: S.\n\n## net, 64 px\n\n"
        "|  | depth | width | px | MACs | ratio | params | paper | top-1 |\n|--|--|--|--|--|--|--|--|--|\n"
        "| deep | ×2 | ×1 | 64 | 200 M | 2.01× | 3.0 M | 200 M | 70.5 |\n\n"
        "- deep: as printed\n- Nobody wins.\n\n- n\n"
    )


def test_a_finished_ranking_is_printed_again_as_it_was_written(cli: Cli) -> None:
    run = RESULTS / "efficientnet_b0-phi1-quick"
    assert cli("show", str(run), "--format", "csv").stdout == (run / "ranking.csv").read_text()
    assert cli("show", str(run), "--json").stdout == (run / "ranking.json").read_text()
    older = cli("show", str(RESULTS / "mobilenet_v2-phi1-imagenette"))
    assert " 1   1   1  1.4 17 · 32–1280 · 90 53.4 M 2.18×  44.4  43.2" in older.stdout


@pytest.mark.parametrize(
    "command",
    [("candidates",), ("scale", "--phi", "1,2"), ("baselines",), ("baselines", "resnet18"), ("compare", "--dry-run")],
)
def test_every_form_of_a_plan_has_the_same_rows(command: tuple[str, ...], cli: Cli) -> None:
    markdown, latex, listed = (cli(*command, "--format", form).stdout for form in ("markdown", "latex", "csv"))
    rows = list(csv.DictReader(io.StringIO(listed)))
    rules = sum(line.startswith("|--") for line in markdown.splitlines())
    assert sum(line.startswith("|") for line in markdown.splitlines()) - 2 * rules == len(rows) > 1
    assert sum(line.endswith(r"\\") for line in latex.splitlines()) - latex.count(r"\midrule") == len(rows)
    typeset = [line for line in latex.splitlines() if not line.startswith("%")]
    assert all(line.isascii() for line in typeset)
    assert all(None not in row.values() for row in rows)
    assert cli(*command, "--format", "json").stdout == cli(*command, "--json").stdout


def test_a_benchmark_is_one_line_of_values_for_each_network(cli: Cli) -> None:
    done = cli("bench", "tiny.yaml", "--seconds", "0.02", "--rounds", "1", "--batch-size", "2", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["name"] == "tiny" and float(row["single_median_ms"]) > 0 and float(row["batch_p90_ms"]) > 0
    assert row["training_median_ms"] == row["failures"] == "" and "median over 1 rounds" in done.stderr


def test_what_a_longer_schedule_found_is_shown_in_the_short_ones_order() -> None:
    ranking = [{"network": name, "alpha": 1, "beta": 1, "gamma": gamma} for name, gamma in (("a", 1.4), ("b", 1.2))]
    networks = [{"network": "b", "short": 0.4, "long": 0.6}, {"network": "a", "short": 0.5, "long": 0.55}]
    table = verified_table({"longer": 4, "networks": networks}, ranking)
    assert list(table.rows) == [
        ("1", "1", "1.4", "1", "50.0", "2", "55.0"),
        ("1", "1", "1.2", "2", "40.0", "1", "60.0"),
    ]
    assert [(record["network"], record["long_rank"]) for record in table.records] == [("a", 2), ("b", 1)]
    by_class = verified_table({"longer": 4, "networks": networks}, ranking, "macro_f1")
    assert [column.heading for column in by_class.columns][-3:] == ["F1 %", "# ×4", "F1 % ×4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("candidates", "--format", "html"), "--format: expected table, markdown, latex, csv or json, got 'html'"),
        (("show", "nowhere"), "nowhere holds no finished ranking: No such file or directory (ranking.json)"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], message: str, cli: Cli) -> None:
    done = cli(*arguments)
    assert (done.returncode, done.stderr, done.stdout) == (2, f"error: {message}\n", "")
