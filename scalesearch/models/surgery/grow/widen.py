"""The weights of a network in a wider copy of it, such that both compute the same."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.grow.channels import Reading
from scalesearch.models.surgery.grow.matching import Ints, Matched
from scalesearch.models.surgery.tagger import named_tensors


def widen(narrow: nn.Module, wide: nn.Module, found: Matched, *, noise: float) -> tuple[str, ...]:
    """Put the weights of ``narrow`` into ``wide``, in place.

    What reads a copied channel gets its weight divided among the copies, in shares that differ by about ``noise`` of a
    share and add up to one: equal copies would learn the same for ever.

    Returns:
        Tensors that evaluation does not use and that have other shapes: they keep what they were initialised with.

    Raises:
        SurgeryError: the weights cannot be divided; the message names the layer.
    """
    theirs, ours = dict(named_tensors(narrow)), dict(named_tensors(wide))
    taken: dict[str, Tensor] = {}
    for before, after in zip(found.narrow.readings, found.wide.readings, strict=True):
        new = _Read(before, after, found, noise)
        if after.how != "weights":
            new.see_same()
        elif after.weight is not None:
            weights = new.weights(theirs[after.weight], ours[after.weight])
            if after.weight in taken and noise == 0 and not torch.equal(taken[after.weight], weights):
                raise SurgeryError(after.where, "it uses its weights more than once, on channels copied otherwise")
            taken.setdefault(after.weight, weights)
    for name, tensor in ours.items():
        if name not in taken and name in found.wide.numbered:
            places = torch.from_numpy(found.elements(name))
            taken[name] = theirs[name].detach().reshape(-1)[places].reshape(tensor.shape)
    left = []
    for name, tensor in ours.items():
        if name not in taken:
            if theirs[name].shape != tensor.shape:
                if name in found.wide.used:
                    raise SurgeryError(name, "weights are worked out from it: they cannot be divided among copies")
                left.append(name)
                continue
            taken[name] = theirs[name]
        with torch.no_grad():
            tensor.copy_(taken[name])
    return tuple(left)


class _Read:
    """One reading, before and after."""

    def __init__(self, before: Reading, after: Reading, found: Matched, noise: float) -> None:
        self.before, self.after, self.found, self.noise = before, after, found, noise
        self._keys = [
            _keys(before.numbers.numpy(), before.versions.numpy()),
            _keys(np.where(after.numbers < 0, -1, found.source[after.numbers.numpy()]), after.versions.numpy()),
        ]

    def _row(self, row: int) -> int:
        """The row of the smaller network that a row of the larger one is a copy of."""
        if len(self.before.numbers) == len(self.after.numbers):
            return row
        first = self.found.source[int(self.after.numbers[row, 0])]
        places = np.flatnonzero((self.before.numbers.numpy() == first).any(1))
        if not len(places):
            raise SurgeryError(self.after.where, "its groups are not those of the smaller network")
        return int(places[0])

    def see_same(self) -> None:
        """Make sure that what is read gives the same with copies."""
        for row in range(len(self.after.numbers)):
            old, new = self._keys[0][self._row(row)], self._keys[1][row]
            if np.array_equal(old, new):
                continue
            how, where = self.after.how, self.after.where
            counts = [dict(zip(*np.unique(keys, return_counts=True), strict=True)) for keys in (old, new)]
            if counts[0].keys() != counts[1].keys():
                raise SurgeryError(where, f"{self.after.what} would see other channels")
            ratios = {counts[1][key] / counts[0][key] for key in counts[0]}
            if how == "order" or (how == "exact" and ratios != {1.0}):
                raise SurgeryError(
                    where, f"{self.after.what} over channels does not stay the same when some are copied"
                )
            if how == "even" and len(ratios) > 1:
                raise SurgeryError(
                    where,
                    f"{self.after.what} goes over all channels, which {len(old)} → {len(new)} would copy unevenly: "
                    "only whole multiples of the width keep it",
                )

    def weights(self, old: Tensor, new: Tensor) -> Tensor:
        """A layer's weights."""
        if self.after.out is None or self.before.out is None:
            raise SurgeryError(self.after.where, "it has no outputs")
        turned = self.after.transposed
        groups, groups_before = len(self.after.numbers), len(self.before.numbers)
        if turned and (groups > 1 or groups_before > 1):
            if old.shape == new.shape and np.array_equal(self._keys[0], self._keys[1]):
                return old.detach().clone()
            if new.shape[1] != 1 or old.shape[1] != 1 or new.shape[0] != groups:
                raise SurgeryError(self.after.where, "a transposed convolution in groups")
            turned = False
        old, target = (t.detach().transpose(0, 1) if turned else t.detach() for t in (old, new))
        out, out_before = self.after.out.numpy(), self.before.out.numpy()
        made = torch.empty(target.shape, dtype=old.dtype)
        each = out.shape[1]
        for row in range(groups):
            places = self.found.source[out[row]] - int(out_before[0, 0])
            its = self._row(row)
            if not ((places // out_before.shape[1]) == its).all():
                raise SurgeryError(self.after.where, "its groups are not those of the smaller network")
            made[row * each : (row + 1) * each] = self._divided(old[torch.from_numpy(places)], row, its)
        return (made.transpose(0, 1) if turned else made).contiguous()

    def _divided(self, rows: Tensor, row: int, its: int) -> Tensor:
        """Rows of weights with a column for each channel that is read, divided among copies."""
        old, new = self._keys[0][its], self._keys[1][row]
        if np.array_equal(old, new):
            return rows
        columns, copies = _columns(old, new, self.after)
        empty = torch.from_numpy(copies == 0)
        index = torch.from_numpy(np.where(columns < 0, 0, columns))
        share = torch.from_numpy(1 / np.maximum(copies, 1)).to(rows.dtype).expand(len(rows), -1)
        if self.noise:
            drawn = torch.randn(len(rows), len(new), dtype=rows.dtype) * share * self.noise
            total = torch.zeros(len(rows), len(old), dtype=rows.dtype).index_add_(1, index, drawn)
            share = share + drawn - total[:, index] * share
        share = share.masked_fill(empty, 0)
        return rows[:, index] * share.reshape(*share.shape, *[1] * (rows.ndim - 2))


def _keys(numbers: Ints, versions: Ints) -> Ints:
    with np.errstate(over="ignore"):
        keys: Ints = numbers.astype(np.int64) * np.int64(-4417276706812531889) + versions
    return keys


def _columns(old: Ints, new: Ints, reading: Reading) -> tuple[Ints, Ints]:
    """For each channel that is read the column of its weights, and among how many copies that is divided.

    A channel that the smaller network does not read there, and that is zero, has -1 and no copies.
    """
    here, there = _places(old), _places(new)
    columns, copies = np.full(len(new), -1, dtype=np.int64), np.zeros(len(new), dtype=np.int64)
    lost = here.keys() - there.keys()
    if lost:
        raise SurgeryError(reading.where, f"{len(lost)} of the channels it reads would be lost")
    for key, places in there.items():
        mine = here.get(key)
        if mine is None:
            if int(reading.numbers.reshape(-1)[places[0]]) >= 0:
                raise SurgeryError(reading.where, "it would read channels that it does not read in the smaller network")
            continue
        if len(places) < len(mine):
            raise SurgeryError(reading.where, "some of the channels it reads would be lost")
        its = [mine[at * len(mine) // len(places)] for at in range(len(places))]
        for place, column in zip(places, its, strict=True):
            columns[place], copies[place] = column, its.count(column)
    return columns, copies


def _places(keys: Ints) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, key in enumerate(keys.tolist()):
        found.setdefault(key, []).append(place)
    return found
