"""The sections of a recipe: which candidates, images, augmentation and schedule, and how trials are carried out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from scalesearch.image_size import InputSize
from scalesearch.validation import MOST_PIXELS, Strict

MAX_PIXELS = 178_956_970
"""Of one image, where a recipe does not say: Pillow's own bound."""

Share = Annotated[float, Field(ge=0, lt=1)]
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _amount(value: object) -> object:
    """``"800M"`` is 800,000,000 and ``"2GiB"`` 2,147,483,648; numbers stay as they are."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    unit = next((u for u in sorted(_UNITS, key=len, reverse=True) if text.endswith(u)), "")
    try:
        return round(float(text.removesuffix(unit)) * _UNITS.get(unit, 1))
    except (ValueError, OverflowError):
        raise ValueError("a number, with k, M, G, KiB, MiB or GiB behind it if need be") from None


UpToOne = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1)]
Pixels = Annotated[PositiveInt, Field(le=MOST_PIXELS)]
Magnitude = Annotated[int, Field(ge=0, le=30)]
Amount = Annotated[PositiveInt, BeforeValidator(_amount)]


Coefficient = Annotated[PositiveFloat, Field(le=1000)]
Match = Literal["nominal", "macs", "params", "activations", "memory", "latency", "train-time", "energy"]
"""What candidates are admitted by: αβ²γ², or a cost that is the same for all of them."""


class Row(Strict):
    """A candidate named by hand: the baseline made so many times as deep, wide and sharp.

    ``changes`` come first: fields of the baseline's table that have other values (``spec.stages.se: 0.125``).
    """

    label: Annotated[str, Field(min_length=1)]
    depth: PositiveFloat = 1.0
    width: PositiveFloat = 1.0
    resolution: PositiveFloat = 1.0
    changes: dict[str, bool | int | float | str | None] = Field(default_factory=dict)


class SearchSettings(Strict):
    """Which coefficients are candidates (Tan & Le 2019, Eq. 3), and what they may cost (Eq. 2).

    ``match: nominal`` admits |α·β²·γ² − target| ≤ tolerance. ``match: macs`` takes two coefficients from the grid
    and solves the third (``solve``), so that the measured MACs are target^φ times the baseline's within
    ``match_tolerance``. So do ``params``, ``activations`` and ``memory`` (the estimate of a training step's at
    ``train.batch_size``), and ``latency``, ``train-time`` and ``energy``, which are measured on the device that trains,
    within ``measured_tolerance``: of inference with batches of ``match_batch`` (1 by default) on ``match_threads`` of
    torch's threads (as many as torch takes), or of a training step (by default of ``train.batch_size``, on as many
    threads as a worker has). The targets of MACs, parameters, training memory (bytes), activations (per image) and
    latency (milliseconds at batch 1 on the device that trains) admit what stays below them (Eq. 2). Where there are
    ``rows``, as `compare` makes them, they are the candidates, and there is no grid.
    """

    step: Annotated[float, Field(gt=0, le=1)] = 0.05
    min_alpha: Coefficient = 1.0
    max_alpha: Coefficient = 2.0
    min_beta: Coefficient = 1.0
    max_beta: Coefficient = 1.5
    min_gamma: Coefficient = 1.0
    max_gamma: Coefficient = 1.5
    target: Coefficient = 2.0
    tolerance: NonNegativeFloat = 0.1
    match: Match = "nominal"
    match_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.02
    measured_tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    match_batch: Annotated[PositiveInt, Field(le=10**6)] | None = None
    match_threads: Annotated[PositiveInt, Field(le=4096)] | None = None
    solve: Literal["alpha", "beta", "gamma", "any"] = "gamma"
    target_macs: Amount | None = None
    target_params: Amount | None = None
    target_memory: Amount | None = None
    target_activations: Amount | None = None
    target_latency: PositiveFloat | None = None
    also: tuple[tuple[Coefficient, Coefficient, Coefficient], ...] = ()
    rows: tuple[Row, ...] = ()

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> SearchSettings:
        for name in ("alpha", "beta", "gamma"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise ValueError(f"min_{name} ≤ max_{name} (they are {low:g} and {high:g})")
        return self


class NasSettings(Strict):
    """A search for a baseline (`scalesearch nas`): of which ``space``, and for how many MACs.

    An architecture's reward is accuracy·(MACs/``target_macs``)^``exponent`` (Tan et al. 2019, MnasNet, Eq. 2, with the
    exponent of Tan & Le 2019, §4). One whose MACs are more than ``factor`` times the target, or less than the target
    over ``factor``, is not trained. ``sampler`` learns from the rewards of trained ones (``tpe``), from accuracies and
    MACs as two objectives, in generations of ``population`` (``nsga2``), or from nothing (``random``); ``seed`` is its
    own. ``trials`` bounds how many architectures are trained, where there is no ``budget``.
    """

    space: str = "mbconv"
    target_macs: Amount | None = None
    factor: Annotated[float, Field(gt=1, le=1000)] = 1.25
    exponent: Annotated[float, Field(ge=-10, le=0)] = -0.07
    sampler: Literal["tpe", "nsga2", "random"] = "tpe"
    population: Annotated[int, Field(ge=2, le=10**4)] = 10
    seed: Annotated[NonNegativeInt, Field(lt=2**32)] = 0
    trials: Annotated[PositiveInt, Field(le=10**6)] | None = None


class DataSettings(Strict):
    """Which images. ``source``: embedded, folder:PATH, cifar10:PATH, cifar100:PATH, or torchvision:NAME[:PATH].

    Ranking uses the minival, a stratified share of the training images that no candidate trains on. ``limit`` keeps
    at most so many training images, spread evenly over the classes; ``cache_resolution`` is the side at which images
    are decoded and kept (default: as large as any candidate needs; never above the images' own size). Without
    ``cache``, images are decoded whenever they are needed, by ``workers`` threads (default: one per core): for sets too
    large to keep decoded. ``cache_size`` bounds the cache on the disk, bytes: what was used least recently goes first.
    Images that cannot be decoded are all reported before anything trains; with ``on_error: skip`` they are left out and
    listed in the run's folder. An image of more than ``max_pixels`` counts as one of them. ``channels`` are 1 (grey),
    3 (colour) or 4 (and alpha), by default what the network takes, or else what the images have; ``bits`` 8 or 16, by
    default those that greyscale images have. ``crop`` is what becomes of images of another ratio than the network's:
    their centre is cut out, or they are squashed, or padded (`data.pixels`). ``mean`` and ``std`` of the channels, in
    [0, 1], are what images are normalised by: ImageNet's where there are three, else those of the training images; or
    those that the weights expect which a training begins with (`training.normalisation`).
    """

    source: str = "embedded"
    minival: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: Annotated[NonNegativeInt, Field(lt=2**32)] = 0
    limit: PositiveInt | None = None
    cache_resolution: InputSize | None = None
    cache: bool = True
    cache_size: Amount = 64 * 2**30
    workers: NonNegativeInt | None = None
    on_error: Literal["refuse", "skip"] = "refuse"
    max_pixels: Amount = MAX_PIXELS
    channels: Literal[1, 3, 4] | None = None
    bits: Literal[8, 16] | None = None
    crop: Literal["centre", "squash", "pad"] = "centre"
    mean: Annotated[tuple[UpToOne, ...], Field(min_length=1, max_length=4)] | None = None
    std: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=4)] | None = None

    @model_validator(mode="after")
    def _skipped_before_training(self) -> DataSettings:
        if self.on_error == "skip" and not self.cache:
            raise ValueError("on_error: refuse where nothing is decoded before training (cache: false)")
        return self

    @model_validator(mode="after")
    def _both_or_neither(self) -> DataSettings:
        if (self.mean is None) != (self.std is None):
            raise ValueError("both mean and std, or neither")
        if self.mean is not None and self.std is not None and not (len(self.mean) == len(self.std) in (1, 3, 4)):
            raise ValueError("data.mean and data.std of as many channels: 1, 3 or 4 numbers each")
        return self


def _switch(value: object) -> object:
    """YAML reads ``on`` and ``off`` as truths."""
    return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value


class AugmentSettings(Strict):
    """Random resized crop (area share ``scale``, aspect 3/4 to 4/3), flip, then one of torchvision's policies.

    ``mixup`` and ``cutmix`` are the α of their Beta distributions (0: off); where both are on, chance decides for each
    batch. Labels are mixed with the images.
    """

    scale: tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]] = (0.08, 1.0)
    flip: bool = True
    policy: Literal["none", "randaugment", "autoaugment", "trivialaugment"] = "none"
    magnitude: Magnitude = 9
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    eval_crop: Annotated[float, Field(gt=0, le=1)] = 0.875

    @model_validator(mode="after")
    def _scale_is_ordered(self) -> AugmentSettings:
        if self.scale[0] > self.scale[1]:
            raise ValueError("scale in order, smallest share first")
        return self


class ProgressiveSettings(Strict):
    """Training in stages of equal length, small images and weak regularisation first (Tan & Le 2021, §4).

    From the first stage to the last, values rise from the first number to the second. ``resolution`` is a ratio: a
    network's own is the last stage's. ``mixup`` is its α, ``dropout`` the head's. The variant ``paper`` begins at the
    first numbers; ``code`` is what the authors' program does: sizes begin a step above the first, mixup and CutMix take
    half of each batch, and dropout does not change.
    """

    stages: Annotated[int, Field(ge=2, le=100)] = 4
    resolution: tuple[Pixels, Pixels] = (128, 300)
    randaugment: tuple[Magnitude, Magnitude] | None = None
    mixup: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    dropout: tuple[Share, Share] | None = None
    variant: Literal["paper", "code"] = "paper"

    @model_validator(mode="after")
    def _what_the_variant_has(self) -> ProgressiveSettings:
        if self.resolution[0] > self.resolution[1]:
            raise ValueError("resolution in order, smallest first")
        if self.variant == "code" and self.dropout is not None:
            raise ValueError("no dropout where variant is code, which does not change it")
        return self


class TrainSettings(Strict):
    """One short schedule, the same for every candidate. Give ``epochs`` or ``steps``, not both.

    The learning rate is for this batch size as it stands, no rescaling; with ``grow_batch`` the batch is doubled before
    the run, for all candidates alike, while that trains faster, and the learning rate grows with it. ``compile: auto``
    compiles the networks' blocks where a trial is long enough to earn the time back. With ``readings``, evaluations
    also measure Brier scores, the weights' running mean and fresh batch-norm statistics, for those who compare
    estimators: they are kept in the ledger and rank nothing. ``stochastic_depth`` and ``norm_momentum`` replace the
    baseline's where they are given; ``dropout: null`` lets dropout grow with φ as in the paper. The schedule ``wsd``
    (warm-up, stable, decay) keeps its rate until the last ``cooldown`` of its steps; with it, ``lengths``, shares of
    the schedule, are shorter schedules that branch off, so that one training answers for several lengths.
    ``from_weights`` is a file of weights to begin with (`models.weights`); ``grow_from`` one of a smaller network's,
    whose function the larger one starts with (`models.grown_model`). With ``freeze`` only the classifier is
    trained, or for the first ``head_only_epochs``; all else learns at ``features_rate`` times the rate. At the end a
    network is measured at ``eval_resolutions`` too, as shares of its own, its norm statistics estimated at each. With
    ``class_weights: balanced`` an image of class c counts n/(k·n_c) times in the loss, of n images and k classes.
    """

    epochs: Annotated[PositiveFloat, Field(le=10**6)] | None = None
    steps: Annotated[PositiveInt, Field(le=10**9)] | None = None
    batch_size: Annotated[PositiveInt, Field(le=10**15)] = 64
    grow_batch: bool = False
    optimizer: Literal["sgd", "adamw", "rmsprop_tf"] = "sgd"
    learning_rate: PositiveFloat = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegativeFloat = 1e-5
    rms_decay: Annotated[float, Field(gt=0, lt=1)] = 0.9
    rms_epsilon: PositiveFloat = 1e-3
    schedule: Literal["cosine", "exponential", "wsd"] = "cosine"
    warmup_epochs: NonNegativeFloat = 0.0
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.97
    decay_epochs: PositiveFloat = 2.4
    cooldown: Annotated[float, Field(gt=0, le=1)] = 0.2
    lengths: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    label_smoothing: Share = 0.1
    class_weights: Literal["none", "balanced"] = "none"
    ema: Share = 0.0
    clip_norm: PositiveFloat | None = None
    stochastic_depth: Share | None = None
    dropout: Share | None = None
    norm_momentum: Annotated[float, Field(gt=0, le=1)] | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compile: Annotated[Literal["off", "auto", "on"], BeforeValidator(_switch)] = "off"
    evaluations: Annotated[PositiveInt, Field(le=10**4)] = 4
    progressive: ProgressiveSettings | None = None
    from_weights: str | None = None
    grow_from: str | None = None
    freeze: bool = False
    head_only_epochs: NonNegativeFloat = 0.0
    features_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    eval_resolutions: tuple[Annotated[float, Field(gt=0, le=4)], ...] = ()
    readings: bool = False

    @model_validator(mode="after")
    def _one_length(self) -> TrainSettings:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("either epochs or steps")
        return self

    @model_validator(mode="after")
    def _what_goes_together(self) -> TrainSettings:
        if self.lengths and self.schedule != "wsd":
            raise ValueError(f"schedule: wsd where there are lengths (it is {self.schedule})")
        if (self.freeze or self.head_only_epochs) and self.from_weights is None:
            raise ValueError("from_weights beside freeze and head_only_epochs: fresh features would stay as they are")
        if self.grow_from is not None and (self.from_weights is not None or self.freeze or self.head_only_epochs):
            raise ValueError("grow_from or from_weights (freeze, head_only_epochs), not both: a network starts once")
        if self.progressive and (self.lengths or self.readings):
            raise ValueError("no lengths and no readings where progressive is on: stages are of one schedule")
        return self


class RunSettings(Strict):
    """How the trials are carried out. Nothing here changes a result.

    ``workers`` are processes that train side by side (default: ``per_device`` on each device; 0: none, train in the
    search's own); with ``per_device: auto`` a probe decides how many feed a device. A
    trial whose worker died is repeated ``retries`` times; one that takes longer than ``trial_minutes`` is ended. Its
    state is kept every ``checkpoint_minutes``, or every ``checkpoint_steps`` if given. A worker that has not shown
    itself for ``lease_seconds`` loses its trial to another. The trained weights of the best ``keep_weights`` candidates
    (their first seeds') stay in the run's folder. With ``cuda_graphs`` a network's forward and
    backward pass is recorded once and replayed. ``log`` is who else is shown a search's curves and ranking.
    """

    workers: Annotated[NonNegativeInt, Field(le=4096)] | None = None
    per_device: Annotated[PositiveInt, Field(le=256)] | Literal["auto"] = 1
    retries: Annotated[NonNegativeInt, Field(le=1000)] = 2
    trial_minutes: PositiveFloat | None = None
    checkpoint_minutes: PositiveFloat = 2.0
    checkpoint_steps: PositiveInt | None = None
    lease_seconds: Annotated[float, Field(ge=1)] = 60.0
    keep_weights: NonNegativeInt = 0
    cuda_graphs: bool = False
    log: Literal["tensorboard"] | None = None
