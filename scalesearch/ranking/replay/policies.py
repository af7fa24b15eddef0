"""Everything with all seeds, and scalesearch's own ways to search, as they play a game."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from scalesearch.ranking.allocation import SETTINGS, next_training, start
from scalesearch.ranking.pooled import pool
from scalesearch.ranking.pruning import FIRST_LOOK, INTERVAL, behind
from scalesearch.ranking.replay.bank import measured
from scalesearch.ranking.replay.game import Game, Policy


def exhaustive(game: Game) -> None:
    """Everything to the end, seed after seed."""
    while game.open:
        for name in game.open:
            game.finish(name)
            game.name_best_seen()


def search(confidence: float | None = None, *, within: float = 0.0, drop: bool = True) -> Policy:
    """scalesearch's own: a start spread over the shares, then whatever tells most; drops what falls behind.

    Args:
        confidence: ends it, of `allocation.next_training`; None goes on until nothing is left.
    """

    def play(game: Game) -> None:
        bank, names = game.bank, list(game.bank.names)
        points = bank.neighbours.points
        queue = list(game.names) if points is None else [names[i] for i in start(points)]
        dropper, dropped = Dropper(game), set[str]()
        costs = np.array([game.cost(name) for name in names])
        while True:
            left = [i for i, name in enumerate(names) if name not in dropped]
            found = measured(game.finished, bank.images)
            rows = [found.get(names[i]) for i in left]
            near = bank.neighbours.some(left)
            if any(rows):
                known = pool(rows, images=bank.images, neighbours=near, with_images=False, settings=SETTINGS)
                trained = [i for i, row in enumerate(rows) if row is not None]
                game.name(names[left[max(trained, key=lambda i: known.mean[i])]])
            if queue:
                name = queue.pop(0)
            elif any(rows):
                chosen = next_training(
                    [names[i] for i in left],
                    found,
                    costs[left],
                    images=bank.images,
                    max_seeds=len(bank.seeds),
                    confidence=confidence,
                    within=within,
                    with_images=False,
                    known=known,
                )
                if chosen.name is None:
                    return
                name = chosen.name
            else:
                return
            if not dropper.train(name, never=not drop):
                dropped.add(name)

    return play


class Dropper:
    """Trains candidates, and stops where one has fallen behind for good."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self._at_step: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def train(self, name: str, *, never: bool = False) -> bool:
        """Whether its next seed was trained to the end."""
        last = self.game.bank.last_step
        for step, accuracy in self.game.begin(name):
            seen = self._at_step[step]
            seen[name].append(accuracy)
            if never or step < FIRST_LOOK * last or step == last or len(seen) < 2:
                continue
            if behind(name, seen, images=self.game.bank.alike, z=INTERVAL):
                return False
        return True


def dropping(game: Game) -> None:
    """Every seed of everything, but for what falls behind."""
    dropper, dropped = Dropper(game), set[str]()
    while [name for name in game.open if name not in dropped]:
        for name in [name for name in game.open if name not in dropped]:
            if not dropper.train(name):
                dropped.add(name)
            game.name_best_seen()


POLICIES: dict[str, Policy] = {
    "exhaustive": exhaustive,
    "scalesearch": search(),
    "scalesearch, drops only": dropping,
    "scalesearch, never drops": search(drop=False),
    "scalesearch --confidence 0.95": search(0.95),
    "scalesearch --within 0.01": search(0.95, within=0.01),
    "scalesearch --within 0.02": search(0.95, within=0.02),
}
"""What is compared with each other, by name."""
