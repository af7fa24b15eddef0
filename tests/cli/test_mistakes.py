"""Mistakes that a person makes with files and settings, and what the command says of them in one line."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from scalesearch.cli.commands.train import train_command
from scalesearch.cli.notify import Ended
from scalesearch.models.module_model import forget
from scalesearch.training.single import TrainRequest
from tests.support.small import MINE, TINY, make_folder, run_here

Command = Callable[..., tuple[object, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``winner`` and ``mine``, trained for a step: the tiny table and a module of the user's, on ``photos``."""
    root = tmp_path_factory.mktemp("mistakes")
    (root / "tiny.yaml").write_text(TINY)
    (root / "mine.py").write_text(MINE.format(width=8))
    make_folder(root / "photos", {"a": 20, "b": 20, "c": 20}, split=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for spec, out in (("tiny.yaml", "winner"), ("mine.py:build_net", "mine")):
            short = {"device": "cpu", "train.steps": 1, "data.source": "folder:photos"}
            wish = TrainRequest(spec, "quick", short, resolution=24, out=Path(out))
            train_command(wish, Ended(), processes=1, as_json=False)
    yield root


@pytest.fixture
def command(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``scalesearch …`` in this process, in a folder of the test's own with links to what is there."""
    for each in ("tiny.yaml", "photos"):
        (tmp_path / each).symlink_to(made / each)
    for each in ("winner", "mine"):
        (tmp_path / each).mkdir()
        for file in (made / each).iterdir():
            if file.is_file():
                (tmp_path / each / file.name).write_bytes(file.read_bytes())
    (tmp_path / "mine.py").write_bytes((made / "mine.py").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str) -> tuple[object, str, str]:
        code, out, err = run_here(monkeypatch, capsys, *arguments)
        return code, out, " ".join((out + err).split())

    return run


RUN = ("--recipe", "quick", "--data", "folder:photos", "--device", "cpu", "--resolution", "24", "--steps", "1")
SEARCH = ("grid", "--baseline", "tiny.yaml", *RUN, "--step", "0.2", "--workers", "0", "--top", "0", "--out", "run")


@pytest.mark.parametrize("source", ["mine", "mine.py:build_net"])
def test_the_users_own_file_is_not_overwritten(command: Command, tmp_path: Path, source: str) -> None:
    before = (tmp_path / "mine.py").read_bytes()
    code, _, said = command("export", source, "--format", "python", "--num-classes", "3", "--out", "mine.py")
    assert code == 2 and "--out: expected another name than mine.py, of which the network is made" in said
    assert (tmp_path / "mine.py").read_bytes() == before


def test_code_replaces_what_export_wrote_and_nothing_else(command: Command, tmp_path: Path) -> None:
    assert command("export", "winner", "--format", "python", "--out", "net.py")[0] == 0
    assert command("export", "winner", "--format", "python", "--out", "net.py")[0] == 0, "its own is replaced"
    (tmp_path / "net.py").write_text("answer = 42\n")
    code, _, said = command("export", "winner", "--format", "python", "--out", "net.py")
    assert code == 2 and "net.py is there, and export did not write it" in said
    assert (tmp_path / "net.py").read_text() == "answer = 42\n"


def test_weights_are_not_written_over_those_that_are_read(command: Command, tmp_path: Path) -> None:
    weights = tmp_path / "winner" / "weights.safetensors"
    before = weights.read_bytes()
    for form in ("safetensors", "pt", "onnx"):
        code, _, said = command("export", "winner", "--format", form, "--out", str(weights))
        assert code == 2 and "of which the network is made" in said
    assert weights.read_bytes() == before


@pytest.mark.parametrize("begin", ["winner", "winner/weights.safetensors"])
def test_a_grid_begins_wider_candidates_afresh_and_says_so(command: Command, begin: str) -> None:
    code, _, said = command(*SEARCH, "--from-weights", begin)
    assert code == 0, said
    assert "have no layer as wide as the file's and start afresh, which counts against them" in said
    code, _, said = command(*SEARCH, "--from-weights", begin, "--dry-run")
    assert code == 0 and "start afresh" in said


def test_weights_that_fit_no_candidate_are_refused_before_training(command: Command, tmp_path: Path) -> None:
    wide = yaml.safe_load(TINY)
    for stage in wide["stages"]:
        stage["channels"] *= 3
    wide["stem"]["channels"] *= 3
    (tmp_path / "wide.yaml").write_text(yaml.safe_dump(wide))
    short = {"device": "cpu", "train.steps": 1, "data.source": "folder:photos"}
    wish = TrainRequest("wide.yaml", "quick", short, resolution=24, out=tmp_path / "wide")
    train_command(wish, Ended(), processes=1, as_json=False)
    code, _, said = command(*SEARCH, "--from-weights", "wide", "--max-beta", "1")
    assert code == 2 and "no candidate has a layer as wide as the file's" in said
    code, _, said = command("train", "tiny.yaml", *RUN, "--from-weights", "wide", "--out", "t")
    assert code == 2 and "fits no layer of this network" in said


@pytest.mark.parametrize("verb", [("train", "mine/spec.yaml", *RUN, "--out", "t"),
                                  ("scale", "--baseline", "mine/spec.yaml", "--phi", "1"),
                                  ("candidates", "--baseline", "mine/spec.yaml")])  # fmt: skip
def test_a_module_that_is_another_one_by_now_is_noticed(
    command: Command, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    (tmp_path / "mine.py").write_text(MINE.format(width=12))
    forget()  # as a new process has
    code, _, said = command(*verb)
    assert code == 2 and "is another network than with torch" in said, said


def test_the_price_has_the_verification(command: Command) -> None:
    code, _, said = command(*SEARCH, "--verify", "3", "--longer", "20", "--dry-run")
    assert code == 0 and "then --verify: 3 of them again, 20 times as long: about " in said
    code, _, said = command(*SEARCH, "--step", "0.5", "--verify", "3")
    assert code == 2 and "--verify compares three candidates or more, and these are 2" in said


@pytest.mark.parametrize("channels", [1, 4])
def test_networks_of_other_channels_are_timed_in_training(command: Command, tmp_path: Path, channels: int) -> None:
    (tmp_path / "other.py").write_text(MINE.format(width=8).replace("Conv2d(3,", f"Conv2d({channels},"))
    code, out, said = command(
        "bench", "other.py:build_net", "--resolution", "24", "--training", "--seconds", "0.05", "--rounds", "1",
        "--device", "cpu", "--batch-size", "4",
    )  # fmt: skip
    assert code == 0 and "failed" not in out + said, out + said


def test_published_constants_are_shown_where_they_scale_another_network(command: Command) -> None:
    code, out, _ = command("scale", "--baseline", "resnet18", "--preset", "published", "--phi", "1", "--out", "b1.yaml")
    assert code == 0 and "EfficientNet's B1" in out
    code, _, said = command("scale", "--preset", "published", "--phi", "1", "--alpha", "1.9")
    assert code == 2 and "leave out --alpha, --beta, --gamma, --from" in said
    code, _, said = command("scale", "--baseline", "mine.py:build_net", "--preset", "published", "--phi", "1")
    assert code == 2 and "constants are of tables of stages" in said


def test_one_candidate_gives_no_warning(command: Command) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        code, _, said = command(*SEARCH, "--step", "0.5", "--set", "search.also=[]", "--seeds", "2")
    assert code == 0, said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--epochs", "1"), "train: expected either epochs or steps, got {'steps': 1, 'epochs': 1.0}"),
        (("--freeze",), "train: expected from_weights beside freeze and head_only_epochs: fresh features would stay "
                        "as they are, got {'freeze': True}"),
        (("--set", "data.mean=[0.5]"), "data: expected both mean and std, or neither, got {'mean': [0.5]}"),
        (("--set", "search.also=[[1, 2]]"), "expected a value, and there is none"),
    ],
)  # fmt: skip
def test_of_a_sections_rule_the_keys_that_it_names_are_shown(
    command: Command, options: tuple[str, ...], told: str
) -> None:
    code, _, said = command("train", "tiny.yaml", *RUN, *options, "--out", "t")
    assert code == 2 and told in said, said


def test_what_is_no_file_of_weights_is_said_without_advice_to_run_it(command: Command, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(next((tmp_path / "photos" / "a").iterdir()).read_bytes())
    torch.save({"model": nn.Linear(2, 2)}, tmp_path / "whole.pt")
    for file, told in (("x.png", "no file of torch's"), ("tiny.yaml", "no file of torch's"),
                       ("whole.pt", "objects of code (torch.nn.modules.linear.Linear), which is not run")):  # fmt: skip
        code, _, said = command("train", "tiny.yaml", *RUN, "--from-weights", file, "--out", "t")
        assert code == 2 and told in said and "weights_only" not in said, said


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("self.nothere(x)", "AttributeError: 'Net' object has no attribute 'nothere' (buggy.py:9)"),
        ("x[nobody]", "NameError: name 'nobody' is not defined (buggy.py:9)"),
        ("{}['key']", "KeyError: 'key' (buggy.py:9)"),
    ],
)
def test_a_mistake_in_ones_own_network_is_told_by_kind_and_line(
    command: Command, tmp_path: Path, line: str, told: str
) -> None:
    code = f"""from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)

    def forward(self, x):
        {line}
        return self.b(self.a(x).relu().mean((2, 3)))

def build():
    return Net()
"""
    (tmp_path / "buggy.py").write_text(code)
    for verb in (("check", "buggy.py:build"), ("train", "buggy.py:build", *RUN, "--out", "t")):
        forget()
        ended, _, said = command(*verb)
        assert ended == 2 and told in said, said


def test_no_command_shows_the_help_alone(command: Command) -> None:
    code, _, said = command()
    assert code == 2 and "Usage" in said and "(--help lists the options)" not in said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--set", "phi=3", "--set", "seeds=3"), "phi and seeds say nothing about one training: searches take it"),
        (("--set", "search.step=0.1"), "search.step says nothing about one training"),
        (("--from-weights", "mine", "--head-only", "100"), "train.head_only_epochs are all 2 epochs"),
        (("--from-weights", "mine", "--freeze", "--head-only", "1"), "changes nothing beside freeze"),
        (
            ("--set", "train.stochastic_depth=0.5"),
            "train.stochastic_depth changes nothing: build_net has no drop paths",
        ),
    ],
)
def test_settings_that_do_nothing_are_told(command: Command, options: tuple[str, ...], told: str) -> None:
    epochs = (*RUN[:-2], "--epochs", "2", "--out", "t", "--dry-run")
    code, _, said = command("train", "mine.py:build_net", *epochs, *options)
    assert code == 0 and told in said, said
    code, _, said = command("train", "mine.py:build_net", *epochs)
    assert code == 0 and "nothing" not in said


def test_what_a_search_would_want_a_budget_for_is_told(command: Command) -> None:
    code, _, said = command(*SEARCH, "--within", "0.01", "--max-seeds", "4", "--dry-run")
    assert code == 0 and "within and max_seeds say nothing without a confidence or a budget" in said
    code, _, said = command(*SEARCH, "--within", "0.01", "--confidence", "0.9", "--dry-run")
    assert code == 0 and "say nothing" not in said and "says nothing" not in said


WIDE = ("--match-tolerance", "0.4", "--solve", "any")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--solve", "any"), "search.solve changes nothing: candidates are matched by nothing (--match)"),
        (("--match-threads", "2", "--solve", "any"), "search.solve and search.match_threads change nothing"),
        (
            ("--match", "macs", *WIDE, "--match-threads", "2"),
            "search.match_threads changes nothing: they are",
        ),
        (
            ("--match", "params", *WIDE, "--tolerance", "0.3"),
            "search.tolerance changes nothing: they are",
        ),
    ],
)
def test_what_a_match_does_not_use_is_told(command: Command, options: tuple[str, ...], told: str) -> None:
    plan = ("candidates", "--baseline", "tiny.yaml", "--resolution", "24")
    code, _, said = command(*plan, *options)
    assert code == 0 and told in said, said
    code, _, said = command(*plan, *options[:-2] if options[0] == "--match" else ())
    assert code == 0 and "nothing" not in said
