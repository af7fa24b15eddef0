"""A module that has been looked through: what of it can be scaled, and copies of it that are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from scalesearch.errors import ScaleSearchError, SurgeryError
from scalesearch.models.surgery.account import Account
from scalesearch.models.surgery.adapt import adapted
from scalesearch.models.surgery.initialisation import summary
from scalesearch.models.surgery.measure import measure, positions
from scalesearch.models.surgery.reach import Reach
from scalesearch.models.surgery.regularisation import follow_rates
from scalesearch.models.surgery.repeats import refit, set_repeats
from scalesearch.models.surgery.scaled import Scaled, Variant, layer_rows
from scalesearch.models.surgery.skeleton import copy_skeleton, law_of, materialise, skeleton
from scalesearch.models.surgery.stages import Stage, find_stages
from scalesearch.models.surgery.suited import suited
from scalesearch.models.surgery.tagger import Trace, named_tensors
from scalesearch.models.surgery.trace import trace
from scalesearch.models.surgery.units import group_units
from scalesearch.models.surgery.whole_map import Maps, cover_whole_maps, joined, whole_maps_of
from scalesearch.models.surgery.widths import anchors, free_unknowns, new_widths
from scalesearch.scaling.compound import Rounding
from scalesearch.scaling.cost import Cost

NEARBY = 1 / 8
"""Share of a resolution within which another one is looked for, where a network cannot run at the one asked for."""


FEW_GROUPS = 8
"""Most groups that are taken for paths of the network rather than for the width of a group."""

NARROW = 0.25
"""Width of the copy on which it is tried what of an image reaches the output: channels play no part in that."""


class Network:
    """A module that has been looked through. Holds its skeleton and its ties, never its weights.

    Args:
        model: as its author builds it; its weights are only looked at to learn how it initialises itself.
        resolution: of the square image it is meant for, pixels.
        keep_groups: grouped convolutions keep the number of their groups; otherwise the groups' width stays and there
            are more of them, unless all have the same number of at most 8. Depthwise ones stay depthwise either way.
        keep_output_channels: the maps that it gives out keep their channels.
        adaptive_pool: where the network runs at one size only, because its classifier takes a fixed number of
            positions, pool to that number first. At the native size the pooling does nothing.

    Raises:
        SurgeryError: it cannot be run or followed, or has attention.
    """

    def __init__(
        self,
        model: nn.Module,
        resolution: int,
        *,
        keep_groups: bool = False,
        adaptive_pool: bool = False,
        keep_output_channels: bool = False,
    ) -> None:
        model = suited(model)
        self._reach = Reach(self._narrow, resolution)
        self.resolution, self.keep_groups = resolution, keep_groups or has_few_groups(model)
        self.keep_output_channels = keep_output_channels
        self.real = False  # whether it needs numbers to run: on the CPU then, not on the meta device
        if resolution < 1:
            raise SurgeryError("resolution", f"{resolution} px is no size")
        try:
            self._look_through(skeleton(model))
        except ScaleSearchError:
            raise
        except Exception as failure:
            text = str(failure).strip().partition("\n")[0]
            raise SurgeryError(
                type(model).__name__, f"it cannot be followed: {type(failure).__name__}: {text}"
            ) from failure
        self.whole_maps = whole_maps_of(self.found.pools)
        self.flattens = flattens = whole_maps_of(self.found.flattens)
        if self.whole_maps:
            self._cover(self.whole_maps)
        self.pooled = bool(self.multiple is None and adaptive_pool and flattens)
        if self.pooled:
            self._cover(joined(self.whole_maps, flattens))
        self.scaled()  # counts itself once, so that a network whose layers do not add up is refused here

    def _cover(self, maps: Mapping[str, Maps]) -> None:
        """Have what goes by the native size of a map go by its own, and look again."""
        covered = copy_skeleton(self.skeleton)
        cover_whole_maps(covered, maps)
        self._look_through(covered)

    def _look_through(self, module: nn.Module) -> None:
        self.skeleton = module
        found = self._trace(module)
        if found.attention is not None:
            raise SurgeryError(
                found.attention, "attention: its heads and tokens do not scale as a ConvNet's channels and pixels do"
            )
        if not found.layers:
            raise SurgeryError(type(module).__name__, "it has no convolution or linear layer")
        stages = find_stages(module, found)
        if not stages and group_units(module, found):
            found = self._trace(module)
            stages = find_stages(module, found)
        self._base = Variant(module, found, anchors(found, stages), stages, real=self.real)
        self.stages, self.unrepeatable = self._repeatable(stages)
        self._variants: dict[tuple[int, ...], Variant] = {self.repeats(1, Rounding()): self._base}
        self.multiple = self._multiple()

    def _trace(self, module: nn.Module) -> Trace:
        """Run ``module`` on tagged sizes: on the meta device, or with numbers where it asks for one (``item``)."""
        kept: dict[str, Any] = {"keep_groups": self.keep_groups, "keep_output_channels": self.keep_output_channels}
        if not self.real:
            try:
                return trace(copy_skeleton(module), self.resolution, **kept)
            except SurgeryError as failure:
                if "meta" not in failure.reason:
                    raise
                self.real = True
        return trace(materialise(copy_skeleton(module)), self.resolution, laws=module, **kept)

    @property
    def found(self) -> Trace:
        """What running the unscaled network found out."""
        return self._base.found

    @property
    def num_classes(self) -> int | None:
        """Outputs of the classifier; None where the output is no plain row of classes."""
        classes = self.found.classes
        return None if classes is None else int(self.found.ties.value(classes, {}))

    @property
    def free(self) -> int:
        """How many widths can be chosen."""
        return len(free_unknowns(self.found))

    @property
    def dead(self) -> dict[str, str]:
        """Which of alpha, beta and gamma do nothing to it, and why."""
        reasons = {}
        if not self.stages:
            why = next(iter(self.unrepeatable.values()), "")
            reasons["alpha"] = f"no block of it is repeated{f' ({why})' if why else ''}: depth is fixed"
        if not self.free:
            why = next((reason for _, reason in self.fixed_widths if reason != "the classes"), "")
            reasons["beta"] = f"none of its widths is free{f' ({why})' if why else ''}"
        if self.multiple is None:
            reasons["gamma"] = f"it takes {self.resolution} px only"
        return reasons

    @property
    def starts(self) -> str:
        """By which schemes the original's weights were drawn, as far as they show it, and how many each."""
        return summary(law_of(parameter) for parameter in self.skeleton.parameters())

    def _repeatable(self, stages: list[Stage]) -> tuple[list[Stage], dict[str, str]]:
        """The stages that can grow, and the reasons of those that cannot: whatever is no plain copy is tried."""
        good, bad = [], {}
        for stage in stages:
            try:
                if stage.how == "adapt":
                    self._adapted(stage)
                if stage.how != "copy" or stage.settings:
                    self._deepened([stage], [len(stage.blocks) + 1])
            except SurgeryError as failure:
                bad[stage.name] = failure.reason
                continue
            good.append(stage)
        return good, bad

    def _adapted(self, stage: Stage) -> nn.Module:
        return adapted(self._base, stage, real=self.real)

    def _multiple(self) -> int | None:
        """The input side must be this multiple, counted from the native one; None where only the native one runs."""
        for multiple in (1, 2, 4, 8, 16, 32, 64):
            steps = {1, 3} | {round(share * self.resolution / multiple) for share in (0.25, 0.5, 1)} - {0}
            if all(self.runs_at(self.resolution + step * multiple) for step in steps):
                return multiple
        return None

    def refusal_at(self, resolution: int) -> str | None:
        """Why the network cannot run at ``resolution``; None where it can."""
        try:
            self._base.positions(resolution)
        except SurgeryError as failure:
            return str(failure)
        return None

    def runs_at(self, resolution: int) -> bool:
        """Whether the network runs on images of ``resolution`` pixels."""
        return self.refusal_at(resolution) is None

    @property
    def pooling_helps(self) -> bool:
        """Whether a network for one size only would run at others if it pooled to that size (``adaptive_pool``)."""
        if self.multiple is not None or self.pooled or not self.flattens:
            return False
        pooled = copy_skeleton(self.skeleton)
        cover_whole_maps(pooled, joined(self.whole_maps, self.flattens))
        try:
            positions(materialise(pooled) if self.real else pooled, 2 * self.resolution)
        except SurgeryError:
            return False
        return True

    def _narrow(self, resolution: int) -> nn.Module:
        return self.scaled(width=NARROW, resolution=resolution).build()

    def nearest(self, wanted: int) -> int:
        """The input side nearest to ``wanted`` pixels at which the network runs.

        Raises:
            SurgeryError: it runs nowhere near; the message says what stands in the way.
        """
        if self.multiple is None:
            if wanted == self.resolution:
                return wanted
            hint = "; --adaptive-pool lets it see others" if self.pooling_helps else ""
            reason = self.refusal_at(wanted) or f"it runs at {self.resolution} px only"
            raise SurgeryError("resolution", f"{reason}{hint}")
        step, near = self.multiple, max(self.multiple // 2, round(NEARBY * wanted))
        aligned = self.resolution + round((wanted - self.resolution) / step) * step
        for away in range(0, near + step, step):
            for size in (aligned - away, aligned + away):
                if size > 0 and abs(size - wanted) <= near and self.runs_at(size) and self._reach.lost_at(size) is None:
                    return size
        reason = self.refusal_at(wanted) or self._reach.lost_at(wanted) or f"it does not run at {wanted} px"
        raise SurgeryError("resolution", f"{reason}; nor at any size within {near} px of it")

    def repeats(self, depth: float, rounding: Rounding) -> tuple[int, ...]:
        """Blocks per stage at ``depth`` times the original."""
        blocks = [len(stage.blocks) for stage in self.stages]
        return tuple(blocks) if depth == 1 else rounding.stage_repeats(blocks, depth)

    def scaled(
        self,
        depth: float = 1,
        width: float = 1,
        resolution: int | None = None,
        *,
        rounding: Rounding | None = None,
        num_classes: int | None = None,
    ) -> Scaled:
        """The network ``depth`` times deeper and ``width`` times wider, for images of ``resolution`` pixels.

        Raises:
            SurgeryError: the multipliers leave nothing of a layer, or the layers cannot be fitted together.
        """
        rounding = rounding or Rounding()
        repeats = self.repeats(depth, rounding)
        variant = self._variant(repeats)
        fixed = self._outside(variant) if rounding.fix_stem_head else ()
        values = new_widths(variant.found, variant.follow, width, rounding, fixed)
        if num_classes is not None and self.num_classes is not None and num_classes != self.num_classes:
            values |= self._with_classes(variant.found, num_classes)
        size = resolution or self.resolution
        account = Account(
            depth=depth,
            width=width,
            resolution=size,
            stages=tuple((s.name, len(s.blocks), n) for s, n in zip(self.stages, repeats, strict=True)),
            layers=tuple(layer_rows(variant, values, size)),
            before=self._before(variant),
            fixed=self.fixed_widths,
            pools=tuple(path or "forward" for path in self.whole_maps),
            single=tuple(self.unrepeatable.items()),
        )
        return Scaled(variant, values, account, self._cost(variant, values, account))

    def _cost(self, variant: Variant, values: dict[int, int], account: Account) -> Cost:
        found, ties = variant.found, variant.found.ties
        trained = [name for name, p in variant.module.named_parameters() if p.requires_grad]
        params = sum(math.prod(int(ties.value(form, values)) for form in found.tensors[name]) for name in trained)
        rows = layer_rows(variant, {}, self.resolution)
        if variant.measured is None:
            variant.measured = measure(variant.runnable(), self.resolution)
            counted = sum(row.macs for row in rows)
            if variant.measured.macs != counted:
                raise SurgeryError(
                    "forward",
                    f"torch counts {variant.measured.macs:,} MACs, its layers account for {counted:,}: some layer is "
                    "not used in the usual way",
                )
        native = sum(row.outputs * row.positions for row in rows)
        return Cost(account.macs, params, account.activations, variant.measured.saved * account.activations // native)

    def _before(self, variant: Variant) -> dict[str, tuple[int, int]]:
        """Channels in and out that the layers of a variant have in the original network."""
        base, result = self.found, {}
        for name, tensor in named_tensors(variant.module):
            layer = base.layers.get(law_of(tensor).name or "")
            if layer is not None:
                result[name] = (int(base.ties.value(layer.inputs, {})), int(base.ties.value(layer.outputs, {})))
        return result

    @property
    def fixed_widths(self) -> tuple[tuple[str, str], ...]:
        """Layers whose outputs do not scale, and why."""
        found = self.found
        classes = None if found.classes is None else found.ties.reduce(found.classes).only
        result = []
        for layer in found.layers.values():
            reduced = found.ties.reduce(layer.outputs)
            if not reduced.terms:
                single = int(reduced.constant) == 1
                reason = "a single channel" if single else found.ties.reason(layer.outputs) or "tied to something fixed"
                result.append((layer.name, reason))
            elif classes is not None and reduced.only == classes:
                result.append((layer.name, "the classes"))
        return tuple(result)

    def _with_classes(self, found: Trace, num_classes: int) -> dict[int, int]:
        only = found.ties.reduce(found.classes).only if found.classes is not None else None
        if only is None:
            raise SurgeryError("the classifier", f"its outputs cannot be changed to {num_classes} classes")
        return {only: num_classes}

    def _outside(self, variant: Variant) -> list[int]:
        """Widths of what lies outside the blocks: stem and head."""
        paths = [path for stage in variant.stages for path in stage.paths]
        outside = [
            layer
            for layer in variant.found.layers.values()
            if not any(layer.module == p or layer.module.startswith(f"{p}.") for p in paths)
        ]
        return [v for layer in outside for v in variant.found.ties.reduce(layer.outputs).terms]

    def _variant(self, repeats: tuple[int, ...]) -> Variant:
        if repeats not in self._variants:
            module, found = self._deepened(self.stages, repeats)
            stages = find_stages(module, found)
            self._variants[repeats] = Variant(module, found, anchors(found, stages), stages, real=self.real)
        return self._variants[repeats]

    def _deepened(self, stages: Sequence[Stage], repeats: Sequence[int]) -> tuple[nn.Module, Trace]:
        """A copy with so many blocks, and what running it found.

        Raises:
            SurgeryError: a block cannot be made, or does not run, or changes where others run.
        """
        ways = (True, False) if any(stage.settings for stage in stages) else (False,)
        for in_lists in ways:  # first with the author's own loop going over the new blocks
            module = copy_skeleton(self.skeleton)
            try:
                set_repeats(module, self.found, stages, repeats, self._adapted, in_lists=in_lists)
                if any(stage.how == "dense" for stage in stages):
                    refit(module, self.resolution, real=self.real)
                found = self._trace(module)
                self._see_new_blocks_run(module, found, stages)
            except SurgeryError as failure:
                if in_lists:
                    continue
                raise SurgeryError(failure.layer, f"with {sum(repeats)} blocks {failure.reason}") from failure
            follow_rates(self.skeleton, module)
            return module, found
        raise AssertionError("the last way returns or raises")

    def _see_new_blocks_run(self, module: nn.Module, found: Trace, stages: Sequence[Stage]) -> None:
        """Make sure that every layer that ran runs still, on a map of the size it had, and so does every copy of one.

        Raises:
            SurgeryError: forward goes by a list or a number of its own.
        """
        base = self.found.layers
        alone = tuple(f"{path}." for stage in stages if stage.how == "adapt" for path in stage.paths)
        for name, tensor in module.named_parameters():
            law = law_of(tensor)
            original = base.get(law.name or law.of or "")
            if original is None:
                continue
            if name not in found.layers:
                raise SurgeryError(name, "a new block does not run: forward goes by a list or a number of its own")
            moved = found.layers[name].positions != original.positions
            if moved and (law.name or not original.name.startswith(alone)):
                raise SurgeryError(name, "it runs on a map of another size than in the original")


def has_few_groups(model: nn.Module) -> bool:
    """Whether all grouped convolutions have the same small number of groups: paths, then, rather than group widths."""
    grouped = {
        module.groups
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and 1 < module.groups < module.in_channels
    }
    return len(grouped) == 1 and max(grouped) <= FEW_GROUPS
