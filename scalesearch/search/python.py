"""`scalesearch.Search`: a search from Python, for notebooks and scripts, by what `grid` uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from scalesearch.errors import ScaleSearchError
from scalesearch.recipe import Recipe, overrides_of, refuse_nas
from scalesearch.report.tables import plan_table
from scalesearch.run_folder import default_folder
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec import ModelSpec
from scalesearch.search.progress import ClosingWatcher, on_console
from scalesearch.search.start import PlaceRequest, chosen_recipe, made_ready, train_in, warm_up_for

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from scalesearch.scaling.spec_files import Spec
    from scalesearch.search.engine import EngineSettings
    from scalesearch.search.estimate import Quote
    from scalesearch.search.search_result import SearchResult
    from scalesearch.search.setup import Prepared


class Search:
    """A search over depth, width and resolution: what `scalesearch grid` does, with its options as keywords.

    Nothing is trained, and torch is not loaded, before `plan`, `quote` or `run` is asked for.

    >>> from scalesearch import Search
    >>> search = Search("mobilenet_v2", recipe="quick", resolution=32, device="cpu", train={"steps": 6})
    >>> search.plan[["alpha", "beta", "gamma", "ratio"]].shape
    (7, 4)
    """

    def __init__(
        self,
        baseline: str | Path | Spec | nn.Module | Callable[[], nn.Module] | None = None,
        *,
        data: str | Path | Mapping[str, object] | None = None,
        recipe: str | Path | None = None,
        phi: float | None = None,
        budget: str | None = None,
        out: str | Path | None = None,
        workers: int | None = None,
        storage: str | None = None,
        study: str | None = None,
        engine: str = "processes",
        address: str | None = None,
        verify: int | None = None,
        longer: float = 4,
        **keys: object,
    ) -> None:
        """Take down what is wanted.

        Args:
            baseline: a name or a path as ``--baseline`` takes it, a spec, or a network: a module, or a function without
                arguments that makes one. One that no other process could import trains in this process.
            data: as ``--data`` takes it, the path of a folder of images, or a dict of the recipe's ``data``.
            recipe: a shipped recipe by name, or a recipe's path.
            out: the run's folder; by default ``results/NAME-FROM-SETTINGS``, which the same call finds again.
            workers: processes that train side by side; 0 trains in this one.
            verify: how many of the ranking to train on a schedule ``longer`` times as long, and compare.
            keys: of the recipe: ``seeds=3``, a section as a dict (``train={"epochs": 3}``), or a key that only one
                section has by its last word (``epochs=3``).

        Raises:
            RecipeError: a recipe has no such key; the message names the nearest one.
        """
        named = {name: value for name, value in locals().items() if name not in ("self", "baseline", "keys")}
        self._said = _call(baseline, named | keys)
        self._place = PlaceRequest(storage, study, engine, address)
        self._recipe_name = None if recipe is None else str(recipe)
        self._out, self._verify = out, (verify, longer) if verify else None
        self._baseline = baseline
        images = {"source": f"folder:{data}"} if isinstance(data, Path) else {"source": data}
        own = {"baseline": str(baseline) if isinstance(baseline, (str, Path)) else None, "phi": phi, "budget": budget}
        given = own | {"run.workers": workers} | overrides_of(data if isinstance(data, Mapping) else images, "data")
        self._overrides = {key: value for key, value in given.items() if value is not None} | overrides_of(keys)

    def __repr__(self) -> str:
        return self._said

    @property
    def plan(self) -> pd.DataFrame:
        """The candidates, a row each: coefficients, nominal growth, shape, measured cost, training memory (bytes,
        estimated).

        Raises:
            ScaleSearchError: whatever of the wishes can be mended; so do `quote` and `run`.
        """
        import pandas as pd

        candidates = self._ready[0].plan.candidates
        frame = pd.DataFrame(list(plan_table(candidates).records))
        return frame.assign(estimated_memory=[self._ready[0].memory(c.cost) for c in candidates])

    @property
    def folder(self) -> Path:
        """The run's folder; it need not be there yet."""
        prepared = self._ready[0]
        return self._asked or default_folder(
            Path("results"), prepared.recipe, prepared.baseline.name, prepared.named_by
        )

    @property
    def _asked(self) -> Path | None:
        return None if self._out is None else Path(self._out).expanduser()

    def quote(self) -> Quote:
        """What the search will take, from a few timed steps: seconds of training, bytes at the peak.

        Raises:
            DeviceError: the dearest candidate does not fit on the device.
        """
        from scalesearch.search.estimate import told_quote

        self._offer()
        return told_quote(self._ready[0])

    def run(self) -> SearchResult:
        """Train what is left, and rank. Interrupted (Ctrl-C, the notebook's stop button), the same call goes on.

        Raises:
            RunError: the folder was made with other settings or is in use, or no trial could be completed.
        """
        from scalesearch.search.search_result import SearchResult

        self._offer()
        prepared, place = self._ready
        warm_up_for(prepared, place)
        watcher = _watcher()
        if prepared.source.note:
            watcher.remarked(f"note: {prepared.source.note}")
        if self._lives_here and len(place.devices) > 1:
            watcher.remarked(f"note: {prepared.baseline.name} trains in this process, on {prepared.device} alone")
        command = ["python", "-c", f"from scalesearch import Search; {self._said}.run()"]
        try:
            result, verified = train_in(prepared, self.folder, watcher, command, place, self._verify)
        except KeyboardInterrupt:
            watcher.remarked(f"stopped: what was finished is kept in {self.folder}; the same call goes on from there")
            raise
        winner = prepared.planner.by_network[str(result.ranking["network"].iloc[0])].model.spec
        classes = len(prepared.source.classes)
        return SearchResult(self.folder, *result.in_files, winner, classes, verified)

    @cached_property
    def _ready(self) -> tuple[Prepared, EngineSettings]:
        self._offer()
        if isinstance(self._baseline, str) and ":" in self._baseline:
            from scalesearch.models.module_model import forget

            forget()  # its file may have been edited in this session
        native = self._baseline if isinstance(self._baseline, (ModelSpec, ModuleSpec)) else None
        overrides = dict(self._overrides)
        if native is not None:
            overrides["baseline"] = native.name

        def check(first: Recipe) -> None:
            refuse_nas(first)
            self._place.check(first)

        if self._source is not None:
            overrides["baseline"] = self._source
        recipe = chosen_recipe(self._recipe_name, overrides, check)
        if self._lives_here:
            recipe = self._here(recipe)
        from scalesearch.search.setup import prepare

        return made_ready(recipe, self._place, partial(prepare, native=native, out=self._asked))

    @cached_property
    def _source(self) -> str | None:
        """Of a baseline that is an object of this process: where others find it, or under which name it is offered."""
        if self._baseline is None or isinstance(self._baseline, (str, Path, ModelSpec, ModuleSpec)):
            return None
        from scalesearch.models.surgery.session import source_of

        return source_of(self._baseline)

    @property
    def _lives_here(self) -> bool:
        from scalesearch.models.surgery.session import SESSION

        return (self._source or "").startswith(f"{SESSION}:")

    def _offer(self) -> None:
        """Be the one whose network goes by its name: another search may have had a network of the same name."""
        if self._source is not None:
            from scalesearch.models.module_model import offer

            offer(self._source, self._baseline)

    def _here(self, recipe: Recipe) -> Recipe:
        """The recipe, its trials in this process."""
        if recipe.run.workers not in (None, 0, 1) or self._place.engine == "ray":
            name = str(self._source).partition(":")[2]
            raise ScaleSearchError(
                f"{name} lives in this Python session, where workers cannot import it: put it into a file and name "
                f"that, 'FILE.py:{name}', or train in this process (workers=0)"
            )
        return recipe.model_copy(update={"run": recipe.run.model_copy(update={"workers": 0})})


def _watcher() -> ClosingWatcher:
    """Bars on a terminal, a bar in a notebook, lines elsewhere."""
    console = Console(highlight=False, markup=False)
    if not console.is_jupyter:
        return on_console(console)
    from scalesearch.search.notebook_progress import NotebookWatcher, displayed

    return NotebookWatcher(console, displayed())


DEFAULTS: dict[str, object] = {"engine": "processes", "longer": 4}
"""Of the keywords that are not None."""


def _call(baseline: object, keywords: Mapping[str, object]) -> str:
    """The call as one would write it again."""
    if isinstance(baseline, (ModelSpec, ModuleSpec)):
        first = baseline.name
    elif baseline is None or isinstance(baseline, (str, Path)):
        first = "" if baseline is None else repr(str(baseline))
    else:
        first = getattr(baseline, "__name__", type(baseline).__name__)
    given: dict[str, Any] = {k: v for k, v in keywords.items() if v is not None and DEFAULTS.get(k) != v}
    words = [f"{k}={str(v) if isinstance(v, Path) else v!r}" for k, v in given.items()]
    return f"Search({', '.join([*filter(None, [first]), *words])})"
