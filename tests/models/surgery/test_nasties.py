"""Networks made to trip surgery up: each is scaled as its author would have, or refused; none is scaled wrongly."""

# mypy: disable-error-code="call-arg, union-attr, arg-type, index, unused-ignore"
from __future__ import annotations

import pytest
import torch
from torch import nn

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity
from scalesearch.models.surgery.scale import scale_module
from scalesearch.models.surgery.tagger import flatten
from scalesearch.scaling.compound import Rounding
from tests.support import nasties
from tests.support.nasties import Net

SCALED = [
    nasties.SharedTwice,
    nasties.ResidualAcrossStages,
    nasties.ConcatThenSplit,
    nasties.ThroughView,
    nasties.KeepsItsWidth,
    nasties.ChannelBuffer,
    nasties.TiedWeights,
    nasties.Dictionary,
    nasties.Conditional,
    nasties.ChannelParameter,
    nasties.ScaleByFanIn,
    nasties.LiteralView,
    nasties.NamedChain,
]


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("kind", SCALED, ids=lambda kind: str(kind.__name__))
def test_it_is_widened_as_its_author_would(kind: type[Net]) -> None:
    """×1.5 of 16 channels is what the class itself builds with 24."""
    scaled = scale_module(kind(), width=1.5, resolution=32)
    assert _shapes(scaled) == _shapes(kind(24))  # type: ignore[arg-type, call-arg]


@pytest.mark.parametrize("kind", SCALED, ids=lambda kind: str(kind.__name__))
def test_it_trains_and_its_copy_is_the_same(kind: type[Net]) -> None:
    model = kind()  # type: ignore[call-arg]
    network = Network(model, 32)
    prove_identity(network, model)
    prove(network.scaled(width=0.5))
    scaled = scale_module(model, width=1.5, resolution=32, num_classes=7).train()
    outputs = list(flatten(scaled(torch.randn(4, 3, 32, 32))))
    assert outputs[0].shape == (4, 7)
    torch.autograd.backward(sum(output.square().mean() for output in outputs))  # type: ignore[arg-type]
    frozen = [name for name, p in scaled.named_parameters() if p.grad is None]
    assert not frozen


@pytest.mark.parametrize(("kind", "layer"), [(nasties.LiteralWidth, "block.0"), (nasties.LiteralSplit, "stem.0")])
def test_a_literal_width_stays_and_the_account_says_why(kind: type[Net], layer: str) -> None:
    network = Network(kind(), 32)  # type: ignore[call-arg]
    assert "fixed" in dict(network.fixed_widths)[layer]
    scaled = network.scaled(width=2)
    prove(scaled)
    assert {row.outputs for row in scaled.account.layers if row.name == f"{layer}.weight"} == {16}


def test_tied_weights_are_still_one_parameter() -> None:
    scaled = scale_module(nasties.TiedWeights(), width=2, resolution=32)
    assert scaled.one.weight is scaled.two.weight


def test_a_scale_by_fan_in_follows_the_fan_in() -> None:
    scaled = scale_module(nasties.ScaleByFanIn(), width=1.5, resolution=32)
    assert scaled.one.scale == pytest.approx((24 * 9) ** -0.5)
    assert scaled.two.scale == pytest.approx((48 * 9) ** -0.5)


def test_a_flattened_map_takes_one_size_unless_pooling_is_allowed() -> None:
    model = nasties.FlattenedMap()
    network = Network(model, 32)
    assert network.multiple is None
    with pytest.raises(SurgeryError, match=r"48 px"):
        network.nearest(48)
    assert network.scaled(width=1.5).skeleton().head.weight.shape == (10, 24 * 64)
    pooled = Network(model, 32, adaptive_pool=True)
    prove_identity(pooled, model)
    larger = pooled.scaled(width=1.5, resolution=pooled.nearest(48))
    prove(larger)
    assert larger.build()(torch.randn(2, 3, 48, 48)).shape == (2, 10)


def test_a_width_with_numbers_that_nobody_can_continue_stays() -> None:
    network = Network(nasties.RandomBuffer(), 32)
    assert any("shift holds numbers of its own" in reason for _, reason in network.fixed_widths)
    scaled = network.scaled(width=1.5)
    prove(scaled)
    assert scaled.account.macs == network.scaled().account.macs or network.free


@pytest.mark.parametrize(("kind", "layer"), [(nasties.SelfAttention, "attention"), (nasties.WrittenOutAttention, "")])
def test_attention_is_refused_by_the_name_of_its_layer(kind: type[Net], layer: str) -> None:
    with pytest.raises(SurgeryError, match="attention: its heads") as caught:
        scale_module(kind(), width=1.5, resolution=32)  # type: ignore[call-arg]
    assert caught.value.layer.startswith(layer)


def test_blocks_called_by_name_are_repeated_where_they_stand() -> None:
    scaled = scale_module(nasties.NamedChain(), depth=2, resolution=32)
    assert scaled.account.stages == (("first–more2", 3, 6),)
    assert len(scaled.more2) == 4
    smaller = scale_module(nasties.NamedChain(), depth=0.5, resolution=32)
    assert isinstance(smaller.more2, nn.Identity)


def test_a_list_indexed_by_a_fixed_count_grows_inside_its_blocks() -> None:
    """The loop still runs six times; a stage of one block, which changes the shape, grows too."""
    network = Network(nasties.Listed(), 64)
    scaled = network.scaled(depth=2)
    prove(scaled)
    assert [after for _, _, after in scaled.account.stages] == [6, 4, 2]
    last = scaled.skeleton().blocks[5]
    assert last[1].shortcut is None
    assert last[1].body[1][0].stride == (1, 1)


def test_rounding_rules_are_the_specs() -> None:
    network = Network(nasties.NamedChain(), 32)
    fixed = network.scaled(1.5, 1.5, rounding=Rounding(fix_stem_head=True)).account
    assert fixed.layers[0].outputs == 16
    coarse = network.scaled(1, 1.3, rounding=Rounding(width_divisor=16)).account
    assert coarse.layers[0].outputs == 32  # 20.8 rounds to 16, which is less than 90 % of it


def test_new_blocks_that_would_never_run_are_refused() -> None:
    with pytest.raises(SurgeryError, match=r"does not list|a new block does not run"):
        Network(nasties.OwnList(), 32).scaled(depth=2)


def test_a_sequential_gone_through_by_index_keeps_its_indices() -> None:
    scaled = scale_module(nasties.ByIndex(), depth=2, resolution=32)
    assert isinstance(scaled.blocks[2], nn.MaxPool2d)
    assert len(scaled.blocks[1]) == 3
    scaled(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in scaled.blocks.parameters())


def test_a_width_that_nobody_sees_fixes_what_it_slices() -> None:
    network = Network(nasties.HiddenWidth(), 32)
    assert "slices it at a fixed number" in dict(network.fixed_widths)["stem.0"]


def test_what_forward_keeps_does_not_leak_from_the_meta_device() -> None:
    assert scale_module(nasties.Caches(), width=1.5, resolution=32)(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_shared_weights_are_shared_by_new_blocks_and_frozen_ones_kept() -> None:
    scaled = scale_module(nasties.SharedKernel(), depth=2, width=1.5, resolution=32)
    native = nasties.SharedKernel(24, 4)
    assert sum(p.numel() for p in scaled.parameters()) == sum(p.numel() for p in native.parameters())
    assert torch.equal(scaled.mean, native.mean)


def test_features_that_are_returned_too_are_not_the_classes() -> None:
    scaled = scale_module(nasties.WithFeatures(), width=1.5, resolution=32, num_classes=5)
    assert scaled.head.weight.shape == (5, 24)
    kept = scale_module(nasties.WithFeatures(), width=1.5, resolution=32, num_classes=5, keep_output_channels=True)
    assert kept.head.weight.shape == (5, 16), "what leaves the network keeps its shape"


def test_a_scale_of_the_width_follows_it() -> None:
    assert scale_module(nasties.ScaleOfWidth(), width=1.5, resolution=32).damp.scale == pytest.approx(24**-0.5)


def test_a_network_without_weights_in_memory_starts_by_kaimings_scheme() -> None:
    with torch.device("meta"):
        model = nasties.SharedTwice()
    scaled = scale_module(model, width=1.5, resolution=32)
    assert float(scaled.block[0].weight.detach().std()) > 0
    assert torch.equal(scaled.block[1].weight, torch.ones(24))
    with pytest.raises(SurgeryError, match="nothing to compare"):
        prove_identity(Network(model, 32), model)


def test_what_cannot_run_is_refused_in_words() -> None:
    class Unwritten(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 8, 3)

    with pytest.raises(SurgeryError, match="cannot run at 32 px"):
        Network(Unwritten(), 32)
    with pytest.raises(SurgeryError, match="no size"):
        Network(nasties.SharedTwice(), -5)
