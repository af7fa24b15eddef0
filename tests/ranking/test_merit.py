"""Whether a nominal grid's winner is better, or only dearer."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from scalesearch.cli.commands.merit import merit_command
from scalesearch.errors import RunError
from scalesearch.ranking.merit import Merit, merit

SETTINGS = {"phi": 1.0, "search.target": 2.0, "search.match": "nominal", "data.fingerprint": "abc", "train.epochs": 4.0}


def _run(rows: list[tuple[float, float, float, float, float]], **settings: object) -> Any:
    """A run whose ranking has α, β, γ, measured ratio and accuracy, each ± 2 points, best first."""
    names = ["alpha", "beta", "gamma", "ratio", "accuracy"]
    frame = pd.DataFrame(rows, columns=names).sort_values("accuracy", ascending=False, ignore_index=True)
    frame["name"] = [f"α {row[0]}" for row in frame[names].to_numpy()]
    frame["rank"] = range(1, len(frame) + 1)
    frame["low"], frame["high"] = frame["accuracy"] - 0.02, frame["accuracy"] + 0.02
    frame["contender"] = frame["high"] >= frame["low"].max()
    return SimpleNamespace(ranking=frame, settings=SETTINGS | settings, metric="accuracy")


def _nominal(accuracies: tuple[float, ...]) -> Any:
    """Deep costs most, then sharp, then wide."""
    points = [(2, 1, 1, 2.6), (1.4, 1, 1.2, 2.4), (1, 1, 1.4, 2.2), (1, 1.2, 1.2, 2.0), (1, 1.4, 1, 1.9)]
    return _run([(*point, accuracy) for point, accuracy in zip(points, accuracies, strict=True)])


def _matched(deep: float, sharp: float, wide: float, **settings: object) -> Any:
    return _run(
        [(1.7, 1, 1, 2.0, deep), (1, 1, 1.35, 2.0, sharp), (1, 1.42, 1, 2.0, wide)],
        **{"search.match": "macs"} | settings,
    )


BY_COST = (0.5, 0.46, 0.44, 0.42, 0.40)


def test_a_winner_that_was_only_dearer_is_found_out() -> None:
    found = merit(_nominal(BY_COST), _matched(deep=0.30, sharp=0.36, wide=0.45))
    assert (found.winner.name, found.dearer, found.counterpart.name) == ("α 2.0", 0, "α 1.7")
    assert found.cost.value == pytest.approx(1)
    assert (found.counterpart.rank, found.counterpart.contender) == (3, False)
    assert (
        found.words[-1]
        == "At equal cost it is not among the likely best: as far as these runs tell, it won by what it cost."
    )
    assert "the dearest" in found.words[0]


def test_a_winner_by_merit_wins_at_equal_cost_too() -> None:
    accuracies = (0.41, 0.43, 0.44, 0.42, 0.5)  # the widest and cheapest
    found = merit(_nominal(accuracies), _matched(deep=0.30, sharp=0.36, wide=0.45))
    assert found.counterpart.name == "α 1.0"
    assert found.apart < 0.05
    assert found.words[-1].startswith("It is first at equal cost as well: by merit")
    assert "4 of the others cost more" in found.words[0]


def test_what_is_not_told_apart_is_said_to_be_so() -> None:
    mixed = (0.5, 0.42, 0.46, 0.40, 0.47)
    tied = merit(_nominal(mixed), _matched(deep=0.44, sharp=0.445, wide=0.45))
    assert tied.words[-1].endswith("merit and cost are not told apart.")
    both = merit(_nominal(BY_COST), _matched(deep=0.44, sharp=0.445, wide=0.45))
    assert both.words[-1].endswith("both, perhaps.")


@pytest.mark.parametrize(("wide", "beside"), [(0.52, "; α 1.0, which costs less, has no less."), (0.45, " known.")])
def test_a_division_of_growth_that_equal_cost_does_not_have_is_said_to_be_none(wide: float, beside: str) -> None:
    matched = _run(
        [(1, 1.3, 1.1, 2.0, 0.40), (1, 1.42, 1, 2.0, wide), (1, 1.35, 1.05, 2.0, 0.41)], **{"search.match": "macs"}
    )
    found = merit(_nominal(BY_COST), matched)
    assert found.apart == pytest.approx(1)
    assert found.words[-1].startswith("No candidate of equal cost divides its growth alike")
    assert found.words[-1].endswith(beside)


def test_runs_that_differ_otherwise_are_refused() -> None:
    with pytest.raises(RunError, match=r"differ in more than their candidates \(train.epochs: 4.0 and 8.0\)"):
        merit(_nominal(BY_COST), _matched(0.3, 0.3, 0.3, **{"train.epochs": 8.0}))
    with pytest.raises(RunError, match="equal nominal growth first"):
        merit(_matched(0.3, 0.3, 0.3), _nominal(BY_COST))
    with pytest.raises(RunError, match=r"search\.target"):
        merit(_nominal(BY_COST), _matched(0.3, 0.3, 0.3, **{"search.target": 4.0}))
    with pytest.raises(RunError, match="three candidates in each run"):
        merit(_nominal(BY_COST), _run([(1, 1, 1.4, 2.0, 0.4)], **{"search.match": "macs"}))


def test_the_command_prints_a_table_and_leaves_figure_and_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = {"nominal": _nominal(BY_COST), "matched": _matched(0.30, 0.36, 0.45)}
    merit_command(tmp_path / "nominal", tmp_path / "matched", form="csv", read=lambda path: runs[path.name])
    out = capsys.readouterr()
    assert out.out.startswith("row,of,name,rank,ratio,accuracy,low,high,contender\n")
    assert len(out.out.splitlines()) == 4
    assert "not among the likely best" in out.err
    kept = json.loads((tmp_path / "nominal" / "merit.json").read_text())
    assert set(kept) == {*Merit.__dataclass_fields__, "words"}
    assert {path.name for path in (tmp_path / "nominal" / "figures").iterdir()} == {"merit.png", "merit.svg"}
