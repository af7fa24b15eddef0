"""A search from Python, of a network that this file defines: `python docs/examples/search.py`.

The images are drawn on the spot and the schedule is a few steps, so that it ends after seconds and shows nothing but
that it works. For a real one give `data="folder:PATH"` and `recipe="imagenette"`, and leave the rest out.
"""

import sys

from torch import Tensor, nn

from scalesearch import Search


class Block(nn.Module):
    """Two convolutions and what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) to the same shape."""
        return x + self.two(self.one(x).relu())


def small_net() -> nn.Module:
    """A stem, two blocks, a classifier."""
    stem, blocks = nn.Conv2d(3, 8, 3, stride=2), nn.Sequential(Block(8), Block(8))
    return nn.Sequential(stem, blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


search = Search(
    small_net,
    recipe="quick",
    resolution=16,
    search={"step": 0.4},
    steps=4,
    limit=96,
    device="cpu",
    out=sys.argv[1] if len(sys.argv) > 1 else None,
)
print(search.plan[["alpha", "beta", "gamma", "macs", "ratio"]])

result = search.run()
print(result.ranking[["alpha", "beta", "gamma", "accuracy", "p_best"]])
print(result.notes[0])
print(f"the winner: {result.coefficients}; {result.report()}")
model = result.build_winner(num_classes=5)  # a plain nn.Module
print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters")
