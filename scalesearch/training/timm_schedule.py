"""A recipe's schedule as a call of timm's train.py, and what of it that program has no words for."""

from __future__ import annotations

import math
import shlex

from scalesearch.models.code.timm_entry import Schedule
from scalesearch.recipe import Recipe
from scalesearch.settings import AugmentSettings, TrainSettings
from scalesearch.training.trained_files import TrainedFiles, outcome_of

WIDTH = 104
"""Characters of a line of the command."""


def timm_schedule(recipe: Recipe, entry: str, files: TrainedFiles | None, dropout: float = 0.0) -> Schedule:
    """The call for a network that is registered as ``entry`` in a file of that name.

    Args:
        files: of the trained network, whose outcome says how many images there were.
        dropout: the head's, which train.py sets to 0 where it is not told.
    """
    train, data, unlike = recipe.train, recipe.data, list[str]()
    kind, _, path = data.source.partition(":")
    images = _images(files)
    words = ["--data-dir", path if kind == "folder" else "DATA", "--model", entry]
    words += ["-b", str(train.batch_size), *_optimizer(train), *_learning_rate(train, images, unlike)]
    words += ["--smoothing", f"{train.label_smoothing:g}", *_average(train), *_augmentation(recipe.augment, unlike)]
    words += ["--drop", f"{dropout:g}", "--crop-pct", f"{recipe.augment.eval_crop:g}"]
    if train.clip_norm is not None:
        words += ["--clip-grad", f"{train.clip_norm:g}"]
    if train.precision in ("bf16", "fp16"):
        words += ["--amp", "--amp-dtype", {"bf16": "bfloat16", "fp16": "float16"}[train.precision]]
    words += ["--channels-last"] * train.channels_last
    if kind != "folder":
        unlike.append(f"the images were {kind}: DATA stands for a folder with train/CLASS/… and val/CLASS/…")
    unlike.append(
        f"{100 * data.minival:g} % of the training images (the minival) were held out, and train.py trains on all"
    )
    if data.limit is not None:
        unlike.append(f"{data.limit:,} training images were taken, and train.py takes all")
    if data.crop != "centre":
        how = {"squash": "squashed", "pad": "padded"}[data.crop]
        unlike.append(f"images of another ratio were {how} (data.crop), and train.py takes their centre")
    _other(train, unlike)
    call = f"import {entry}, runpy; runpy.run_path('train.py', run_name='__main__')"
    return Schedule(_lines([f'python -c "{call}"', *_pairs(words)]), unlike)


def _images(files: TrainedFiles | None) -> int | None:
    outcome = None if files is None else outcome_of(files.weights.parent)
    count = None if outcome is None else outcome.get("environment", {}).get("data", {}).get("train")
    return count if isinstance(count, int) else None


def _optimizer(train: TrainSettings) -> list[str]:
    decay = ["--weight-decay", f"{train.weight_decay:g}"]
    if train.optimizer == "sgd":  # of Nesterov's, as ours is, where there is momentum
        return ["--opt", "sgd", "--momentum", f"{train.momentum:g}", *decay]
    if train.optimizer == "adamw":
        return ["--opt", "adamw", "--opt-betas", f"{train.momentum:g}", "0.999", *decay]
    eps = ["--opt-eps", f"{train.rms_epsilon:g}", "--opt-kwargs", f"alpha={train.rms_decay:g}"]
    return ["--opt", "rmsproptf", "--momentum", f"{train.momentum:g}", *eps, *decay]


def _learning_rate(train: TrainSettings, images: int | None, unlike: list[str]) -> list[str]:
    words = ["--lr", f"{train.learning_rate:g}"]
    wanted: float | None = train.epochs
    if train.steps is not None:
        wanted = None if images is None else train.steps / max(1, images // min(train.batch_size, images))
    epochs = None if wanted is None else max(1, math.ceil(wanted))
    if wanted is None:
        unlike.append(f"it was trained for {train.steps:,} steps: EPOCHS are those over the steps of an epoch")
    elif epochs != wanted:
        unlike.append(f"it was trained for {wanted:.4g} epochs, and train.py takes whole ones")
    warmup = round(train.warmup_epochs)
    if warmup != train.warmup_epochs:
        unlike.append(f"the rate rose for {train.warmup_epochs:g} epochs, and train.py takes whole ones")
    if epochs is not None and warmup >= epochs:
        warmup = epochs - 1
        unlike.append(f"the rate rose all along, and train.py wants an epoch after that: {warmup} of {epochs} here")
    words += ["--warmup-epochs", str(warmup), "--warmup-lr", "0", "--cooldown-epochs", "0", "--sched-on-updates"]
    return [*words, *_decay(train, epochs, warmup, unlike)]


def _decay(train: TrainSettings, epochs: int | None, warmup: int, unlike: list[str]) -> list[str]:
    """The schedule after the warm-up; of an unknown number of epochs, EPOCHS stands for it."""
    whole = ["--epochs", "EPOCHS" if epochs is None else str(epochs)]
    if train.schedule == "exponential":
        rates = ["--decay-rate", f"{train.decay_rate:g}", "--decay-epochs", f"{train.decay_epochs:g}"]
        return [*whole, "--sched", "step", *rates]
    if train.schedule == "wsd":
        import timm.scheduler

        if hasattr(timm.scheduler, "WSDLRScheduler"):
            after = 1 - warmup / epochs if epochs is not None else 1.0
            share = min(train.cooldown / after, 1.0)
            fall = f"{share:.4g}" if share < 1 else str((epochs or 0) - warmup)
            if epochs is None and warmup:
                unlike.append(f"the rate fell in the last {100 * share:g} % of the steps, here of those after warm-up")
            return [*whole, "--sched", "wsd", "--decay-epochs", fall, "--min-lr", "0"]
        unlike.append(
            f"the rate stayed until the last {100 * train.cooldown:g} % of the steps and then fell (wsd); timm "
            f"{timm.__version__} has no such schedule, and train.py takes a cosine here"
        )
    if epochs is not None:
        whole = ["--epochs", str(epochs - warmup)]
    elif warmup:
        unlike.append(f"EPOCHS are without the {warmup} of the warm-up (--warmup-prefix)")
    return [*whole, "--sched", "cosine", "--min-lr", "0", "--warmup-prefix"]


def _average(train: TrainSettings) -> list[str]:
    return ["--model-ema", "--model-ema-warmup", "--model-ema-decay", f"{train.ema:g}"] if train.ema else []


def _augmentation(augment: AugmentSettings, unlike: list[str]) -> list[str]:
    low, high = augment.scale
    words = ["--scale", f"{low:g}", f"{high:g}", "--ratio", "0.75", "1.3333", "--hflip", "0.5" if augment.flip else "0"]
    words += ["--color-jitter", "0", "--train-interpolation", "bicubic"]
    if augment.policy == "randaugment":
        words += ["--aa", f"rand-m{min(10, round(augment.magnitude / 3))}-n2"]
        unlike.append(
            f"RandAugment was torchvision's, two operations of magnitude {augment.magnitude} of 30; timm's are others, "
            "on a scale to 10"
        )
    elif augment.policy == "autoaugment":
        words += ["--aa", "original"]
        unlike.append("AutoAugment was torchvision's ImageNet policy; timm's operations differ in details")
    elif augment.policy == "trivialaugment":
        unlike.append("TrivialAugment was on, and train.py has none")
    for name, alpha in (("mixup", augment.mixup), ("cutmix", augment.cutmix)):
        words += [f"--{name}", f"{alpha:g}"] if alpha else []
    return words


def _other(train: TrainSettings, unlike: list[str]) -> None:
    if train.progressive is not None:
        unlike.append("images grew in stages (progressive learning), and train.py has none of that")
    if train.from_weights is not None:
        unlike.append(f"it began with the weights of {train.from_weights} (--initial-checkpoint, under timm's names)")
    if train.grow_from is not None:
        unlike.append(f"it was grown from the weights of {train.grow_from}, and train.py grows none")
    if train.class_weights != "none":
        unlike.append("images counted by their class (class_weights), and train.py counts all alike")
    if train.freeze or train.head_only_epochs or train.features_rate != 1:
        unlike.append("the classifier was trained alone, or at a rate of its own; train.py trains all layers alike")
    if train.lengths:
        unlike.append("shorter schedules branched off it, which changes nothing of its own")


def _pairs(words: list[str]) -> list[str]:
    """Options with their values as a shell takes them, one text each."""
    texts: list[str] = []
    for word in words:
        if word.startswith("-") or not texts:
            texts.append(word)
        else:
            texts[-1] += f" {shlex.quote(word)}"
    return texts


def _lines(texts: list[str]) -> list[str]:
    lines = [texts[0]]
    for text in texts[1:]:
        if len(lines) == 1 or len(lines[-1]) + len(text) > WIDTH:
            lines.append(f"    {text}")
        else:
            lines[-1] += f" {text}"
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]
