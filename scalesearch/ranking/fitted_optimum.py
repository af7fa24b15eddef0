"""The answer beyond the grid: how the growth in cost is best divided among depth, width and resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np

from scalesearch.ranking.quadratic_fit import Floats, Surface, fit_surface
from scalesearch.scaling.shares import NAMES, Shares

STEPS = 100
"""Steps per edge of the lattice on which optima are sought."""
ROUGH = 10
"""Steps per edge of the lattice that is looked over for a point that can be ruled out."""
Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The surface's highest point among the measured ones, and how sure that is.

    ``optimum``: to 0.01; within the hull of the points, so nothing is extrapolated. ``accuracy``: predicted there at
    the target cost. ``depth``, ``width``, ``resolution``: percentile ranges of the resampled optima, ``cloud``
    (resamples, 3). ``zeros``: what gets nothing at the optimum. ``outermost``: the optimum lies where the points end,
    short of the simplex's edge. ``flat``: no point can be ruled out.
    """

    optimum: Shares
    accuracy: float
    depth: Range
    width: Range
    resolution: Range
    cloud: Floats
    zeros: tuple[str, ...]
    outermost: bool
    flat: bool
    confidence: float
    surface: Surface

    def predict(self, at: Shares) -> float:
        """Accuracy at the target cost."""
        return float(self.surface.predict(np.array([astuple(at)]))[0])

    def contains(self, at: Shares) -> bool:
        """Whether ``at`` may be the optimum, with ``confidence`` (see `Surface.may_be_best`)."""
        return self.surface.may_be_best(np.array(astuple(at)), self.confidence)


def fit(
    points: Sequence[Shares],
    accuracy: Sequence[float],
    *,
    sd: Sequence[float] | None = None,
    log_ratio: Sequence[float] | None = None,
    drawn: Floats | None = None,
    confidence: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Fitted:
    """The best shares by a quadratic surface through what was measured.

    Pass ``drawn`` where there is any: candidates measured on the same images err together, smoothly along the surface,
    and the scatter about it, which is all that is resampled otherwise, does not show that.

    Args:
        sd: standard error of each accuracy; weights are 1/sd².
        log_ratio: log2 of measured MACs over the target, so that a dearer candidate does not win by cost alone.
        drawn: accuracies of `inference.draws`, columns as in ``points``; the first ``resamples`` rows are used.

    Raises:
        ValueError: fewer than eight distinct points, or so placed that they determine no surface; arguments that do
            not fit together.
    """
    count = len(points)
    for name, values in (("accuracy", accuracy), ("sd", sd), ("log_ratio", log_ratio)):
        if values is not None and len(values) != count:
            raise ValueError(f"{name}: expected {count} values, one per point, got {len(values)}")
    if sd is not None and not all(0 < error < math.inf for error in sd):
        raise ValueError(f"sd: expected positive numbers, got {list(sd)}")
    if drawn is not None and drawn.shape[1:] != (count,):
        raise ValueError(f"drawn: expected shape (resamples, {count}), got {drawn.shape}")
    surface = fit_surface(
        np.array([astuple(point) for point in points], dtype=np.float64).reshape(count, 3),
        np.asarray(accuracy, dtype=np.float64),
        weights=np.ones(count) if sd is None else 1 / np.asarray(sd, dtype=np.float64) ** 2,
        log_ratio=np.zeros(count) if log_ratio is None else np.asarray(log_ratio, dtype=np.float64),
        drawn=drawn,
        resamples=resamples,
        seed=seed,
    )
    best, cloud = surface.optima(surface.lattice(STEPS))
    low, high = np.quantile(cloud, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    depth, width, resolution = ((float(a), float(b)) for a, b in zip(low, high, strict=True))
    beyond = best + (np.eye(3)[:, None] - np.eye(3)).reshape(9, 3) / STEPS
    beyond = beyond[(beyond >= -1e-9).all(axis=1)]
    return Fitted(
        optimum=Shares(*(float(share) for share in best)),
        accuracy=float(surface.predict(best[None])[0]),
        depth=depth,
        width=width,
        resolution=resolution,
        cloud=cloud,
        zeros=tuple(name for name, share in zip(NAMES, best, strict=True) if share == 0),
        outermost=not surface.among_points(beyond).all(),
        flat=all(surface.may_be_best(at, confidence) for at in surface.lattice(ROUGH)),
        confidence=confidence,
        surface=surface,
    )


def in_words(fitted: Fitted) -> str:
    """The optimum, its ranges, how good the fit is, and what makes it doubtful."""
    percent, surface = f"{100 * fitted.confidence:g} %", fitted.surface
    ranges = ", ".join(
        f"{name} {100 * low:.0f}–{100 * high:.0f} %"
        for name, (low, high) in zip(NAMES, (fitted.depth, fitted.width, fitted.resolution), strict=True)
    )
    sentences = [
        f"The fitted surface is highest at {fitted.optimum} of the growth "
        f"({fitted.optimum.coefficients()} for growth 2): accuracy {fitted.accuracy:.3f}.",
        f"{percent} of its resampled optima lie at {ranges}, each taken alone.",
        f"It explains {100 * surface.r2:.0f} % of the variance and misses a candidate left out by {surface.error:.2g}.",
    ]
    if fitted.flat:
        sentences.append(f"It is flat within its noise: no division of the growth can be ruled out at {percent}.")
    if fitted.zeros:
        sentences.append(f"The optimum is on the edge: {' and '.join(fitted.zeros)} should get nothing, or less.")
    if fitted.outermost:
        sentences.append("It is at the outermost of what was measured: the true one may lie beyond.")
    return " ".join(sentences)
