"""Accuracy over the shares of depth, width and resolution as a quadratic surface, with what resampling makes of it.

Shares add up to one, so candidates are mixtures and the surface is Scheffé's (1958, "Experiments with mixtures",
J. R. Stat. Soc. B 20:344): b₁d + b₂w + b₃r + b₁₂dw + b₁₃dr + b₂₃wr, a full quadratic of two free shares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import PolynomialFeatures

Floats = NDArray[np.float64]

FEWEST = 8
"""Distinct points, for six terms, one for cost, and a residual."""
TERMS = 6
RIVALS = 10
"""Steps per edge of the lattice of points that `Surface.may_be_best` compares with, itself and the way to it."""
SLOPE = 0.01
"""How far on that way; as good as the derivative."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Scheffé's six terms (6,), resampled (resamples, 6), and the ``points`` (n, 3) they were fitted to.

    ``r2``: share of the variance between points explained. ``error``: root mean square error of a point left out.
    ``per_doubling``: accuracy bought by twice the MACs at the same shares; None where all cost the same.
    """

    terms: Floats
    resampled: Floats
    points: Floats
    r2: float
    error: float
    per_doubling: float | None

    def predict(self, at: Floats) -> Floats:
        """Accuracies (n,) at shares (n, 3) and the target cost."""
        return np.asarray(_scheffe(at) @ self.terms)

    def among_points(self, at: Floats) -> NDArray[np.bool_]:
        """Which of (n, 3) lie in the hull of the points: elsewhere a quadratic extrapolates."""
        return np.asarray(self._hull.find_simplex(at[:, :2], tol=1e-6) >= 0)

    def lattice(self, steps: int) -> Floats:
        """Shares (n, 3) at 1/steps of each other and all points, none negative, none outside the hull."""
        i, j = (axis.ravel() for axis in np.indices((steps + 1, steps + 1)))
        every = np.stack([i, j, steps - i - j], axis=1)[i + j <= steps] / steps
        return np.concatenate([every[self.among_points(every)], self.points[(self.points >= 0).all(axis=1)]])

    def optima(self, lattice: Floats) -> tuple[Floats, Floats]:
        """The highest of the lattice's points (3,), and that of every resample (resamples, 3)."""
        values = _scheffe(lattice)
        blocks = np.array_split(self.resampled, math.ceil(len(self.resampled) / 500))
        return lattice[(values @ self.terms).argmax()], lattice[
            np.concatenate([(values @ block.T).argmax(axis=0) for block in blocks])
        ]

    def may_be_best(self, at: Floats, confidence: float) -> bool:
        """No rival, far or next to it, beats ``at`` (3,) by more standard errors than noise gives the luckiest.

        The test of Peterson, Cahya & del Castillo (2002, "A general approach to confidence regions for optimal factor
        levels of response surfaces", Biometrics 58:422), with the resamples' quantile of the largest t for critical
        value. It holds for optima on the edge, and keeps the true one with at least ``confidence``.
        """
        towards = at + SLOPE * (self._rivals - at)
        contrast = _scheffe(np.concatenate([self._rivals, towards])) - _scheffe(at[None])
        noise = (self.resampled - self.terms) @ contrast.T
        error, ahead = noise.std(axis=0), contrast @ self.terms
        apart = error > 1e-12
        if not apart.any():
            return bool(ahead.max() <= 1e-12)
        critical = np.quantile((noise[:, apart] / error[apart]).max(axis=1), confidence)
        return bool((ahead[apart] / error[apart]).max() <= critical)

    @cached_property
    def _hull(self) -> Delaunay:
        return Delaunay(self.points[:, :2])

    @cached_property
    def _rivals(self) -> Floats:
        return self.lattice(RIVALS)


def fit_surface(
    points: Floats,
    accuracy: Floats,
    *,
    weights: Floats,
    log_ratio: Floats,
    drawn: Floats | None,
    resamples: int,
    seed: int,
) -> Surface:
    """Weighted least squares, refitted to resamples of what was measured.

    These are ``drawn`` accuracies (resamples, n), plus residuals as far as they scatter more than the draws do: what
    a quadratic misses. Without draws, residuals alone; modified, e/√(1 − h) (Davison & Hinkley 1997, §6.2.3), and
    scaled to Student's t.

    Raises:
        ValueError: fewer than eight distinct points, or so placed that they determine no surface.
    """
    design = _design(points, log_ratio)
    roots = np.sqrt(weights / weights.mean())
    span = np.linalg.qr(design * roots[:, None]).Q
    model = LinearRegression(fit_intercept=False)
    terms = np.asarray(model.fit(design * roots[:, None], accuracy * roots).coef_)
    residuals = roots * (accuracy - design @ terms)
    slack = 1 - (span**2).sum(axis=1)
    free = slack > 1e-9  # the others determine a term alone, and leave no residual

    centre = np.tile(design @ terms, (resamples, 1)) if drawn is None else drawn[:resamples]
    own = (centre - centre.mean(axis=0)) * roots
    explained = ((own - own @ span @ span.T) ** 2).sum(axis=1).mean() / max((residuals**2).sum(), 1e-300)
    rng, freedom = np.random.default_rng(seed), len(points) - design.shape[1]
    pool = residuals[free] / np.sqrt(slack[free]) * np.sqrt(max(0.0, 1 - explained))
    noise = rng.choice(pool - pool.mean(), centre.shape) * np.sqrt(freedom / rng.chisquare(freedom, (len(centre), 1)))
    resampled = np.asarray(model.fit(design * roots[:, None], (centre * roots + noise).T).coef_)

    spread = ((roots * (accuracy - np.average(accuracy, weights=weights))) ** 2).sum()
    return Surface(
        terms=terms[:TERMS],
        resampled=resampled[:, :TERMS],
        points=points,
        r2=float(1 - (residuals**2).sum() / spread) if spread else math.nan,
        error=float(np.sqrt(np.mean((residuals[free] / roots[free] / slack[free]) ** 2))),
        per_doubling=float(terms[TERMS]) if len(terms) > TERMS else None,
    )


def _scheffe(at: Floats) -> Floats:
    """d, w, r, dw, dr, wr: (n, 6)."""
    return np.asarray(PolynomialFeatures(degree=2, interaction_only=True, include_bias=False).fit_transform(at))


def _design(points: Floats, log_ratio: Floats) -> Floats:
    """The terms and, unless all cost the same, the cost: (n, 6 or 7)."""
    distinct = np.unique(points.round(6), axis=0)
    if len(distinct) < FEWEST:
        raise ValueError(f"expected at least {FEWEST} distinct points, got {len(distinct)}")
    if np.linalg.matrix_rank(distinct - distinct.mean(axis=0), tol=1e-4) < 2:
        raise ValueError("expected points spread over the simplex, got a line: one share is a function of another")
    design = _scheffe(points)
    if np.ptp(log_ratio) > 1e-9:
        design = np.column_stack([design, log_ratio])
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(
            f"expected points that determine {design.shape[1]} terms, got some that determine only "
            f"{np.linalg.matrix_rank(design)}: they lie on a curve, or cost follows from the shares"
        )
    return design
