"""Mean and deviation of the training images' channels."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from scalesearch.data.decoded_cache import decode
from scalesearch.data.images import own_size, split_indices
from scalesearch.data.sources import Source
from scalesearch.errors import DataError
from scalesearch.image_size import Resolution
from scalesearch.settings import DataSettings

SAMPLE = 512
"""Training images that are looked at, spread evenly over all."""


def channel_statistics(
    source: Source, settings: DataSettings, size: Resolution
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of every channel over `SAMPLE` training images at ``size``, shares of white, four digits.

    The minival plays no part in them. A channel that is the same everywhere has deviation 1.

    Raises:
        DataError: none of them can be decoded.
    """
    train = split_indices(source, settings)[0]
    if not source.drawn:
        size = own_size(source.train, train, size)
    count, total, squares = 0, 0.0, 0.0
    for index in train[:: max(1, -(-len(train) // SAMPLE))]:
        with suppress(DataError):  # whatever is broken is told when all are decoded
            levels = decode(source.train, index, size).astype(np.float64) / 255
            count += levels[0].size
            total, squares = total + levels.sum((1, 2)), squares + (levels**2).sum((1, 2))
    if not count:
        raise DataError(f"none of the training images of {source.title} can be decoded")
    mean = np.asarray(total) / count
    deviation = np.sqrt(np.maximum(np.asarray(squares) / count - mean**2, 0))
    return tuple(map(_short, mean)), tuple(_short(each) if each > 1e-6 else 1.0 for each in deviation)


def _short(value: float) -> float:
    return float(f"{value:.4g}")
