"""One search over a bank: what it trains, what that costs, and whom it would name after each expense."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from scalesearch.ranking.replay.bank import Bank, Trained


class Game:
    """A bank whose candidates and whose seeds come in a new order, each candidate's in its own.

    ``spent`` is in shares of training everything to the end. ``named`` holds whom the search would name, from which
    expense on; before it knows anything, that is any candidate. `name_best_seen` is the rule of all who have no model:
    the highest mean over seeds, among those whose curves are known farthest.
    """

    def __init__(self, bank: Bank, dice: np.random.Generator) -> None:
        self.bank, self.dice, self.spent = bank, dice, 0.0
        names = list(bank.names)
        dice.shuffle(names)
        self.names = tuple(names)
        self.named: list[tuple[float, str]] = [(0.0, names[0])]
        self.finished: dict[str, list[Trained]] = {name: [] for name in names}
        self._ahead = {name: self._shuffled(bank.trained[name]) for name in names}
        self._seen: dict[str, dict[int, list[float]]] = {name: {} for name in names}
        self._whole = bank.whole

    def _shuffled(self, trainings: tuple[Trained, ...]) -> list[Trained]:
        return [trainings[i] for i in self.dice.permutation(len(trainings))]

    @property
    def open(self) -> list[str]:
        """Candidates that have a seed left to train."""
        return [name for name in self.names if self._ahead[name]]

    def cost(self, name: str) -> float:
        """Of one whole training, in shares of training everything."""
        return self.bank.trained[name][0].whole / self._whole

    def begin(self, name: str) -> Iterator[tuple[int, float]]:
        """Train a candidate with its next seed: (step, accuracy) of one evaluation after the other, each paid for when
        it is reached. Whoever has enough stops asking.

        Raises:
            IndexError: it has no seed left.
        """
        training = self._ahead[name].pop(0)
        return self._train(training)

    def _train(self, training: Trained) -> Iterator[tuple[int, float]]:
        before = 0
        for number, (step, accuracy) in enumerate(training.curve):
            self.spent += training.cost * (step - before) / self._whole
            before = step
            self._seen[training.network].setdefault(number, []).append(accuracy)
            if number == len(training.curve) - 1:
                self.finished[training.network].append(training)
            yield step, accuracy

    def finish(self, name: str) -> float:
        """Train a candidate's next seed to the end; its accuracy."""
        return list(self.begin(name))[-1][1]

    def name(self, winner: str) -> None:
        """From here on the search would name this one."""
        self.named.append((self.spent, winner))

    def name_best_seen(self) -> None:
        """Name whoever has the highest mean accuracy among those known farthest."""
        farthest = {name: max(seen) for name, seen in self._seen.items() if seen}
        if farthest:
            last = max(farthest.values())
            means = {name: float(np.mean(self._seen[name][last])) for name, at in farthest.items() if at == last}
            self.name(max(means, key=lambda name: means[name]))

    def known(self, name: str) -> float | None:
        """Mean accuracy over the finished seeds."""
        return float(np.mean([t.accuracy for t in self.finished[name]])) if self.finished[name] else None


Policy = Callable[[Game], None]
"""Plays a game to its own end, or until nothing is left to train."""
