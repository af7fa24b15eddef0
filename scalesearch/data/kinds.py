"""What kind of images a source holds, from their headers: colour, depth, alpha and shape.

And what becomes of those that networks see otherwise, in words.
"""

from __future__ import annotations

import statistics
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

from scalesearch.data.pixels import Crop, View, share_kept
from scalesearch.data.sources import Source
from scalesearch.image_size import Resolution, height_width
from scalesearch.runtime.threads import cores

MOST = 4096
"""Images whose headers are read at most; without headers, `FEW` are opened."""
FEW = 16

SAME_RATIO = 0.98
"""An image of which so much is kept has the network's ratio, but for rounding."""


class Kind(NamedTuple):
    """Whether an image has colour, alpha, more than eight bits; its height and width in pixels, as far as known."""

    colour: bool
    alpha: bool
    deep: bool
    size: tuple[int, int] | None

    @classmethod
    def of(cls, image: Image.Image) -> Kind:
        """As an opened image's header has it."""
        grey = image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
        alpha = image.mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info
        return cls(not grey, alpha, image.mode.startswith("I"), (image.height, image.width))

    @property
    def words(self) -> str:
        """As a list of counts names it."""
        base = "in colour" if self.colour else "greyscale of 16 bits" if self.deep else "greyscale"
        return f"{base} with alpha" if self.alpha else base


@dataclass(frozen=True)
class Found:
    """The kinds of so many images that were looked at, ``of`` so many."""

    kinds: tuple[Kind, ...]
    of: int

    @property
    def channels(self) -> int:
        """1 where all are grey, else 3: alpha is kept where it is asked for."""
        return 1 if self.kinds and not any(kind.colour for kind in self.kinds) else 3

    @property
    def bits(self) -> int:
        """16 where all are grey and any has as many, else 8."""
        return 16 if self.channels == 1 and self.deep else 8

    @property
    def deep(self) -> bool:
        """Whether any has more than eight bits."""
        return any(kind.deep for kind in self.kinds)

    @property
    def alpha(self) -> bool:
        """Whether all have it."""
        return bool(self.kinds) and all(kind.alpha for kind in self.kinds)


def looked_at(source: Source) -> Found:
    """The kinds of the training images, spread evenly over them; those that cannot be opened are left out."""
    part, every = source.train, range(len(source.train.labels))
    if source.drawn:  # squares in colour
        return Found((Kind(colour=True, alpha=False, deep=False, size=(MOST, MOST)),) * len(every), len(every))
    most = FEW if part.header is None else MOST
    chosen = every[:: max(1, -(-len(every) // most))]

    def one(index: int) -> Kind | None:
        with suppress(Exception):  # whatever is broken is told when it is decoded
            return Kind.of(part.load(index, 32) if part.header is None else part.header(index))
        return None

    with ThreadPoolExecutor(cores()) as pool:
        return Found(tuple(kind for kind in pool.map(one, chosen) if kind is not None), len(every))


def channel_words(found: Found, view: View) -> str | None:
    """What becomes of images that are not in plain colour, in a sentence; None where all are and stay so."""
    counts = Counter(kind.words for kind in found.kinds)
    if view == View(crop=view.crop) and set(counts) <= {"in colour"}:
        return None
    some = f" of {len(found.kinds):,} that were looked at" if len(found.kinds) < found.of else ""
    listed = ", ".join(f"{count:,} {words}" for words, count in counts.most_common())
    parts = [f"{listed}{some}: networks see {view.channels} channel{'s' * (view.channels != 1)} of {view.bits} bits"]
    colour, alpha = ({getattr(kind, what) for kind in found.kinds} for what in ("colour", "alpha"))
    if view.channels == 1 and True in colour:
        parts.append("colours become greys")
    if view.channels > 1 and False in colour:
        parts.append("of grey images three equal ones")
    if view.channels != 4 and True in alpha:
        parts.append("alpha is left out (--set data.channels=4 keeps it)")
    if view.channels == 4 and False in alpha:
        parts.append("images without alpha count as opaque")
    if found.deep and view.bits == 8:
        parts.append("the upper 8 of 16 bits are kept (--set data.bits=16 keeps all)")
    return "; ".join(parts)


def ratio_words(found: Found, size: Resolution, crop: Crop) -> str | None:
    """What becomes of images of another ratio than the network's, in a sentence; None where none has another."""
    sizes = [kind.size for kind in found.kinds if kind.size is not None]
    other = [each for each in sizes if share_kept(*each, size) < SAME_RATIO]
    if not other:
        return None
    height, width = height_width(size)
    ratios = sorted(w / h for h, w in other)
    middle = statistics.median(ratios)
    spread = f"{middle:.2f}" if ratios[0] == ratios[-1] else f"{ratios[0]:.2f} to {ratios[-1]:.2f}, median {middle:.2f}"
    some = f"{len(other):,} of {len(sizes):,} images{' looked at' * (len(sizes) < found.of)}"
    told = f"{some} are not of the network's ratio, width to height {width / height:.2f}, but {spread}: "
    if crop == "squash":
        return f"{told}they are squashed to it"
    if crop == "pad":
        return f"{told}they are fitted in, the rest is black"
    kept = statistics.mean(share_kept(*each, size) for each in other)
    return (
        f"{told}their centre is seen, {_percent(kept)} of each on average (--set data.crop=squash or pad: all of it; "
        "--resolution HEIGHTxWIDTH: a network of another ratio)"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
