"""The size of a network's images: one number where they are square, height and width where they are not.

Squares stay plain numbers, in files and in arithmetic. A `Rectangle` takes part in no arithmetic by accident: whatever
computes with sides does so by the functions here, which take either.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import Field, PlainSerializer, PlainValidator, PositiveInt, TypeAdapter, ValidationError
from pydantic_core import PydanticKnownError

from scalesearch.validation import MOST_PIXELS

_WRITTEN = re.compile(r"\s*(\d+)\s*[x×]\s*(\d+)\s*", re.IGNORECASE)
_SIDE: TypeAdapter[int] = TypeAdapter(Annotated[PositiveInt, Field(le=MOST_PIXELS)])


NEAR = 0.05
"""Logarithms of ratios that differ by less are taken for the same ratio, rounded."""


class Rectangle(NamedTuple):
    """Height and width of images that are not square, pixels; printed as ``64×192``."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.height}×{self.width}"

    def __format__(self, form: str) -> str:
        return format(str(self), form)


Resolution = int | Rectangle
"""The side of square images, or height and width of others, pixels."""


def of_sides(height: int, width: int) -> Resolution:
    """The size of images of ``height`` × ``width`` pixels: a plain number where they are square."""
    return height if height == width else Rectangle(height, width)


def height_width(resolution: Resolution) -> tuple[int, int]:
    """Both sides, pixels.

    >>> height_width(224), height_width(Rectangle(64, 192))
    ((224, 224), (64, 192))
    """
    return (resolution, resolution) if isinstance(resolution, int) else (resolution.height, resolution.width)


def each_side(resolution: Resolution, change: Callable[[int], int]) -> Resolution:
    """The size whose sides are ``change`` of these."""
    if isinstance(resolution, int):
        return change(resolution)
    return of_sides(change(resolution.height), change(resolution.width))


def area(resolution: Resolution) -> int:
    """Pixels in all."""
    height, width = height_width(resolution)
    return height * width


def mean_side(resolution: Resolution) -> float:
    """The side of the square of the same area: a square's own."""
    return resolution if isinstance(resolution, int) else math.sqrt(area(resolution))


def same_ratio(one: Resolution, other: Resolution) -> bool:
    """Whether two sizes have the same ratio of width to height, exactly: all squares have."""
    (high, wide), (tall, broad) = height_width(one), height_width(other)
    return high * broad == wide * tall


def times(resolution: Resolution, factor: float) -> Resolution:
    """Both sides so many times as long, each rounded to whole pixels, at least one."""
    return each_side(resolution, lambda side: max(1, round(side * factor)))


def covering(resolutions: Iterable[Resolution], factor: float = 1, share: float = 1) -> Resolution:
    """The size of which ``share`` of each side is ``factor`` times as large as the largest of these; rounded up."""
    sides = (max(each) for each in zip(*map(height_width, resolutions), strict=True))
    height, width = (math.ceil(factor * side / share) for side in sides)
    return of_sides(height, width)


def decoded_at(kept: Resolution | None, own: Resolution, share: float) -> Resolution:
    """The size at which images are decoded: what a recipe has them kept at, else so that ``share`` of it is ``own``.

    Where the recipe's is of another ratio, its longer side counts.
    """
    if kept is None:
        return covering([own], share=share)
    return kept if near_ratio(kept, own) else times(own, max(height_width(kept)) / max(height_width(own)))


def decoded_for(resolutions: Sequence[Resolution], kept: Resolution | None, share: float) -> Resolution:
    """The size at which images are decoded to measure trained networks on them: what a recipe has them kept at, unless
    ``share`` of that is less than the largest network wants, as where it is measured at another size than its own.

    >>> decoded_for([32], 40, 1.0), decoded_for([64], 40, 1.0), decoded_for([64, 70], None, 0.875)
    (40, 64, 80)
    """
    needed = covering(resolutions, share=share)
    return needed if kept is None else covering([needed, decoded_at(kept, needed, 1)])


def near_ratio(one: Resolution, other: Resolution) -> bool:
    """Whether two sizes have the same ratio of width to height, as far as whole pixels can have it."""
    (high, wide), (tall, broad) = height_width(one), height_width(other)
    return abs(math.log(wide * tall / (high * broad))) < NEAR


def as_resolution(value: object) -> Resolution:
    """A size from a file or an option: ``224``, ``"64x192"``, ``[64, 192]``.

    Raises:
        ValueError: it is none (as pydantic's validators raise it).

    >>> as_resolution("64x192"), as_resolution([64, 64])
    (Rectangle(height=64, width=192), 64)
    """
    if isinstance(value, str) and (found := _WRITTEN.fullmatch(value)):
        value = found.groups()
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError("a side in pixels, or height and width")
        return of_sides(_side(value[0]), _side(value[1]))
    if isinstance(value, str) and not value.strip().isdigit():
        raise ValueError("a side in pixels, or HEIGHTxWIDTH as 64x192")
    return _side(value)


def _side(value: object) -> int:
    try:
        return _SIDE.validate_python(value)
    except ValidationError as failure:
        first = failure.errors()[0]
        raise PydanticKnownError(first["type"], first.get("ctx")) from None  # type: ignore[arg-type]


InputSize = Annotated[Resolution, PlainValidator(as_resolution), PlainSerializer(lambda size: size, return_type=Any)]
"""A `Resolution` as a field of a file."""


def image_shape(channels: int, resolution: Resolution) -> tuple[int, int, int]:
    """Channels, height and width of one image, as torch has them."""
    return channels, *height_width(resolution)
