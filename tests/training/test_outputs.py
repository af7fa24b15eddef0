"""Which of a network's outputs is trained and measured: the row of classes, wherever it stands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from scalesearch.models.catalogue import open_baseline
from scalesearch.recipe import load_recipe
from scalesearch.scaling.compound import Multipliers
from scalesearch.training.trainer import Trainer
from tests.support.small import Cli

TRUNK = """
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class Result:
    hidden: torch.Tensor
    logits: torch.Tensor

class Net(nn.Module):
    resolution = 16

    def __init__(self):
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 12, 3, 2, 1), nn.Conv2d(12, 12, 3, 1, 1)
        self.fc, self.other = nn.Linear(12, 7), nn.Linear(12, 7)

    def features(self, x):
        return self.body(self.stem(x).relu()).mean((2, 3))

class FeaturesFirst(Net):
    def forward(self, x):
        f = self.features(x)
        return f, self.fc(f)

class LogitsFirst(Net):
    def forward(self, x):
        f = self.features(x)
        return self.fc(f), f

class Mapping(Net):
    def forward(self, x):
        f = self.features(x)
        return {"features": f, "out": {"logits": self.fc(f)}}

class AsData(Net):
    def forward(self, x):
        f = self.features(x)
        return Result(f, self.fc(f))

class MapFirst(Net):
    def forward(self, x):
        m = self.body(self.stem(x).relu())
        return m, self.fc(m.mean((2, 3)))

class Auxiliary(Net):
    def forward(self, x):
        f = self.features(x)
        return (self.fc(f), self.other(f)) if self.training else self.fc(f)
"""
ONE = ("FeaturesFirst", "LogitsFirst", "Mapping", "AsData", "MapFirst")


def _trainer(folder: Path, name: str, width: float = 1.0) -> Trainer:
    (folder / "nets.py").write_text(TRUNK)
    model = open_baseline(f"{folder}/nets.py:{name}").scaled(Multipliers(1, width, 1))
    return Trainer(model, 12, load_recipe("quick", {"train.precision": "fp32"}), torch.device("cpu"))


def _logits(trainer: Trainer, images: Tensor) -> Tensor:
    """By hand: what the classifier makes of the features."""
    net = trainer.model
    x = net.body(net.stem(trainer.normalise(images)).relu()).mean((2, 3))  # type: ignore[operator]
    return net.fc(x)  # type: ignore[operator, no-any-return]


@pytest.mark.parametrize("name", [*ONE, "Auxiliary"])
@pytest.mark.parametrize("width", [1.0, 1.5])  # at 1 the features are as many as the classes
def test_the_row_of_classes_is_what_is_trained(name: str, width: float, tmp_path: Path) -> None:
    trainer = _trainer(tmp_path, name, width)
    images, labels = torch.randint(0, 255, (4, 3, 16, 16), dtype=torch.uint8), torch.tensor([0, 1, 2, 11])
    smoothing = trainer.settings.label_smoothing
    expected = functional.cross_entropy(_logits(trainer, images), labels, label_smoothing=smoothing)
    if name == "Auxiliary":
        net = trainer.model
        x = net.body(net.stem(trainer.normalise(images)).relu()).mean((2, 3))  # type: ignore[operator]
        other = functional.cross_entropy(net.other(x), labels, label_smoothing=smoothing)  # type: ignore[operator]
        expected = expected + 0.3 * other
    trainer.model.train()
    assert torch.allclose(trainer._loss(trainer.model, images, labels), expected, atol=1e-5)
    trainer.model.eval()
    (row,) = trainer._logits(trainer.model, images)
    assert torch.allclose(row, _logits(trainer, images), atol=1e-5)


def test_check_says_what_is_left_out(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(TRUNK)
    done = cli("check", "nets.py:FeaturesFirst")
    assert "output      number 2 of 2 is the row of classes; 1 left out of loss and accuracy" in done.stdout
    assert "output " not in cli("check", "nets.py:Auxiliary").stdout
