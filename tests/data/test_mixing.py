"""Mixed batches: images and labels in the same shares, as torchvision mixes them, and a function of seed and step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from scalesearch.data.batches import StageViews, TrainBatches
from scalesearch.data.mixing import Mixing
from scalesearch.recipe import load_recipe
from scalesearch.training.progressive import stages


def _batch(count: int = 8) -> tuple[Tensor, Tensor]:
    """Image i is all of level 10·i, so that what is seen of it can be read off."""
    images = (10 * torch.arange(count, dtype=torch.uint8)).view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()
    return images, torch.arange(count) % 4


@pytest.mark.parametrize("mixing", [Mixing(mixup=0.4), Mixing(cutmix=1.0), Mixing(0.4, 1.0), Mixing(0.4, 0.4, True)])
@pytest.mark.parametrize("step", range(5))
def test_labels_are_mixed_as_images_are(mixing: Mixing, step: int) -> None:
    images, labels = _batch()
    mixed, shares = mixing(images, labels, 4, seed=0, step=step)
    assert mixed.shape == images.shape and mixed.dtype == torch.float32
    assert shares.sum(dim=1).allclose(torch.ones(8))
    halves = [(images[:4], labels[:4]), (images[4:], labels[4:])] if mixing.halves else [(images, labels)]
    partner = torch.cat([i.roll(1, 0) for i, _ in halves]).float()
    other = torch.cat([n.roll(1, 0) for _, n in halves])
    seen = ((mixed - partner) / (images - partner)).mean(dim=(1, 2, 3))  # the share of its own image
    for i in range(8):
        if labels[i] != other[i]:
            assert shares[i, labels[i]].item() == pytest.approx(seen[i].item(), abs=1e-5)
            assert shares[i, other[i]].item() == pytest.approx(1 - seen[i].item(), abs=1e-5)


def test_it_is_a_function_of_seed_and_step_and_touches_no_generator() -> None:
    mixing, (images, labels) = Mixing(0.4, 1.0), _batch()
    before = torch.get_rng_state()
    first, again, other, later = (
        mixing(images, labels, 4, seed=seed, step=step)[0] for seed, step in ((0, 3), (0, 3), (1, 3), (0, 4))
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other) and not torch.equal(first, later)


def test_it_is_torchvisions() -> None:
    images, labels = _batch()
    mixed, shares = Mixing(mixup=0.4)(images, labels, 4, seed=7, step=2)
    torch.manual_seed(0)
    found = set()
    for _ in range(200):
        theirs, _ = v2.MixUp(alpha=0.4, num_classes=4)(images.float(), labels)
        found.add(round(float((theirs[1] / 10).mean()), 1))
    assert round(float((mixed[1] / 10).mean()), 1) in found
    assert shares.dtype == torch.float32


def test_nothing_is_mixed_at_zero_but_batches_are_of_one_kind() -> None:
    images, labels = _batch()
    mixed, shares = Mixing()(images, labels, 4, seed=0, step=0)
    assert torch.equal(mixed, images.float())
    assert torch.equal(shares.argmax(1), labels) and shares.max() == 1


def test_batches_follow_the_stages_wherever_they_are_taken_up() -> None:
    from tests.data.test_batches import _split

    settings = {"stages": 3, "resolution": [8, 16], "mixup": [0, 0.4]}
    recipe = load_recipe("quick", {"train.steps": 6, "train.progressive": settings})
    views: list[StageViews] = [stage.views(recipe.augment) for stage in stages(recipe, 16, 6)]
    made = TrainBatches(_split(), recipe.augment, 16, batch_size=8, seed=5, views=views, classes=40)
    whole = list(made.take(6))
    assert [images.shape[-1] for images, _ in whole] == [8, 8, 12, 12, 16, 16]
    for start in range(1, 6):
        for (images, shares), (wanted, their_shares) in zip(made.take(6, start=start), whole[start:], strict=True):
            assert torch.equal(images, wanted) and torch.equal(shares, their_shares)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_a_recipe_may_mix_every_batch(mixup: float, cutmix: float) -> None:
    from tests.data.test_batches import _split

    recipe = load_recipe("quick", {"train.steps": 2, "augment.mixup": mixup, "augment.cutmix": cutmix})
    views = [stage.views(recipe.augment) for stage in stages(recipe, 16, 2)]
    made = TrainBatches(_split(), recipe.augment, 16, batch_size=8, seed=5, views=views, classes=40)
    assert any(((shares > 0) & (shares < 1)).any() for _, shares in made.take(6))
