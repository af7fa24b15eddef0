"""A search from Python: what `grid` does, with objects in the place of options."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from scalesearch import Search
from scalesearch.errors import BaselineError, RecipeError, ScaleSearchError
from scalesearch.models.surgery.session import source_of
from scalesearch.recipe import Recipe, overrides_of
from scalesearch.scaling.spec import ModelSpec
from tests.support.small import MINE, TINY_RUN, Cli

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "search.py"
SMALL: dict[str, Any] = {
    "recipe": "quick",
    "resolution": 16,
    "steps": 6,
    "limit": 96,
    "device": "cpu",
    "exhaustive": True,
}


def _net(width: int = 8) -> nn.Module:
    blocks = nn.Sequential(*[nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU()) for _ in range(2)])
    stem, classifier = nn.Conv2d(3, width, 3, stride=2), nn.Linear(width, 5)
    return nn.Sequential(stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)


def test_python_finds_what_the_command_line_finds(cli: Cli, tmp_path: Path) -> None:
    assert cli("grid", "--baseline", "tiny.yaml", *TINY_RUN, "--step", "0.4", "--out", "typed").returncode == 0
    result = Search(tmp_path / "tiny.yaml", **SMALL, step=0.4, workers=0, out=tmp_path / "called").run()
    typed, called = ((tmp_path / folder / "ranking.csv").read_bytes() for folder in ("typed", "called"))
    assert called == typed
    assert len(result.ranking) == len(Search(tmp_path / "tiny.yaml", **SMALL, step=0.4).plan) == 3


def test_what_python_and_tensorboard_call_accuracy_is_accuracy_whatever_ranks(tiny: ModelSpec, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = Search(
        tiny, **SMALL, step=0.4, workers=0, out=tmp_path / "run", objective="macro_f1", log="tensorboard"
    ).run()
    written = pd.read_csv(tmp_path / "run" / "ranking.csv")
    assert result.ranking.columns.tolist() == written.columns.tolist()
    assert result.ranking["accuracy"].tolist() == pytest.approx(written["accuracy"].tolist())
    shown = []
    for place in (tmp_path / "run" / "tensorboard" / "ranking").iterdir():
        read = EventAccumulator(str(place)).Reload()
        shown.append(tuple(read.Scalars(f"ranking/{name}")[0].value for name in ("rank", "accuracy", "macro_f1")))
    wanted = written[["rank", "accuracy", "macro_f1"]].itertuples(index=False, name=None)
    assert [value for row in sorted(shown) for value in row] == pytest.approx([v for row in wanted for v in row])


def test_the_example_runs_and_goes_on(tmp_path: Path) -> None:
    done = [
        subprocess.run([sys.executable, EXAMPLE, tmp_path / "run"], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert "[3/3]" in done[0] and "3 of 3 trials were done before" in done[1]
    assert done[0].splitlines()[-7:] == done[1].splitlines()[-7:], "it ends with the same ranking"
    made = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert [each["command"].partition(" ")[0] for each in made] == ["python"]


def test_a_result_shows_itself(tiny: ModelSpec, tmp_path: Path) -> None:
    result = Search(tiny, **SMALL, step=0.4, workers=0, out=tmp_path / "run").run()
    assert result.build_winner()(torch.zeros(1, 3, 16, 16)).shape == (1, 12), "the embedded images have twelve classes"
    assert result.build_winner(3)(torch.zeros(1, 3, 16, 16)).shape == (1, 3)
    assert next(iter(result.family)) == "tiny-phi0" and result.family["tiny-phi0"].resolution == tiny.resolution
    assert result.report() == tmp_path / "run" / "report.html"
    assert all(figure.png.is_file() for figure in result.figures.values()) and "accuracy-macs" in result.figures
    cells: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            cells.append(data.strip())

    Reader().feed(result._repr_html_())
    assert all(str(name) in cells for name in result.ranking["shape"])


def test_a_function_of_this_session_trains_here_and_nowhere_else() -> None:
    def local() -> nn.Module:
        return _net()

    assert source_of(local) == "session:local"
    assert len(Search(local, **SMALL, step=0.4).plan) == 3
    with pytest.raises(ScaleSearchError, match=r"put it into a file and name that, 'FILE\.py:local'"):
        _ = Search(local, **SMALL, workers=2).plan
    with pytest.raises(ScaleSearchError, match="put it into a file"):
        _ = Search(local, **SMALL, engine="ray").plan


def test_a_module_of_this_session_is_left_as_it_was() -> None:
    module = _net()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert len(Search(module, **SMALL, step=0.4).plan) == 3
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_another_function_of_the_same_name_is_another_network() -> None:
    def made(width: int) -> Any:
        def net() -> nn.Module:
            return _net(width)

        return net

    narrow, wide = Search(made(8), **SMALL), Search(made(16), **SMALL)
    first = [narrow.plan["params"].tolist(), wide.plan["params"].tolist()]
    assert min(first[1]) > max(first[0])
    assert [Search(made(width), **SMALL).plan["params"].tolist() for width in (8, 16)] == first


def test_an_edited_file_is_read_again(tmp_path: Path) -> None:
    mine = tmp_path / "mymodels.py"
    costs = []
    for width in (8, 16):
        mine.write_text(MINE.replace("{width}", str(width)))
        costs.append(Search(f"{mine}:build_net", **SMALL).plan["params"].min())
    assert costs[1] > 2 * costs[0]


def test_what_can_be_imported_is_named_by_where_it_is() -> None:
    import torchvision

    assert source_of(torchvision.models.resnet18) == "torchvision:resnet18"
    assert source_of(_net) == f"{__name__}:_net"
    assert source_of(_net()) == "session:Sequential"
    with pytest.raises(BaselineError, match="3 is no baseline"):
        source_of(3)  # type: ignore[arg-type]


def test_a_network_of_another_session_is_told_from_a_missing_one() -> None:
    from scalesearch.models.catalogue import open_baseline

    with pytest.raises(BaselineError, match=r"put it into a file and name that, FILE\.py:gone"):
        open_baseline("session:gone")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"epoch": 3}, "epoch: expected a key of a recipe (did you mean epochs?)"),
        ({"train": {"epoch": 3}}, "train.epoch: expected a known key (did you mean epochs?)"),
        ({"batch_size": -1}, "train.batch_size: expected greater than 0, got -1"),
        ({"budget": "2 weeks"}, "budget: expected a budget such as 2h, 90min, 30% or 40-trials, got '2 weeks'"),
        ({"target_macs": "1G", "nas": {"target_macs": "1G"}}, "nas.target_macs: expected nothing"),
        ({"engine": "slurm"}, "--engine: expected processes or ray, got 'slurm'"),
    ],
)
def test_a_wrong_word_is_told_in_one_line(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ScaleSearchError) as failure:
        _ = Search("mobilenet_v2", **keywords).plan
    assert message in str(failure.value) and "\n" not in str(failure.value)


def test_keywords_are_keys_of_a_recipe() -> None:
    import numpy as np

    assert overrides_of({"epochs": np.float64(2), "limit": 9}) == {"train.epochs": 2.0, "data.limit": 9}
    assert overrides_of({"train.epochs": 1, "from_weights": Path("a.pth")}) == {
        "train.epochs": 1,
        "train.from_weights": "a.pth",
    }
    with pytest.raises(RecipeError, match=r'workers: expected one section to be named: data=\{"workers": …\} or run='):
        overrides_of({"workers": 3})


@pytest.mark.long
def test_a_script_without_a_guard_is_run_once_and_goes_on_after_ctrl_c(cli: Cli, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    words = ", ".join(f"{name}={value!r}" for name, value in (SMALL | {"steps": 20, "step": 0.4}).items())
    script.write_text(
        f"from scalesearch import Search\nprint('begun')\nSearch('tiny.yaml', {words}, out='run').run()\n"
    )
    begun = subprocess.Popen(
        [sys.executable, "-u", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert begun.stdout is not None
    heard = ""
    for line in begun.stdout:
        heard += line
        if line.startswith("[1/3]"):
            os.kill(begun.pid, signal.SIGINT)
    assert begun.wait(60) != 0
    assert "stopped: what was finished is kept in run; the same call goes on from there" in " ".join(heard.split())
    again = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert again.count("begun") == 1 and heard.count("begun") == 1, "workers do not run the script"
    assert " of 3 trials were done before" in again and "[3/3]" in again


def test_a_notebook_is_shown_one_bar_that_grows(quick: Recipe, tiny: ModelSpec) -> None:
    import io

    import pandas as pd
    from rich.console import Console

    from scalesearch.candidates.grid import plan
    from scalesearch.candidates.resolve import resolve_baseline
    from scalesearch.search.notebook_progress import NotebookWatcher

    first = plan(resolve_baseline(quick, tiny).baseline, 1.0, quick.search, num_classes=12).candidates[0]
    shown: list[str] = []
    watcher = NotebookWatcher(Console(file=io.StringIO()), shown.append)
    watcher.wanted(2)
    watcher.trial_started(0, first, 0)
    watcher.trial_step(0, 3, 6, 2.5, 100.0)
    row = {"rank": 1, "alpha": 1.0, "beta": 1.2, "gamma": 1.0, "accuracy": 0.5, "sd": None, "ratio": 2.0}
    watcher.trial_finished(first, {}, pd.DataFrame([row]))
    watcher.close()
    assert all(html.startswith('<progress max="2" value="') for html in shown)
    values = [float(html.partition('value="')[2].partition('"')[0]) for html in shown]
    assert values == sorted(values) and values[-1] == 1
    assert "1/2 trials" in shown[-1] and "best so far" in shown[-1] and "50.0" in shown[-1]
