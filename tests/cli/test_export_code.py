"""`export --format python`, `timm`, `safetensors`, `pt`: files that train without scalesearch, mistakes in a line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer
import yaml
from safetensors.torch import load_file

from scalesearch.cli.main import app
from scalesearch.errors import ScaleSearchError
from scalesearch.models.build import build_model
from scalesearch.models.weights_file import About, read_about, read_state, write_weights
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import dump_spec
from tests.support.small import MINE, TINY

pytest.importorskip("timm")
Run = Callable[..., str]

THIRTY_STEPS = """
import importlib, sys, warnings

class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "scalesearch":
            raise ImportError("there is no scalesearch here")

sys.meta_path.insert(0, Nobody())
sys.path.insert(0, ".")
warnings.simplefilter("ignore")
import timm, torch

def train(name, model, classes, side):
    images = torch.randn(8, 3, side, side, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % classes
    optimizer = torch.optim.SGD(model.train().parameters(), 0.05, momentum=0.9)
    losses = []
    torch.manual_seed(0)  # for dropout
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad(), loss.backward(), optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5]), losses
    print(name, "trained")

for name in ("tiny", "build_net"):
    made = importlib.import_module(name)
    model = made.build_model(weights=f"{name}.safetensors")
    made.count(model)
    train(name, model, made.NUM_CLASSES, made.RESOLUTION)
import separable
model = timm.create_model("separable", pretrained=True)
separable.count(model)
train("separable", model, 3, 32)
torch.save(timm.create_model("separable", pretrained=True).state_dict(), "theirs.pt")
assert "scalesearch" not in sys.modules
"""

SEPARABLE = TINY.replace("basic, channels: 16", "depthwise_separable, channels: 16").replace("tiny", "separable")


@pytest.fixture
def run(tiny: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``scalesearch …`` in this process, in a folder with two trained networks and one of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    torch.manual_seed(0)  # thirty steps from other weights need not lower the loss
    for spec in (tiny, ModelSpec.model_validate(yaml.safe_load(SEPARABLE))):
        folder = tmp_path / f"{spec.name}-trained"
        folder.mkdir()
        (folder / "spec.yaml").write_text(dump_spec(spec))
        about = About(spec, ("a", "b", "c"), spec.resolution, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 0.9)
        write_weights(folder / "weights.safetensors", build_model(spec, 3).state_dict(), about)
    (tmp_path / "mine.py").write_text(MINE.format(width=8))

    def command(*arguments: str) -> str:
        capsys.readouterr()
        typer.main.get_command(app).main(list(arguments), prog_name="scalesearch", standalone_mode=False)
        return capsys.readouterr().out

    return command


def test_what_is_exported_trains_where_there_is_no_scalesearch(run: Run, tmp_path: Path) -> None:
    assert "wrote tiny.py" in run("export", "tiny-trained", "--format", "python")
    told = run("export", "mine.py:build_net", "--format", "python", "--resolution", "24", "--num-classes", "3")
    assert "wrote build_net.safetensors" in told and ": fresh weights, as the network's own scheme draws them" in told
    told = run("export", "separable-trained", "--format", "timm", "--recipe", "quick")
    assert "differ by at most 0.0e+00" in told
    done = subprocess.run(
        [sys.executable, "-I", "-c", THIRTY_STEPS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "trained" in line] == [
        "tiny trained", "build_net trained", "separable trained",
    ]  # fmt: skip
    assert done.stdout.count("parameters, as written") == done.stdout.count("multiply-adds in convolutions") == 3
    code = (tmp_path / "tiny.py").read_text()
    assert "MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)" in code and 'CLASSES = (\n    "a",\n' in code
    ours = read_state(tmp_path / "separable-trained" / "weights.safetensors")
    theirs = torch.load("theirs.pt", weights_only=True)
    assert all(torch.equal(a, b) for a, b in zip(ours.values(), theirs.values(), strict=True)), "in the same order"
    assert "names differ" in run("export", "separable.safetensors", "--format", "pt", "--out", "back.pt")


def test_a_rectangles_entry_gets_a_name_that_python_can_import(run: Run, tmp_path: Path) -> None:
    """timm has a resnet18 of its own, so that the size is put behind the name."""
    assert "wrote resnet18_32_64.py" in run("export", "resnet18", "--format", "timm", "--resolution", "32x64")
    assert "RESOLUTION = 11_689_512, 74_534_912, (32, 64)" in (tmp_path / "resnet18_32_64.py").read_text()


def test_an_entry_says_what_of_the_training_timms_program_cannot_repeat(run: Run, tmp_path: Path) -> None:
    recipe = "data: {crop: squash}\ntrain: {epochs: 1, class_weights: balanced, grow_from: small}\n"
    (tmp_path / "own.yaml").write_text(recipe)
    run("export", "separable-trained", "--format", "timm", "--recipe", "own.yaml", "--out", "squashed.py")
    told = " ".join((tmp_path / "squashed.py").read_text().split())
    for what in ("it was grown from the weights of small", "counts all alike", "were squashed (data.crop)"):
        assert what in told, what


def test_weights_are_written_in_either_form(run: Run, tmp_path: Path) -> None:
    assert "classes, resolution, normalisation and spec are in it" in run(
        "export", "tiny-trained", "--format", "safetensors", "--out", "again.safetensors"
    )
    assert read_about(tmp_path / "again.safetensors") == read_about(tmp_path / "tiny-trained" / "weights.safetensors")
    assert "a state dict alone" in run("export", "again.safetensors", "--format", "pt")
    before, after = load_file("again.safetensors"), torch.load("tiny.pt", weights_only=True)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("tiny-traned", "--format", "python"), "no such folder: tiny-traned; did you mean tiny-trained?"),
        (("mobilenet_v2", "--format", "safetensors"), "mobilenet_v2 has fresh weights, and those are nobody's"),
        (("tiny-trained", "--format", "timm"), "timm's ResNet cannot be this network: its blocks are of several kinds"),
        (("separable-trained", "--format", "timm", "--out", "a-b.py"), "a name that Python can import, such as a_b.py"),
        (("separable-trained", "--format", "timm", "--out", "resnet18.py"), "a name that timm has not given to"),
        (("tiny-trained", "--format", "python", "--out", "tiny-trained"), "it is a folder, and --out names a file"),
        (
            ("tiny-trained", "--format", "jax"),
            "--format: expected pt2, onnx, executorch, litert, safetensors, pt, python",
        ),
    ],
)
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(ScaleSearchError) as caught:
        run("export", *arguments)
    assert told in str(caught.value) and "\n" not in str(caught.value)
