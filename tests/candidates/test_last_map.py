"""A step in what candidates see last is told, and what is told of it is so."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from scalesearch.candidates.grid import Candidate
from scalesearch.candidates.last_map import step_in_last_maps
from scalesearch.models.catalogue import open_baseline
from scalesearch.models.spec_model import SpecModel
from scalesearch.scaling.compound import Coefficients, Multipliers
from scalesearch.scaling.spec import ModelSpec


def _at(spec: ModelSpec, *resolutions: int) -> list[Candidate]:
    found = []
    for resolution in resolutions:
        model = SpecModel(spec.model_copy(update={"resolution": resolution}))
        found.append(Candidate(Coefficients(1, 1, 1), model, model.cost(10), 1.0))
    return found


@pytest.fixture
def halves_five_times() -> ModelSpec:
    spec = open_baseline("mobilenet_v2").native
    assert isinstance(spec, ModelSpec) and spec.total_stride == 32
    return spec


def test_rows_on_both_sides_of_a_multiple_of_the_stride(halves_five_times: ModelSpec) -> None:
    words = step_in_last_maps(_at(halves_five_times, 64, 65, 70), 64)
    assert words is not None
    assert "2 × 2 positions (64 px) or 3 × 3 positions (65 to 70 px)" in words
    calm = int(re.search(r"--resolution (\d+)", words)[1])  # type: ignore[index]
    again = [round(calm * r / 64) for r in (64, 65, 70)]
    assert calm > 64 and step_in_last_maps(_at(halves_five_times, *again), calm) is None


@pytest.mark.parametrize("resolutions", [(64,), (65, 70, 96), (64, 96), (224, 258), (224, 225)])
def test_maps_that_grow_as_images_do_are_no_step(resolutions: tuple[int, ...], halves_five_times: ModelSpec) -> None:
    assert step_in_last_maps(_at(halves_five_times, *resolutions), resolutions[0]) is None


class _Measured:
    """The side of the last map that reaches a network's pooling."""

    def __init__(self, network: nn.Module) -> None:
        self.side = 0
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_hook(self._note)

    def _note(self, _: nn.Module, __: object, output: Tensor) -> None:
        self.side = output.shape[-1]


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v1", "resnet18", "torchvision:mobilenet_v3_small"])
@pytest.mark.parametrize("resolution", [33, 64, 65, 97])
def test_a_last_maps_side_is_what_the_network_makes(name: str, resolution: int) -> None:
    model = open_baseline(name).at(resolution=resolution).scaled(Multipliers(1, 1, 1))
    network = model.build(10).eval()
    measured = _Measured(network)
    with torch.inference_mode():
        network(torch.zeros(1, 3, resolution, resolution))
    assert model.last_side == measured.side


@dataclass(frozen=True)
class _Sized:
    """A model of which only these two are known."""

    resolution: int
    last_side: int


@given(st.lists(st.integers(16, 300), min_size=1, max_size=8), st.sampled_from([4, 8, 16, 32]))
def test_what_is_told_names_every_candidate_and_its_advice_holds(resolutions: list[int], stride: int) -> None:
    base = min(resolutions)
    candidate = Candidate(Coefficients(1, 1, 1), SpecModel(TINY), SpecModel(TINY).cost(2), 1.0)

    def words_at(pixels: list[int]) -> str | None:
        sized = [replace(candidate, model=_Sized(p, -(-p // stride))) for p in pixels]  # type: ignore[arg-type]
        return step_in_last_maps(sized, pixels[resolutions.index(base)])

    words = words_at(resolutions)
    if words is None:
        return
    assert all(f"{side} × {side}" in words for side in {-(-p // stride) for p in resolutions})
    if found := re.search(r"--resolution (\d+)", words):
        assert words_at([round(int(found[1]) * p / base) for p in resolutions]) is None


TINY = ModelSpec.model_validate(
    {
        "name": "tiny", "resolution": 16, "activation": "relu", "stem": {"channels": 8},
        "stages": [{"op": "basic", "channels": 8, "repeats": 1}],
    }
)  # fmt: skip
