"""Modules on the command line: check, grid, scale and export on a user's own network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec_files import load_spec
from tests.support.small import MINE, TESTS, TINY_RUN, Cli

NASTIES = TESTS / "support" / "nasties.py"


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE.format(width=8))
    return "mine.py:build_net"


def test_check_says_what_scales(cli: Cli, own: str) -> None:
    done = cli("check", own, "--resolution", "32", "--account")
    assert done.returncode == 0, done.stderr
    assert "1 stage of 2 blocks" in done.stdout
    assert "stay: head (the classes)" in done.stdout
    assert "resolution  any (native 32 px)" in done.stdout
    assert done.stdout.count("✓") == 1 + 5 + 1, "identity, five copies, the legend"
    assert "body.2.one: 8 → 8 (new)" in done.stdout
    data = json.loads(cli("check", own, "--resolution", "32", "--json").stdout)
    assert data["holds"]
    assert [stage["blocks"] for stage in data["stages"]] == [2]
    assert 1.9 < data["law"]["resolution"] < 2.1
    assert data["law"]["width"] > 1.5


def test_check_of_a_table_of_stages_works_too(cli: Cli) -> None:
    done = cli("check", "tiny.yaml")
    assert done.returncode == 0, done.stderr
    assert "identity    ✓" in done.stdout


def test_a_refused_network_is_one_line_that_names_the_layer(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(NASTIES, tmp_path)
    done = cli("check", "nasties.py:SelfAttention")
    assert done.returncode == 2
    assert done.stderr.startswith("error: attention: attention: its heads")
    assert "Traceback" not in done.stderr


MODULES = ("mine.py:build_net", "timm:test_resnet", "torchvision:squeezenet1_1")
OF_A_GRID = ("--recipe", "quick", "--resolution", "32", "--limit", "96", "--set", "train.batch_size=8",
             "--device", "cpu", "--workers", "0")  # fmt: skip
"""The quick recipe with its own steps, so that the search is long enough to be quoted."""


@pytest.mark.parametrize("baseline", MODULES)
def test_a_dry_run_quotes_a_search_over_any_module(baseline: str, cli: Cli, own: str) -> None:
    done = cli("grid", "--baseline", baseline, *OF_A_GRID, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seconds"] > 0


@pytest.mark.long
@pytest.mark.parametrize("baseline", MODULES)
def test_a_search_over_any_module_is_quoted_and_trained_to_its_end(
    baseline: str, cli: Cli, own: str, tmp_path: Path
) -> None:
    done = cli("grid", "--baseline", baseline, *OF_A_GRID, "--exhaustive", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "of training; quoted for" in done.stdout
    assert len(json.loads((tmp_path / "run" / "ranking.json").read_text())["ranking"]) >= 5


@pytest.mark.long
def test_a_grid_over_a_users_own_network_to_its_exported_winner(cli: Cli, own: str, tmp_path: Path) -> None:
    done = cli("grid", "--baseline", own, *TINY_RUN, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "build_net · φ 1" in done.stdout
    ranking = json.loads((tmp_path / "run" / "ranking.json").read_text())["ranking"]
    assert len(ranking) >= 5
    assert all(row["fvcore_macs"] == row["macs"] for row in ranking)
    trials = (tmp_path / "run" / "trials.csv").read_text()
    assert "failed" not in trials
    spec = load_spec(tmp_path / "run" / "specs" / "build_net-phi2.yaml")
    assert isinstance(spec, ModuleSpec)
    assert spec.origin is not None
    assert spec.origin.alpha == ranking[0]["alpha"]

    again = cli("scale", "--from", "run", "--phi", "2", "--out", "two.yaml")
    assert again.returncode == 0, again.stderr
    two = load_spec(tmp_path / "two.yaml")
    assert two.fingerprint == spec.fingerprint

    small = cli("scale", "--baseline", own, "--resolution", "32", "--phi", "1", "--out", "one.yaml")
    assert small.returncode == 0, small.stderr
    assert load_spec(tmp_path / "one.yaml").resolution == 37

    exported = cli("export", "one.yaml", "--num-classes", "4")
    assert exported.returncode == 0, exported.stderr
    program = torch.export.load(tmp_path / "build_net-phi1.pt2").module()
    assert program(torch.zeros(3, 3, 37, 37)).shape == (3, 4)


@pytest.mark.long
def test_export_to_onnx_runs_elsewhere(cli: Cli, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    done = cli("export", "tiny.yaml", "--format", "onnx", "--num-classes", "4", "--out", "net.onnx")
    assert done.returncode == 0, done.stderr
    assert "differ by at most" in done.stdout
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": torch.zeros(5, 3, 16, 16).numpy()})
    assert logits.shape == (5, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("export", "tiny.yaml", "--format", "tflite"),
            "--format: expected pt2, onnx, executorch, litert, safetensors, pt, python or timm, got",
        ),
        (("export", "nowhere.yaml"), "no spec file at nowhere.yaml"),
        (("export", "tiny.yaml", "--weights", "nowhere.pt"), "no weights: there is no file nowhere.pt"),
        (("export", "tiny.yaml", "--int8"), "--int8: expected --format onnx"),
        (("export", "tiny.yaml", "--data", "embedded"), "--int8: expected it, where images or ranges are given"),
        (("export", "tiny.yaml", "--format", "onnx", "--int8"), "no weights for tiny.yaml"),
        (("baselines", "mine.py:build_net"), "scalesearch check mine.py:build_net"),
        (("scale", "--baseline", "mine.py:build_nte", "--phi", "1"), "Did you mean build_net?"),
        (
            ("grid", "--baseline", "timm:resnet18_", "--phi", "1"),
            "no model 'resnet18_'. Did you mean resnet18",
        ),
    ],
)
def test_a_mistake_is_one_red_line(arguments: tuple[str, ...], message: str, cli: Cli, own: str) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_depth_of_a_network_without_blocks_is_not_searched(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(NASTIES, tmp_path)
    done = cli("candidates", "--baseline", "nasties.py:ThroughView", "--resolution", "32", "--step", "0.1")
    assert done.returncode == 0, done.stderr
    assert "alpha stays 1: no block of it is repeated" in done.stdout
    assert "1.1 " not in [line.split()[0] + " " for line in done.stdout.splitlines() if line[:1].isdigit()]
