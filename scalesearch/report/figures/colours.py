"""The figures' colours, each with its counterpart on a dark page: drawn with the first, themed by its name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """``light`` is what a file on disk shows; a page replaces it by the CSS variable ``--name``."""

    name: str
    light: str
    dark: str


INK = Colour("ink", "#1f2933", "#e4e8ed")
MUTED = Colour("muted", "#5f6c7a", "#9aa6b3")
RULE = Colour("rule", "#dde2e8", "#353d47")
PAPER = Colour("paper", "#ffffff", "#14181d")
GREY = Colour("grey", "#a3aebb", "#667280")
ACCENT = Colour("accent", "#c2410c", "#ff8a4d")
BLUE = Colour("blue", "#2f6aa8", "#77afe8")
TEAL = Colour("teal", "#23806f", "#58c3ad")
VIOLET = Colour("violet", "#7656a6", "#b89ce9")
GOLD = Colour("gold", "#a3781a", "#dfb552")

RAMP = tuple(
    Colour(f"ramp{index}", *pair)
    for index, pair in enumerate(
        [
            ("#dbe9f6", "#1c2d42"), ("#b5d2eb", "#25486c"), ("#87b6dd", "#2e6497"), ("#5a97c9", "#3f83be"),
            ("#3778b1", "#63a2d8"), ("#205a91", "#96c3eb"), ("#0f3b6a", "#d2e7fa"),
        ]
    )
)  # fmt: skip
"""From low to high: pale to deep on white, dim to bright on black."""

SERIES = (BLUE, TEAL, VIOLET, GOLD, ACCENT, GREY)
EVERY = (INK, MUTED, RULE, PAPER, GREY, ACCENT, BLUE, TEAL, VIOLET, GOLD, *RAMP)


def step(value: float, low: float, high: float) -> int:
    """Which of `RAMP` stands for ``value`` between ``low`` and ``high``."""
    if high <= low:
        return len(RAMP) - 1
    return max(0, min(len(RAMP) - 1, int((value - low) / (high - low) * len(RAMP))))
