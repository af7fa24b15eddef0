"""How images are seen, decided before anything is decoded: their channels, their depth, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from scalesearch.data.kinds import Found, channel_words, looked_at, ratio_words
from scalesearch.data.sources import Source, seen_as, view_of
from scalesearch.errors import DataError, RecipeError
from scalesearch.image_size import Resolution, area, covering, decoded_at
from scalesearch.recipe import Recipe
from scalesearch.settings import AugmentSettings, DataSettings

SEEN = (1, 3, 4)
"""Channels that images can be given: grey, colour, and colour with alpha."""


class Inputs(NamedTuple):
    """Settings without an open question, the source seen as they say, and a sentence for whatever is lost or made."""

    data: DataSettings
    source: Source
    words: tuple[str, ...]


def settled(
    data: DataSettings,
    source: Source,
    name: str,
    channels: int | None,
    size: Resolution,
    augment: AugmentSettings | None = None,
) -> Inputs:
    """Decide how images are seen by the network ``name``.

    Args:
        channels: of its images; None where it can be made for any number.
        size: of its images, pixels.
        augment: how they are augmented, where they are.

    Raises:
        DataError: they have another number of channels, and nobody has said that they are to be converted.
        RecipeError: they are to have other channels than the network takes.
    """
    if channels is not None and data.channels not in (None, channels):
        raise RecipeError("data.channels", f"{channels}, which {name} takes", data.channels)
    found = looked_at(source)
    chosen = data.channels or _channels(found, channels, name)
    data = data.model_copy(update={"channels": chosen, "bits": data.bits or found.bits})
    source = seen_as(source, view_of(data))
    told = [channel_words(found, source.train.view), ratio_words(found, size, data.crop), _left_out(augment, source)]
    return Inputs(data, source, tuple(words for words in told if words))


def kept_at(recipe: Recipe, resolutions: Iterable[Resolution]) -> tuple[Resolution, tuple[str, ...]]:
    """The size at which images are kept for networks of these sizes, pixels, and what is said where that is less than
    they see: a recipe's ``data.cache_resolution`` may be that of a smaller network's run."""
    needed = covering(resolutions, max((1.0, *recipe.train.eval_resolutions)), recipe.augment.eval_crop)
    kept = decoded_at(recipe.data.cache_resolution or needed, needed, 1)
    if area(kept) >= area(needed):
        return kept, ()
    return kept, (f"images are kept at {kept} px (data.cache_resolution) and enlarged to up to {needed}",)


def _channels(found: Found, own: int | None, name: str) -> int:
    """Those that the network takes, where nothing is lost by that; those of the images where it takes any."""
    if own is None or own == found.channels:
        return found.channels
    if own == 3 or (own == 4 and found.alpha):
        return own
    plural = "s" * (own != 1)
    if own not in SEEN:
        raise DataError(f"{name} takes {own} channel{plural}, and images have 1, 3 or 4")
    become = {1: "turns colours into greys", 4: "makes images without alpha opaque"}[own]
    raise DataError(
        f"{name} takes {own} channel{plural}, and the images have {found.channels}: --set data.channels={own} {become}"
    )


def _left_out(augment: AugmentSettings | None, source: Source) -> str | None:
    """What of the augmentation does not reach such images."""
    view = source.train.view
    if augment is None or augment.policy == "none":
        return None
    parts = []
    if view.channels == 1:
        parts.append("its operation color does nothing to grey images")
    if view.channels == 4:
        parts.append("its operations on colours leave alpha as it is")
    if view.bits == 16:
        parts.append("its operations know 8 bits: in training images are rounded to them")
    return f"{augment.policy}: {'; '.join(parts)}" if parts else None
