"""A trial: reproducible, honest about its memory, and able to go on when memory ends."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from sklearn.metrics import log_loss, top_k_accuracy_score
from sklearn.utils.class_weight import compute_sample_weight
from torch import Tensor, nn

from scalesearch.data.images import Images, Split, load_images
from scalesearch.data.sources import open_source
from scalesearch.errors import DeviceError, DivergedError, OutOfMemoryError
from scalesearch.image_size import Resolution, area
from scalesearch.models.build import build_model
from scalesearch.models.catalogue import builtin
from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.runtime.device import MemoryMeter, is_out_of_memory, pick_device, pick_precision
from scalesearch.scaling.cost import Cost, closed_form
from scalesearch.scaling.spec import ModelSpec
from scalesearch.settings import TrainSettings
from scalesearch.training.memory_estimate import estimated_memory
from scalesearch.training.train import train
from scalesearch.training.trainer import Trainer
from scalesearch.trials import Outcome

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images() -> Images:
    settings = load_recipe("quick", {"data.limit": 96}).data
    return load_images(open_source(settings), settings, 24)


def _results(outcome: Outcome) -> tuple[object, ...]:
    return outcome.accuracy, outcome.loss, outcome.train_loss, outcome.curve


@pytest.mark.parametrize("changes", [{}, {"train.ema": 0.9, "augment.policy": "randaugment", "train.dropout": 0.3}])
def test_two_cpu_runs_of_a_trial_are_bit_equal(tiny: ModelSpec, images: Images, changes: dict[str, object]) -> None:
    recipe = load_recipe("quick", {"train.steps": 6, **changes})
    first, _ = train(SpecModel(tiny), images, recipe, seed=1, device=CPU)
    torch.rand(5)
    again, _ = train(SpecModel(tiny), images, recipe, seed=1, device=CPU)
    other, _ = train(SpecModel(tiny), images, recipe, seed=2, device=CPU)
    assert _results(first) == _results(again)
    assert first.train_loss != other.train_loss


def test_a_network_learns(tiny: ModelSpec, images: Images) -> None:
    """Twelve classes: a guess is right one time in twelve."""
    recipe = load_recipe("quick", {"train.steps": 80})
    outcome, _ = train(SpecModel(tiny), images, recipe, seed=0, device=CPU)
    assert outcome.accuracy > 2 / 12
    assert [step for step, _, _ in outcome.curve] == [20, 40, 60, 80]


def test_an_evaluations_batches(tiny: ModelSpec, images: Images, quick: Recipe) -> None:
    """A step's images on a CPU, more elsewhere; which are right does not depend on who is beside them."""
    trainer = Trainer(SpecModel(tiny.model_copy(update={"resolution": 64})), images.num_classes, quick, CPU)
    batch = quick.train.batch_size
    assert trainer.evaluated_together == batch
    sizes: list[int] = []
    trainer.result.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    together, few = trainer.evaluate(images.minival), Split(images.minival.images[:3], images.minival.labels[:3])
    assert sizes == [batch] * (len(images.minival) // batch) + [len(images.minival) % batch]
    assert torch.equal(trainer.evaluate(few).correct, together.correct[:3])
    trainer.device = torch.device("cuda")
    assert trainer.evaluated_together == 8 * batch


def test_an_evaluation_says_what_scikit_learn_says_of_its_guesses(
    tiny: ModelSpec, images: Images, quick: Recipe
) -> None:
    """What images were taken for, top-5 of twelve classes, and the loss in which classes count alike."""
    split = Split(images.minival.images, images.minival.labels.clamp(max=9))  # one class three times as frequent
    trainer = Trainer(SpecModel(tiny), images.num_classes, quick, CPU)
    logits: list[Tensor] = []
    trainer.result.register_forward_hook(lambda _, __, output: logits.append(output))
    found = trainer.evaluate(split)
    probabilities = torch.cat(logits).double().softmax(1).numpy()
    labels, every = split.labels.numpy(), range(images.num_classes)
    assert found.predicted.tolist() == probabilities.argmax(1).tolist()
    assert found.top5 == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5, labels=every))
    weights = compute_sample_weight("balanced", labels)
    balanced = log_loss(labels, probabilities, sample_weight=weights, labels=every)
    assert found.balanced_loss == pytest.approx(balanced, rel=1e-4)
    assert found.balanced_loss != pytest.approx(found.loss, rel=1e-4)
    few = Trainer(SpecModel(tiny), 10, quick, CPU)
    assert few.evaluate(split).top5 is None, "of ten classes"


def test_a_loss_that_is_no_number_ends_the_trial(tiny: ModelSpec, images: Images) -> None:
    recipe = load_recipe(
        "quick", {"train.steps": 30, "train.optimizer": "sgd", "train.learning_rate": 1e30, "train.warmup_epochs": 0}
    )
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at step \d+ of 30: lower train\.learning_rate"):
        train(SpecModel(tiny), images, recipe, seed=0, device=CPU)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("efficientnet_b0", {}),
        ("mobilenet_v1", {"train.optimizer": "sgd"}),
        ("mobilenet_v2", {"train.ema": 0.9}),
        ("resnet18", {"train.optimizer": "rmsprop_tf"}),
        ("resnet50", {"train.optimizer": "sgd", "train.ema": 0.9}),
    ],
)
def test_the_memory_estimate_is_what_a_step_keeps(name: str, changes: dict[str, object], images: Images) -> None:
    recipe = load_recipe("quick", {"train.steps": 1, "train.evaluations": 1, **changes})
    spec = builtin(name).model_copy(update={"resolution": 48, "stochastic_depth": 0.0})
    outcome, _ = train(SpecModel(spec), images, recipe, seed=0, device=CPU)
    estimate = estimated_memory(closed_form(spec, images.num_classes), recipe.train, "fp32")
    assert estimate == pytest.approx(outcome.memory, rel=0.05)


class Hungry(nn.Module):
    """Runs out of memory above so many images; remembers how many it was given."""

    def __init__(self, network: nn.Module, most: int) -> None:
        super().__init__()
        self.network, self.most = network, most
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen.append(len(images))
            if len(images) > self.most:
                raise torch.OutOfMemoryError("out of memory")
        logits: Tensor = self.network(images)
        return logits


@dataclass
class HungryModel:
    """A `ScaledModel` whose networks are `Hungry`."""

    spec: ModelSpec
    most: int
    built: list[Hungry] = field(default_factory=list)
    fingerprint: str = "hungry"
    last_side: int = 1
    shape: str = "–"

    @property
    def resolution(self) -> Resolution:
        return self.spec.resolution

    @property
    def channels(self) -> int:
        return 3

    def cost(self, num_classes: int) -> Cost:
        return closed_form(self.spec, num_classes)

    def build(self, num_classes: int) -> nn.Module:
        self.built.append(Hungry(build_model(self.spec, num_classes), self.most))
        return self.built[-1]


def test_when_memory_ends_the_micro_batch_is_halved_and_gradients_add_up(
    tiny: ModelSpec, images: Images, quick: Recipe
) -> None:
    model = HungryModel(tiny, most=10)
    outcome, _ = train(model, images, quick, seed=0, device=CPU)
    assert outcome.micro_batch == 8
    assert model.built[-1].seen == [8] * 4 * 6  # six steps of a batch of 32


def test_memory_that_ends_at_one_image_fails_the_trial(tiny: ModelSpec, images: Images, quick: Recipe) -> None:
    with pytest.raises(OutOfMemoryError, match="micro-batch of one image: out of memory"):
        train(HungryModel(tiny, most=0), images, quick, seed=0, device=CPU)


def test_accumulated_gradients_are_the_whole_batchs() -> None:
    """Without batch norm in the way, four parts give the update that the whole gives."""
    from scalesearch.training.trainer import Trainer

    recipe = load_recipe("quick", {"train.optimizer": "sgd", "train.clip_norm": 1.0})
    spec = builtin("mobilenet_v1").model_copy(update={"resolution": 16})
    weights = []
    for micro_batch in (8, 2):
        torch.manual_seed(0)
        trainer = Trainer(SpecModel(spec), 4, recipe, CPU)
        for name, module in list(trainer.model.named_modules()):
            if isinstance(module, nn.BatchNorm2d):
                parent = trainer.model.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], nn.Identity())
        generator = torch.Generator().manual_seed(0)
        batch = torch.randint(256, (8, 3, 16, 16), dtype=torch.uint8, generator=generator)
        trainer.step(batch, torch.arange(8) % 4, micro_batch)
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1])


@pytest.mark.parametrize(
    ("name", "message"),
    [("cuda:99", "device 'cuda:99' is not there"), ("gpu", "is not understood"), ("meta", "is not supported")],
)
def test_a_device_that_is_not_there_is_told(name: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        pick_device(name)


def test_precision_is_fp32_on_the_cpu_unless_asked_for(tiny: ModelSpec, images: Images) -> None:
    assert pick_precision(TrainSettings(epochs=1), CPU) == "fp32"
    recipe = load_recipe("quick", {"train.steps": 4, "train.precision": "bf16"})
    outcome, _ = train(SpecModel(tiny), images, recipe, seed=0, device=CPU)
    assert outcome.loss < 10


def test_a_trials_memory_is_its_own(tiny: ModelSpec, images: Images, quick: Recipe) -> None:
    """As CUDA's allocator counts, without what was there before it."""
    meter = MemoryMeter(held=lambda device: 10**9, peak=lambda device: 5 * 10**9)
    outcome, trainer = train(SpecModel(tiny), images, quick, seed=0, device=CPU, meter=meter)
    assert outcome.memory == 4 * 10**9
    assert trainer.kept_views == 3 * area(tiny.resolution) * len(images.minival)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("CUDA out of memory. Tried to allocate 2 GiB", True),
        ("CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ("GET was unable to find an engine to execute this computation", True),
        ("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_what_libraries_say_where_memory_ended(said: str, expected: bool) -> None:
    assert is_out_of_memory(RuntimeError(said)) == expected
