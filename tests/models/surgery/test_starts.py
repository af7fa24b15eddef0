"""How copies start: each class of layers by its own law, however small a layer is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.scale import scale_module


def _classifier(inputs: int = 80, classes: int = 2) -> Any:
    return nn.Sequential(
        nn.Conv2d(3, inputs, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)
    )


@pytest.mark.parametrize(("inputs", "classes"), [(80, 2), (16, 2), (8, 3), (16, 10), (512, 10)])
def test_a_small_layer_is_drawn_as_widely_as_torch_draws_it(inputs: int, classes: int) -> None:
    """Of a hundred draws none is read as another scheme: its copy's spread stays torch's, for the new fan-in."""
    wrong = 0
    for seed in range(100):
        torch.manual_seed(seed)
        network = Network(_classifier(inputs, classes), 16)
        wider: Any = network.scaled(width=2).build()
        weight = wider[4].weight.detach()
        wanted = 1 / math.sqrt(3 * weight.shape[1])
        wrong += not 0.5 < float(weight.std()) / wanted < 2
    assert wrong == 0


SCHEMES: dict[str, Callable[[torch.Tensor], object]] = {
    "kaiming fan out": lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
    "kaiming uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "xavier": nn.init.xavier_uniform_,
    "truncated 0.02": lambda w: nn.init.trunc_normal_(w, std=0.02),
    "nobody's: 1.3 over the root of the fan-in": lambda w: w.data.normal_(0, 1.3 / math.sqrt(w[0].numel())),
    "orthogonal": nn.init.orthogonal_,
}


@pytest.mark.parametrize("name", SCHEMES)
def test_a_copy_is_drawn_as_widely_as_its_author_would(name: str) -> None:
    """The spread of a wider network's weights, beside that of the same network built wider and drawn by its author."""

    def build(width: int) -> Any:
        model = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 10),
        )  # fmt: skip
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                SCHEMES[name](module.weight)
        return model

    torch.manual_seed(0)
    copy: Any = scale_module(build(32), width=2, resolution=32)
    author = build(64)
    for index in (0, 2, 6):
        ratio = float(copy[index].weight.detach().std()) / float(author[index].weight.detach().std())
        assert ratio == pytest.approx(1, abs=0.25 if index == 6 or name == "orthogonal" else 0.12)


def test_what_shows_no_law_is_said() -> None:
    model = _classifier()
    with torch.no_grad():
        model[0].weight.normal_(0, 0.777)
    assert "no scheme known: the spread that was seen, by fan-in (1)" in Network(model, 32).starts


def test_spectral_norms_start_with_the_singular_value_of_the_new_weight() -> None:
    for norm in (nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm):
        model = nn.Sequential(norm(nn.Conv2d(3, 16, 3, 2, 1)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        network = Network(nn.Sequential(*model, nn.Linear(16, 10)), 32)
        copy: Any = network.scaled(width=2).build()
        layer = copy[0].eval()
        layer(torch.zeros(1, 3, 32, 32))
        assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) == pytest.approx(1, rel=0.05)


def test_weight_norms_start_with_the_length_of_the_new_rows() -> None:
    for norm in (nn.utils.parametrizations.weight_norm, nn.utils.weight_norm):
        first = norm(nn.Conv2d(3, 16, 3, 2, 1))
        network = Network(nn.Sequential(first, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)), 32)
        copy: Any = network.scaled(width=2).build()
        copy(torch.zeros(1, 3, 32, 32))
        assert copy[0].weight.shape[0] == 32
        assert float(copy[0].weight.detach().std()) == pytest.approx(1 / math.sqrt(3 * 27), rel=0.15)
