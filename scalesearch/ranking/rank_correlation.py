"""Do short trainings rank as long ones do? Rank correlations of the same candidates, with their uncertainty."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """One rank correlation in [−1, 1], its bootstrap interval, and the p-value of none; nan where undefined."""

    value: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Agreement:
    """Kendall's τ-b and Spearman's ρ of two measurements of the same candidates."""

    candidates: int
    tau: Correlation
    rho: Correlation


def rank_agreement(
    short: Sequence[float], long: Sequence[float], *, resamples: int = 2_000, seed: int = 0, confidence: float = 0.95
) -> Agreement:
    """How far ``long`` orders the candidates as ``short`` does, of `scipy.stats`.

    Intervals are percentiles over resampled candidates; a resample that is constant says nothing and is left out.
    τ's p-value is exact for few candidates without ties, ρ's by permutation (exact up to seven candidates).

    Raises:
        ValueError: fewer than three candidates, or not as many in both.
    """
    if len(short) != len(long) or len(short) < 3:
        raise ValueError(f"expected the same three or more candidates twice, got {len(short)} and {len(long)}")
    pair = np.asarray(short, dtype=np.float64), np.asarray(long, dtype=np.float64)
    tau_p = rho_p = math.nan
    if _vary(*pair):
        tau_p = float(stats.kendalltau(*pair).pvalue)
        permutations = stats.PermutationMethod(n_resamples=9_999, rng=np.random.default_rng(seed))
        rho_p = float(stats.pearsonr(*(stats.rankdata(x) for x in pair), method=permutations).pvalue)
    return Agreement(
        len(short),
        _interval(pair, _tau, tau_p, resamples, seed, confidence),
        _interval(pair, _rho, rho_p, resamples, seed, confidence),
    )


def _vary(x: Floats, y: Floats) -> bool:
    return bool(np.ptp(x) > 0 and np.ptp(y) > 0)


def _tau(x: Floats, y: Floats) -> float:
    return float(stats.kendalltau(x, y).statistic) if _vary(x, y) else math.nan


def _rho(x: Floats, y: Floats) -> float:
    return float(stats.spearmanr(x, y).statistic) if _vary(x, y) else math.nan


def _interval(
    pair: tuple[Floats, Floats],
    statistic: Callable[[Floats, Floats], float],
    p_value: float,
    resamples: int,
    seed: int,
    confidence: float,
) -> Correlation:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # scipy's own interval, not used here
        drawn = stats.bootstrap(
        pair, statistic, paired=True, vectorized=False, n_resamples=resamples, method="percentile",
        rng=np.random.default_rng(seed),
    ).bootstrap_distribution  # fmt: skip
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2]) if len(drawn) else (math.nan, math.nan)
    return Correlation(statistic(*pair), float(low), float(high), p_value)
