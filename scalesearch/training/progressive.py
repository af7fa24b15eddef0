"""Progressive learning: a training in stages, small images and weak regularisation first (Tan & Le 2021, §4)."""

from __future__ import annotations

from dataclasses import dataclass

from scalesearch.data.augment import Augmentation
from scalesearch.data.batches import StageViews
from scalesearch.data.mixing import Mixing
from scalesearch.image_size import Resolution, area, each_side
from scalesearch.recipe import Recipe
from scalesearch.settings import AugmentSettings, ProgressiveSettings


@dataclass(frozen=True)
class Stage:
    """Steps from ``start`` on: the images' size, RandAugment's magnitude (None: the recipe's policy), how batches are
    mixed, and the head's dropout (None: the network's own)."""

    start: int
    resolution: Resolution
    magnitude: int | None
    mixing: Mixing
    dropout: float | None

    def views(self, augment: AugmentSettings) -> StageViews:
        """What batches are made of from here on."""
        if self.magnitude is not None:
            augment = augment.model_copy(update={"policy": "randaugment", "magnitude": self.magnitude})
        return StageViews(self.start, Augmentation(augment, self.resolution), self.mixing)


def stages(recipe: Recipe, resolution: Resolution, steps: int) -> list[Stage]:
    """The stages of a schedule of so many steps, for a network that is meant for images of ``resolution``; of a
    schedule that is not progressive, one.

    >>> from scalesearch.recipe import load_recipe
    >>> progressive = {"stages": 4, "resolution": [128, 300], "variant": "code"}
    >>> made = load_recipe("quick", {"train.steps": 100, "train.progressive": progressive})
    >>> [(stage.start, stage.resolution) for stage in stages(made, 300, 100)]
    [(0, 171), (25, 214), (50, 257), (75, 300)]
    """
    settings, augment = recipe.train.progressive, recipe.augment
    if settings is None:
        return [Stage(0, resolution, None, Mixing(augment.mixup, augment.cutmix), None)]
    return [_stage(settings, augment, i, resolution, steps) for i in range(min(settings.stages, steps))]


def _stage(
    settings: ProgressiveSettings, augment: AugmentSettings, i: int, resolution: Resolution, steps: int
) -> Stage:
    count, code = min(settings.stages, steps), settings.variant == "code"
    along = i / max(1, count - 1)
    low, high = settings.resolution
    sized = low / high + (1 - low / high) * ((i + 1) / count if code else along)
    magnitude = settings.randaugment and round(_between(settings.randaugment, along))
    mixing = Mixing(augment.mixup, augment.cutmix)
    if settings.mixup is not None:
        alpha = _between(settings.mixup, along)
        mixing = Mixing(alpha, alpha, halves=True) if code and alpha else Mixing(alpha, augment.cutmix)
    return Stage(
        start=-(-steps * i // count),
        resolution=resolution
        if i == count - 1
        else each_side(resolution, lambda side: max(1, int(side * sized + 1e-9))),
        magnitude=magnitude,
        mixing=mixing,
        dropout=settings.dropout and _between(settings.dropout, along),
    )


def replaced(recipe: Recipe) -> tuple[str, ...]:
    """What is said of settings whose place a progressive schedule's take."""
    settings, augment, dropout = recipe.train.progressive, recipe.augment, recipe.train.dropout
    if settings is None:
        return ()
    pairs = [
        ("randaugment", f"augment.policy {augment.policy}", augment.policy in ("autoaugment", "trivialaugment")),
        ("mixup", f"augment.mixup {augment.mixup:g}", augment.mixup > 0),
        ("mixup", f"augment.cutmix {augment.cutmix:g}", augment.cutmix > 0 and settings.variant == "code"),
        ("dropout", f"train.dropout {dropout or 0:g}", bool(dropout)),
    ]
    return tuple(
        f"train.progressive.{own} takes the place of {theirs}"
        for own, theirs, is_set in pairs
        if is_set and getattr(settings, own) is not None
    )


def _between(ends: tuple[float, float], along: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * along


def shortened(recipe: Recipe, resolution: Resolution, steps: int) -> float:
    """What a progressive schedule's steps cost over those of a plain one, as far as pixels tell."""
    made = stages(recipe, resolution, steps)
    ends = [stage.start for stage in made[1:]] + [steps]
    pixels = sum((end - stage.start) * area(stage.resolution) for stage, end in zip(made, ends, strict=True))
    return pixels / (steps * area(resolution))
