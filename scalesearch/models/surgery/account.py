"""What scaling did to a network, in numbers that can be checked and words that can be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from scalesearch.image_size import Resolution


@dataclass(frozen=True)
class LayerAccount:
    """One convolution or linear layer: channels in and out, kernel, groups, output positions and MACs of one image.

    Positions and MACs are those of evaluation: an auxiliary head that only trains has none.
    """

    name: str
    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    groups: int
    positions: int
    macs: int


@dataclass(frozen=True)
class Account:
    """Blocks per stage and channels per layer, before and after; what stayed as it was, and why.

    ``stages`` holds (name, blocks before, blocks after); ``before`` the channels in and out that a layer had, by the
    layer's name in the scaled network; ``fixed`` layers whose width stays; ``single`` blocks that cannot be repeated;
    ``pools`` modules whose pool of a fixed size covers the whole map, at every resolution; ``channels`` the images'.
    """

    depth: float
    width: float
    resolution: Resolution
    stages: tuple[tuple[str, int, int], ...]
    layers: tuple[LayerAccount, ...]
    before: dict[str, tuple[int, int]] = field(repr=False)
    fixed: tuple[tuple[str, str], ...] = ()
    single: tuple[tuple[str, str], ...] = ()
    pools: tuple[str, ...] = ()
    channels: int = 3

    @property
    def macs(self) -> int:
        """Of one image: convolutions and linear layers."""
        return sum(row.macs for row in self.layers)

    @property
    def activations(self) -> int:
        """Outputs of convolutions and linear layers, of one image."""
        return sum(row.outputs * row.positions for row in self.layers)

    @property
    def blocks(self) -> int:
        """How many blocks the copy has, of all stages together."""
        return sum(after for _, _, after in self.stages)

    @property
    def widest(self) -> int:
        """Channels that reach the classifier."""
        return [row for row in self.layers if row.positions][-1].inputs

    def __str__(self) -> str:
        lines = [f"depth ×{self.depth:.4g}, width ×{self.width:.4g}, {self.resolution} px"]
        if not self.stages:
            lines.append("no block is repeated: depth is fixed")
        lines += [f"{name}: {old} → {new} blocks" for name, old, new in self.stages]
        lines += [f"{name}: one block, which cannot be repeated: {reason}" for name, reason in self.single]
        lines += [f"{name}: its pool covers the whole map, as at the native size" for name in self.pools]
        for row in self.layers:
            old = self.before.get(row.name)
            now = f"{row.inputs} → {row.outputs}"
            was = (
                "new"
                if old is None
                else "as it was"
                if old == (row.inputs, row.outputs)
                else f"was {old[0]} → {old[1]}"
            )
            lines.append(f"{row.name.removesuffix('.weight')}: {now} ({was})")
        return "\n".join(lines + [f"{name}: its outputs stay: {reason}" for name, reason in self.fixed])
