"""How a search begins, whoever asks for it: `grid`, `compare`, `nas`, or `scalesearch.Search` in Python.

Nothing here loads torch or Optuna before it has to: what is wrong with the wishes is told at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from scalesearch.errors import ScaleSearchError
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.run_folder import RunFolder
from scalesearch.runtime.default_recipe import default_recipe

if TYPE_CHECKING:
    from scalesearch.search.engine import EngineSettings
    from scalesearch.search.longer_schedule import Verified
    from scalesearch.search.outputs import Result
    from scalesearch.search.progress import ClosingWatcher
    from scalesearch.search.run import Publish
    from scalesearch.search.setup import Prepared

P = TypeVar("P", bound="Prepared")


@dataclass(frozen=True)
class PlaceRequest:
    """Where trials are to be kept and trained, as it was asked for: the options of the same names."""

    storage: str | None = None
    study: str | None = None
    engine: str = "processes"
    address: str | None = None

    def check(self, recipe: Recipe) -> None:
        """Refuse an engine that does not go with the rest.

        Raises:
            ScaleSearchError: it does not.
        """
        engine, address = self.engine, self.address
        if engine not in ("processes", "ray"):
            raise ScaleSearchError(f"--engine: expected processes or ray, got {engine!r}")
        if address is not None and engine != "ray":
            raise ScaleSearchError("--address is a Ray cluster's: it needs --engine ray")
        if address not in (None, "auto") and not re.fullmatch(r"[^\s/]+:\d+", address or ""):
            raise ScaleSearchError(f"--address: expected auto or HOST:PORT, got {address!r}")
        if engine == "ray" and recipe.run.workers == 0:
            raise ScaleSearchError("--workers 0 trains in the search's own process: it does not go with --engine ray")
        if engine == "ray" and recipe.device.split(":")[0] not in ("auto", "cpu", "cuda"):
            raise ScaleSearchError(f"--engine ray: expected --device auto, cpu or cuda, got {recipe.device!r}")

    def settings(self, recipe: Recipe, study: str | None = None) -> EngineSettings:
        """The same, found.

        Args:
            study: a name of its own, for one of several searches.

        Raises:
            ScaleSearchError: the address of the storage is none, or Ray or TensorBoard is not installed.
        """
        from scalesearch.runtime.device import every_device
        from scalesearch.search.engine import EngineSettings
        from scalesearch.search.ledger.urls import storage_url

        where = storage_url(self.storage) if self.storage else None
        if self.engine == "ray":
            from scalesearch.search.ray_cluster import load_ray

            load_ray()
        if recipe.run.log is not None:
            from scalesearch.search.tensorboard_log import load_tensorboard

            load_tensorboard()
        return EngineSettings(where, study or self.study, every_device(recipe.device), self.engine, self.address)


def chosen_recipe(name: str | None, overrides: Mapping[str, object], check: Callable[[Recipe], object]) -> Recipe:
    """The recipe that was asked for, or this machine's default one.

    Args:
        check: raises if the recipe will not do; called before torch is loaded.

    Raises:
        ScaleSearchError: a key or a value is wrong, or there is no such device.
    """
    check(load_recipe(name or "quick", overrides))
    return load_recipe(name or default_recipe(str(overrides.get("device", "auto"))), overrides)


def made_ready(recipe: Recipe, place: PlaceRequest, prepare: Callable[[Recipe], P]) -> tuple[P, EngineSettings]:
    """The recipe with its every open question answered by ``prepare``, and where it will be trained.

    Raises:
        ScaleSearchError: whatever of it the user can mend, told before an image is decoded.
    """
    settings = place.settings(recipe)
    return prepare(recipe), settings


def warm_up_for(prepared: Prepared, place: EngineSettings) -> None:
    """Start loading torch for the workers, if there will be some.

    Not before the search is planned: a mistake would have to wait for it. Nor where a quote will be taken first, which
    would be taken beside it.
    """
    from scalesearch.search.estimate import is_worthwhile
    from scalesearch.search.processes import warm_up

    if place.engine == "processes" and prepared.recipe.run.workers != 0 and not is_worthwhile(prepared):
        warm_up()


def train_in(
    prepared: Prepared,
    path: Path,
    watcher: ClosingWatcher,
    command: Sequence[str],
    place: EngineSettings,
    verify: tuple[int, float] | None = None,
    publish: Publish | None = None,
) -> tuple[Result, Verified | None]:
    """Do what is left of a run in the folder ``path``, telling ``watcher`` how it goes; then verify it, if wanted.

    Args:
        command: what is written down as the way to make the run again.
        verify: how many candidates to train on a schedule how many times as long.
        publish: writes what was found, as `search.run.run` takes it.

    Raises:
        RunError: as `search.run.run` and `search.longer_schedule.verify`.
    """
    from scalesearch.search.longer_schedule import verify as verified
    from scalesearch.search.run import run

    with RunFolder(path) as folder:
        try:
            result = run(prepared, folder, watcher, command, place, **({"publish": publish} if publish else {}))
            if verify is None:
                return result, None
            candidates, longer = verify
            return result, verified(
                prepared, result, folder, watcher, command, candidates=candidates, longer=longer, place=place
            )
        finally:
            watcher.close()
