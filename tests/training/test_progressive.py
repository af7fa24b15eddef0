"""Progressive learning: the stages that the paper and its program have, and a training that can be taken up in any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from scalesearch.data.images import Images, load_images
from scalesearch.data.sources import open_source
from scalesearch.errors import RecipeError, TrialError
from scalesearch.models.catalogue import builtin, open_baseline
from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.scaling.compound import Multipliers
from scalesearch.scaling.spec import ModelSpec
from scalesearch.training.checkpoints import Checkpoints
from scalesearch.training.progressive import replaced, shortened, stages
from scalesearch.training.train import NullListener, train
from scalesearch.training.trainer import Trainer

CPU = torch.device("cpu")
S = {"stages": 4, "resolution": [128, 300], "randaugment": [5, 15], "mixup": [0, 0], "dropout": [0.1, 0.3]}
M = {"stages": 4, "resolution": [128, 380], "randaugment": [5, 20], "mixup": [0, 0.2], "dropout": [0.1, 0.4]}
L = {"stages": 4, "resolution": [128, 380], "randaugment": [5, 25], "mixup": [0, 0.4], "dropout": [0.1, 0.5]}
SMALL = {
    "stages": 3, "resolution": [8, 16], "randaugment": [5, 15], "mixup": [0, 0.4], "dropout": [0.1, 0.3],
}  # fmt: skip


def _recipe(progressive: Mapping[str, object] | None, **changes: object) -> Recipe:
    return load_recipe("quick", {"train.steps": 24, "train.progressive": progressive, **changes})


@pytest.mark.parametrize(
    ("settings", "sizes", "magnitudes", "alphas", "rates"),
    [
        (S, [128, 185, 242, 300], [5, 8, 12, 15], [0, 0, 0, 0], [0.1, 0.167, 0.233, 0.3]),
        (M, [128, 212, 296, 380], [5, 10, 15, 20], [0, 0.067, 0.133, 0.2], [0.1, 0.2, 0.3, 0.4]),
        (L, [128, 212, 296, 380], [5, 12, 18, 25], [0, 0.133, 0.267, 0.4], [0.1, 0.233, 0.367, 0.5]),
    ],
    ids=["S", "M", "L"],
)  # fmt: skip
def test_the_papers_stages(
    settings: dict[str, list[float]], sizes: list[int], magnitudes: list[int], alphas: list[float], rates: list[float]
) -> None:
    """Tan & Le 2021, Table 6."""
    made = stages(_recipe(settings), int(settings["resolution"][1]), 400)
    assert [stage.start for stage in made] == [0, 100, 200, 300]
    assert [stage.resolution for stage in made] == sizes
    assert [stage.magnitude for stage in made] == magnitudes
    assert [stage.mixing.mixup for stage in made] == pytest.approx(alphas, abs=1e-3)
    assert [stage.dropout for stage in made] == pytest.approx(rates, abs=1e-3)
    assert not any(stage.mixing.halves or stage.mixing.cutmix for stage in made)


@pytest.mark.parametrize(("train", "sizes"), [(300, [171, 214, 257, 300]), (384, [192, 256, 320, 384])])
def test_the_programs_stages(train: int, sizes: list[int]) -> None:
    settings = {"resolution": [128, train], "randaugment": [5, 10], "mixup": [0, 0.5], "variant": "code"}
    made = stages(_recipe(settings), train, 400)
    assert [stage.resolution for stage in made] == sizes
    assert [stage.magnitude for stage in made] == [5, 7, 8, 10]
    assert [stage.dropout for stage in made] == [None] * 4
    assert [stage.mixing.halves for stage in made] == [False, True, True, True]
    assert all(stage.mixing.mixup == stage.mixing.cutmix for stage in made)


def test_a_networks_own_resolution_is_the_end() -> None:
    made = stages(_recipe(S), 96, 400)
    assert [stage.resolution for stage in made] == [40, 59, 77, 96]
    assert shortened(_recipe(S), 96, 400) == pytest.approx((40**2 + 59**2 + 77**2 + 96**2) / (4 * 96**2))
    assert shortened(_recipe(None), 96, 400) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"progressive": {**S, "variant": "code"}}, "no dropout where variant is code"),
        ({"progressive": {"resolution": [300, 128]}}, "smallest first"),
        ({"progressive": {"stages": 1}}, "greater than or equal to 2"),
        ({"progressive": S, "readings": True}, "no lengths and no readings"),
        ({"progressive": S, "schedule": "wsd", "lengths": [0.5]}, "no lengths and no readings"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        load_recipe("quick", {"train.steps": 24, **{f"train.{key}": value for key, value in changes.items()}})


@pytest.fixture(scope="module")
def images() -> Images:
    settings = load_recipe("quick", {"data.limit": 96}).data
    return load_images(open_source(settings), settings, 24)


@pytest.fixture
def with_dropout(tiny: ModelSpec) -> ModelSpec:
    return tiny.model_copy(update={"head": tiny.head.model_copy(update={"dropout": 0.2})})


class _Seen(NullListener):
    def __init__(self, last: int = 10**9) -> None:
        self.last = last

    def evaluated(self, step: int, accuracy: float, loss: float, steps: int) -> None:
        if step >= self.last:
            raise KeyboardInterrupt


def test_every_step_has_its_stages_size_and_rate(
    with_dropout: ModelSpec, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, float, torch.dtype]] = []
    plain = Trainer.step

    def step(self: Trainer, batch: torch.Tensor, labels: torch.Tensor, micro: int) -> torch.Tensor:
        rate = next(m.p for m in self.model.modules() if isinstance(m, torch.nn.Dropout))
        seen.append((batch.shape[-1], round(rate, 6), batch.dtype))
        assert labels.shape == (len(batch), images.num_classes)
        assert labels.sum(dim=1).allclose(torch.ones(len(batch)))
        return plain(self, batch, labels, micro)

    monkeypatch.setattr(Trainer, "step", step)
    train(SpecModel(with_dropout), images, _recipe(SMALL), seed=1, device=CPU)
    assert seen == [(size, rate, torch.float32) for size, rate in ((8, 0.1), (12, 0.2), (16, 0.3)) for _ in range(8)]


@pytest.mark.parametrize("variant", ["paper", "code"])
@pytest.mark.parametrize("last", [6, 12, 18])
def test_a_training_taken_up_within_a_stage_ends_the_same(
    variant: str, last: int, with_dropout: ModelSpec, images: Images, tmp_path: Path
) -> None:
    settings = {**SMALL, "variant": variant, "dropout": SMALL["dropout"] if variant == "paper" else None}
    recipe = _recipe(settings, **{"run.checkpoint_steps": 5, "train.evaluations": 4, "train.ema": 0.9})
    model, kept = SpecModel(with_dropout), Checkpoints(tmp_path)
    whole, _ = train(model, images, recipe, seed=1, device=CPU)
    with pytest.raises(KeyboardInterrupt):
        train(model, images, recipe, seed=1, device=CPU, listener=_Seen(last), checkpoints=kept)
    again, _ = train(model, images, recipe, seed=1, device=CPU, checkpoints=kept)
    assert again.resumed == 1
    assert (again.accuracy, again.loss, again.curve, again.memory) == (
        whole.accuracy, whole.loss, whole.curve, whole.memory,
    )  # fmt: skip


def test_memory_is_the_last_stages(with_dropout: ModelSpec, images: Images) -> None:
    plain, _ = train(SpecModel(with_dropout), images, _recipe(None), seed=1, device=CPU)
    grown, _ = train(SpecModel(with_dropout), images, _recipe({"resolution": [8, 16]}), seed=1, device=CPU)
    assert grown.memory == plain.memory


def test_dropout_that_is_not_there_is_told(quick: Recipe) -> None:
    network = open_baseline("torchvision:resnet18").at(resolution=32).scaled(Multipliers(1, 1, 1))
    with pytest.raises(TrialError, match="no dropout before its classifier"):
        Trainer(network, 3, quick, CPU).enter(0.1)


def test_a_stage_has_the_next_size_at_which_the_network_runs(quick: Recipe) -> None:
    """ResNet-18 with a pool of seven: nothing below 193 px reaches it."""
    trainer = Trainer(open_baseline("resnet18").at(resolution=64).scaled(Multipliers(1, 1, 1)), 3, quick, CPU)
    assert trainer.nearest_size(33) == 33

    class Picky(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[-1] % 8:
                raise RuntimeError("a multiple of 8")
            logits: torch.Tensor = self.network(x)
            return logits

    trainer.model = Picky(trainer.model)
    assert trainer.nearest_size(33) == 40
    trainer.resolution = 39
    with pytest.raises(TrialError, match="no size from 33 to 39"):
        trainer.nearest_size(33)


def test_the_published_settings_train_v2(images: Images) -> None:
    """The whole of it on EfficientNetV2-B0, small: no stage is out of place."""
    spec = builtin("efficientnet_v2_b0").model_copy(update={"resolution": 24})
    outcome, _ = train(SpecModel(spec), images, _recipe(M, **{"train.steps": 4}), seed=0, device=CPU)
    assert len(outcome.curve) == 4


def test_settings_whose_place_it_takes_are_told_and_others_stay(quick: Recipe) -> None:
    change = {
        "augment.policy": "autoaugment", "augment.mixup": 0.3, "augment.cutmix": 1.0, "train.dropout": 0.2,
        "train.progressive": {"randaugment": [5, 15], "mixup": [0, 0.2]},
    }  # fmt: skip
    paper = load_recipe("quick", change)
    assert replaced(paper) == (
        "train.progressive.randaugment takes the place of augment.policy autoaugment",
        "train.progressive.mixup takes the place of augment.mixup 0.3",
    )
    assert {stage.mixing.cutmix for stage in stages(paper, 32, 40)} == {1.0}, "nothing takes its place"
    code = load_recipe("quick", change | {"train.progressive": {"mixup": [0.1, 0.2], "variant": "code"}})
    assert "train.progressive.mixup takes the place of augment.cutmix 1" in replaced(code)
    assert replaced(quick) == ()
