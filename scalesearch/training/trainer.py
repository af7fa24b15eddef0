"""One network in training: a step, an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.data.batches import Normaliser, evaluation_batches
from scalesearch.data.images import Split
from scalesearch.errors import TrialError
from scalesearch.image_size import Resolution, area, each_side, height_width, image_shape
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.surgery.regularisation import set_head_dropout
from scalesearch.models.surgery.tagger import flatten
from scalesearch.models.weights import classifier_of, load_weights, read_weights
from scalesearch.recipe import Recipe
from scalesearch.runtime.allocator import keep_freed
from scalesearch.runtime.device import pick_precision
from scalesearch.runtime.team import ALONE, Team
from scalesearch.training.class_weights import cross_entropy
from scalesearch.training.compile import as_written, compile_blocks
from scalesearch.training.cuda_graphs import WARM_UP, CudaRecorder, GraphedPass, Recorder
from scalesearch.training.normalisation import unsaid
from scalesearch.training.optim import WeightAverage, make_optimizer

AUXILIARY = 0.3
"""Weight of an auxiliary head's loss beside the classifier's."""

KEPT_VIEWS = 2**28
"""Bytes of a split's views at the network's size that are kept from one evaluation to the next."""

EVALUATED = 2**22
"""Most pixels of an evaluation's batch on an accelerator: 1,024 images at 64 a side."""

FEW = 10
"""Classes up to which the five likeliest say nothing."""

TIMES_A_STEP = 8
"""Most images of an evaluation's batch on an accelerator, over a step's: nothing is kept for a backward pass. Never
fewer than a step's. A CPU takes a step's: larger batches are hardly faster, and fragment the memory that it keeps."""


NEARBY = 32
"""Pixels by which a stage's images may be larger than its schedule has them, where a network refuses that size."""

Views = tuple[Tensor, Tensor]


class Evaluation(NamedTuple):
    """Top-1 accuracy in [0, 1], mean cross-entropy in nats, which images were right: bool (N,), on the CPU, and the
    Brier score in [0, 2]: the mean squared distance of the probabilities from the truth.

    ``predicted``: what images were taken for, int64 (N,), on the CPU; ``balanced_loss``: the mean over classes of their
    images' mean cross-entropy; ``top5``: how often the class was among the five likeliest, None of `FEW` classes."""

    accuracy: float
    loss: float
    correct: Tensor
    brier: float
    predicted: Tensor
    balanced_loss: float
    top5: float | None


class Trainer:
    """A freshly built network on a device, with its optimiser and, where the recipe wants one, its weight average.

    In a team, every process has the same weights; each sees its share of a batch.
    """

    def __init__(
        self,
        candidate: ScaledModel,
        num_classes: int,
        recipe: Recipe,
        device: torch.device,
        team: Team = ALONE,
        recorder: Recorder | None = None,
    ) -> None:
        """``recorder`` is what the recipe's CUDA graphs are made with, if it wants any: CUDA's own by default."""
        self.settings, self.augment, self.device, self.team = recipe.train, recipe.augment, device, team
        if device.type == "cpu":
            keep_freed()
        self.resolution, self.precision = candidate.resolution, pick_precision(recipe.train, device)
        self._channels = candidate.channels
        self._classes = num_classes
        self._weights: Tensor | None = None
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        built = candidate.build(num_classes)
        if self.settings.from_weights is not None:
            file = Path(self.settings.from_weights)
            load_weights(built, read_weights(file), file.name, other_widths=True)
        self.model: nn.Module = built.to(device, memory_format=layout)  # type: ignore[call-overload]
        self._logits_at: dict[bool, tuple[int, ...]] = getattr(self.model, "_logits_at", {})
        if self.settings.norm_momentum is not None:
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = self.settings.norm_momentum
        self.model = team.normalised(self.model)
        self.parallel = team.parallel(self.model, device)
        self._frozen = False
        head = self._classifier() if self.settings.features_rate != 1 else None
        self.optimizer = make_optimizer(self.model, self.settings, scaled=self.precision == "fp16", head=head)
        self.average = WeightAverage(self.model, self.settings.ema) if self.settings.ema else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        plain = unsaid(self._channels)  # of a trial that is none, and of a recipe with ImageNet's
        self.normalise = Normaliser(
            device,
            channels_last=self.settings.channels_last,
            mean=recipe.data.mean or plain.mean,
            std=recipe.data.std or plain.std,
        )
        self._seen: tuple[Split, int, Resolution, list[Views]] | None = None
        self._most_at_once: int | None = None
        self._as_written = as_written if self.settings.compile == "on" else nullcontext
        if self.settings.compile == "on":
            compile_blocks(self.model)
        self._recorder = (recorder or CudaRecorder(device)) if recipe.run.cuda_graphs else None
        self._graphed: GraphedPass | None = None
        self._record_anew()

    def weigh_classes(self, weights: Tensor) -> None:
        """From here on images count by their class: ``weights`` (classes,), as `class_weights.balanced` has them."""
        self._weights = weights.float().to(self.device)

    @property
    def warm_up(self) -> int:
        """How many steps come before those that take as long as all others do."""
        if self._graphed is not None:
            return WARM_UP + 2
        return 1 if self.device.type == "cpu" else 3

    @property
    def result(self) -> nn.Module:
        """The network that is evaluated: the average, if there is one."""
        return self.average.module if self.average is not None else self.model

    @torch.inference_mode()
    def nearest_size(self, wanted: Resolution) -> Resolution:
        """The smallest size from ``wanted`` on at which the network runs; its statistics stay as they are.

        Raises:
            TrialError: it runs at none that is near.
        """
        own, asked = min(height_width(self.resolution)), min(height_width(wanted))
        most = NEARBY if asked > own else min(own - asked, NEARBY)
        for more in range(most + 1):
            size = each_side(wanted, lambda side, more=more: side + more)  # type: ignore[misc]
            shape = image_shape(self._channels, size)
            image = torch.zeros(1, *shape, dtype=torch.uint8, device=self.device)
            try:
                with self._as_written():
                    self._logits(self.model.eval(), image)
            except Exception:  # of a network of anybody's
                continue
            return size
        raise TrialError(f"this network runs at no size from {wanted} to {size} px")

    def enter(self, dropout: float | None) -> None:
        """From here on batches may have another size, and the head's dropout this rate (None: as it is).

        Raises:
            TrialError: the network has no dropout before its classifier.
        """
        if dropout is not None and not set_head_dropout(self.model, dropout):
            raise TrialError("progressive.dropout: this network has no dropout before its classifier; leave it out")
        self._record_anew()

    def freeze_features(self, frozen: bool) -> None:
        """From here on only the classifier is trained, or everything again; frozen norms keep their statistics too.

        Raises:
            TrialError: a team trains, whose processes exchange all gradients.
        """
        if self.team.world > 1:
            raise TrialError("train.freeze and head_only_epochs take one process")
        kept = {id(parameter) for parameter in self._classifier().parameters()}
        for parameter in self.model.parameters():
            if id(parameter) not in kept:
                parameter.requires_grad_(not frozen)
                parameter.grad = None
        self._frozen = frozen
        self.model.eval()  # the next step turns on what is to be on
        self._record_anew()

    def _record_anew(self) -> None:
        """What was recorded of a pass no longer holds."""
        self._graphed = GraphedPass(self._recorder) if self._recorder is not None else None

    def _classifier(self) -> nn.Module:
        return classifier_of(self.model, self._classes)

    def _norms_as_they_are(self) -> None:
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()

    def step(self, images: Tensor, labels: Tensor, micro_batch: int) -> Tensor:
        """One update from images (B, C, h, w), uint8 or floats, and their labels (B,), or shares of the classes
        (B, classes); returns their mean loss, on the device until the next step.

        In a team, B is this process's share, and the gradients are the whole batch's: means over equal shares.
        """
        if not self.model.training:
            self.model.train()
            if self._frozen:
                self._norms_as_they_are()
        labels = labels.to(self.device, non_blocking=True)
        if self._graphed is not None and len(images) <= micro_batch:
            total = self._graphed(images, labels, self._pass, self._clear)
        else:
            if len(images) > micro_batch:
                self._most_at_once = micro_batch
            self._clear()
            total = torch.zeros((), device=self.device)
            for part, truth in zip(torch.split(images, micro_batch), torch.split(labels, micro_batch), strict=True):
                total += self._pass(part, truth, len(part) / len(images))
        if self.settings.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update()
        return total

    @torch.inference_mode()
    def evaluate(self, split: Split, model: nn.Module | None = None) -> Evaluation:
        """How `result`, or another ``model``, does on ``split``; the loss is without label smoothing.

        A team shares the images out.
        """
        model = (self.result if model is None else model).eval()
        self.team.align(model)
        guesses: list[Tensor] = []
        sums: list[Tensor] = []  # of each batch: Brier, loss, loss of classes that count alike, top five
        counts = torch.bincount(split.labels.cpu(), minlength=self._classes)
        alike = (len(split) / ((counts > 0).sum() * counts.clamp(min=1))).float().to(self.device)
        for part, truth in self._views(split):
            with self._as_written():
                logits = self._logits(model, part)[0]
            guesses.append(logits.argmax(1))
            loss = functional.cross_entropy(logits, truth, reduction="sum")
            brier = (logits.softmax(1) - functional.one_hot(truth, logits.shape[1])).square().sum()
            balanced = functional.cross_entropy(logits, truth, weight=alike, reduction="sum")
            five = logits.topk(min(5, logits.shape[1])).indices.eq(truth[:, None]).sum()
            sums.append(torch.stack([brier, loss, balanced, five.to(loss.dtype)]))
        told = torch.zeros(len(split) + 4, dtype=torch.float64)  # guesses and sums: one exchange
        if guesses:
            own = self.team.part(len(split))
            told[own.start : own.stop] = torch.cat(guesses).cpu().double()
            told[-4:] = torch.stack([column.sum() for column in torch.stack(sums).cpu().double().T.contiguous()])
        told = self.team.total(told)
        predicted, (brier_sum, loss_sum, balanced_sum, five_sum) = told[:-4].long(), told[-4:].tolist()
        right, images = predicted == split.labels.cpu(), len(split)
        return Evaluation(
            int(right.sum()) / images,
            loss_sum / images,
            right,
            brier_sum / images,
            predicted,
            balanced_sum / images,
            five_sum / images if self._classes > FEW else None,
        )

    @property
    def evaluated_together(self) -> int:
        """Images of this process's batch in an evaluation; no more than it can train on where memory ended."""
        if self._most_at_once is not None:
            return self._most_at_once
        own = self.settings.batch_size // self.team.world
        if self.device.type == "cpu":
            return own
        return max(own, min(TIMES_A_STEP * own, EVALUATED // area(self.resolution)))

    @property
    def kept_views(self) -> int:
        """Bytes of the evaluation's images that are kept from one evaluation to the next."""
        return sum(images.nbytes for images, _ in self._seen[-1]) if self._seen is not None else 0

    def _views(self, split: Split) -> Iterable[Views]:
        """The batches of an evaluation; a small split's are kept on the device for the next one."""
        size = self.evaluated_together
        if self._seen is not None and self._seen[0] is split and self._seen[1:3] == (size, self.resolution):
            return self._seen[-1]
        made = evaluation_batches(split, self.resolution, self.augment.eval_crop, size, self.team, self.device)
        if self._channels * area(self.resolution) * len(self.team.part(len(split))) > KEPT_VIEWS:
            return made
        self._seen = (split, size, self.resolution, list(made))
        return self._seen[-1]

    def state(self) -> dict[str, Any]:
        """Everything that training changes, for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "average": self.average and self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _clear(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def _pass(self, images: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
        """Adds the gradients of ``share`` times these images' mean loss to those that are there; that product."""
        model = self.model if self.parallel is None else self.parallel
        loss = self._loss(model, images, labels) * share
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy; an auxiliary head's counts 0.3 (Szegedy et al. 2015, §5)."""
        loss, *others = (
            cross_entropy(logits, labels, self._weights, self.settings.label_smoothing)
            for logits in self._logits(model, images)
        )
        for other in others:
            loss = loss + AUXILIARY * other
        return loss

    def _logits(self, model: nn.Module, images: Tensor) -> list[Tensor]:
        """The classifier's logits, then those of auxiliary heads, if it has any in this mode."""
        with self.autocast():
            outputs = model(self.normalise(images))
        every = list(flatten(outputs))
        places = self._classifier_first(model.training)
        chosen = [every[place] for place in places] if places else [e for e in every if e.shape[1:] == (self._classes,)]
        if not chosen:
            raise TrialError(f"none of the network's {len(every)} outputs is a row of the {self._classes} classes")
        return [logits.float() for logits in chosen]

    def _classifier_first(self, training: bool) -> tuple[int, ...]:
        """Where the logits are among the outputs, as surgery found them; the one that evaluation has comes first."""
        places, evaluated = self._logits_at.get(training, ()), self._logits_at.get(False, ())
        return tuple(sorted(places, key=lambda place: place != evaluated[0])) if evaluated else places

    def autocast(self) -> AbstractContextManager[object]:
        """Where operations run in this trainer's precision; the weights stay fp32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16 if self.precision == "bf16" else torch.float16)
