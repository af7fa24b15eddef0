"""--notify: the user's command hears how ours has ended, and changes nothing."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from scalesearch.cli.notify import facts, notifying
from scalesearch.errors import RunError
from tests.support.small import FROZEN, RESULTS, Cli

FACTS = ("STATE", "BEST", "ACCURACY", "TRIALS", "ERROR")
TELL = "printf '%s|%s|%s|%s|%s' " + " ".join(f'"$SCALESEARCH_{name}"' for name in FACTS) + " > {}"


def test_a_finished_run_is_told_with_its_best(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with notifying(TELL.format(told)) as ended:
        ended.run = RESULTS / "efficientnet_b0-phi1-quick"
    assert told.read_text() == "finished|α 1 β 1.2 γ 1.2|0.5533|7/7|"


def test_a_failure_is_told_and_stays_one(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with pytest.raises(RunError), notifying(TELL.format(told)):
        raise RunError("the disk is full\nand more")
    assert told.read_text() == "failed||||the disk is full"


@pytest.mark.parametrize("how", ["interrupted", "terminated"])
def test_ctrl_c_and_sigterm_are_interruptions(how: str, tmp_path: Path) -> None:
    told, before = tmp_path / "told", signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), notifying(TELL.format(told)) as ended:
        ended.run = tmp_path / "not-there"
        os.kill(os.getpid(), signal.SIGTERM if how == "terminated" else signal.SIGINT)
        signal.pause()
    assert told.read_text() == "interrupted||||"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_that_fails_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with notifying("echo to stdout; exit 3"):
        print("a table")
    out, err = capfd.readouterr()
    assert out == "a table\n" and err == "to stdout\nnote: --notify ended with code 3: echo to stdout; exit 3\n"


def test_a_dry_run_says_that_nothing_is_told(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with notifying(f"touch {tmp_path / 'told'}", dry_run=True):
        pass
    assert "so --notify is not run" in capfd.readouterr().err and not (tmp_path / "told").exists()


def test_a_comparison_names_the_best_of_each_baseline(tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(FROZEN / "format-2", tmp_path / "comparison" / name)
    found = facts(tmp_path / "comparison", "finished", "", 1.0)
    assert [each.partition(":")[0] for each in found["SCALESEARCH_BEST"].split("; ")] == ["one", "two"]
    assert found["SCALESEARCH_ACCURACY"] == "" and found["SCALESEARCH_RUN"] == str(tmp_path / "comparison")


@pytest.mark.parametrize("command", ["grid", "compare", "nas", "train"])
def test_every_long_command_has_it(cli: Cli, tmp_path: Path, command: str) -> None:
    network = {"train": ("tiny.yaml",), "nas": ()}.get(command, ("--baseline", "tiny.yaml"))
    done = cli(command, *network, "--recipe", "gone", "--device", "cpu", "--notify", 'echo "$SCALESEARCH_STATE" > told')
    assert done.returncode == 2 and "no recipe 'gone'" in done.stderr
    assert (tmp_path / "told").read_text() == "failed\n"
