"""What hypothesis draws from in several files."""

from __future__ import annotations

from hypothesis import strategies as st

from scalesearch.scaling.compound import Rounding


def roundings_to(pixels: int) -> st.SearchStrategy[Rounding]:
    """Rounding rules; the resolution is rounded to a whole number, or to a multiple of ``pixels``."""
    return st.builds(
        Rounding,
        width_divisor=st.sampled_from([1, 4, 8]),
        depth=st.sampled_from(["ceil", "round"]),
        fix_stem_head=st.booleans(),
        resolution_multiple=st.sampled_from([1, pixels]),
    )
