"""The weights that a run keeps for good: whose they are, and that they are what was measured."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from scalesearch.data.batches import Normaliser, evaluation_views
from scalesearch.data.images import load_images
from scalesearch.errors import RecipeError, RunError
from scalesearch.models.catalogue import build_model
from scalesearch.recipe import Recipe
from scalesearch.run_folder import RunFolder
from scalesearch.scaling.spec_files import load_spec
from scalesearch.search.outputs import Result
from scalesearch.search.progress import PlainWatcher
from scalesearch.search.run import run
from scalesearch.search.setup import Prepared, prepare
from scalesearch.training.weights_index import Kept, KeptWeights, read_kept, write_kept
from tests.support.small import TINY


def _searched(quick: Recipe, folder: Path, **pace: int) -> tuple[Prepared, Result, str]:
    """A search of three tiny networks, done or gone on with, and what it said."""
    (folder / "tiny.yaml").write_text(TINY)
    recipe = quick.model_copy(
        update={
            "baseline": str(folder / "tiny.yaml"),
            "exhaustive": True,
            "run": quick.run.model_copy(update={"workers": 0} | pace),
            "search": quick.search.model_copy(update={"step": 0.4}),
        }
    )
    said, prepared = io.StringIO(), prepare(recipe)
    with RunFolder(folder / "run") as place:
        result = run(prepared, place, PlainWatcher(Console(file=said, width=200)), ["test"])
    return prepared, result, said.getvalue()


def test_the_best_stay_and_a_later_wish_is_trained_again(quick: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    prepared, first, said = _searched(quick, tmp_path, keep_weights=1)
    kept = read_kept(folder)
    assert kept is not None and [w.network for w in kept.weights] == [first.ranking["network"].iloc[0]]
    assert kept.files == {file.name for file in (folder / "weights").iterdir()} and "again" not in said
    _they_are_what_was_measured(prepared, folder, kept)

    _, later, said = _searched(quick, tmp_path, keep_weights=2)
    more = read_kept(folder)
    assert said.count("its weights are to be kept, and are not here") == 1
    assert more is not None and more.weights[:1] == kept.weights and len(more.weights) == 2
    assert later.ranking.equals(first.ranking)
    _they_are_what_was_measured(prepared, folder, more)

    _searched(quick, tmp_path)
    assert read_kept(folder) == more, "a command without the wish drops nothing that was kept"


def _they_are_what_was_measured(prepared: Prepared, run_folder: Path, kept: Kept) -> None:
    """Built from their files alone, the networks have the accuracies that the list says, on the minival."""
    data = prepared.recipe.data
    minival = load_images(prepared.source, data, data.cache_resolution or 0).minival
    assert kept.num_classes == len(kept.classes) == 12
    for row in kept.weights:
        spec = load_spec(run_folder / "weights" / row.spec)
        assert spec.fingerprint == row.network and spec.resolution == row.resolution
        network = build_model(spec, kept.num_classes).eval()
        network.load_state_dict(load_file(run_folder / "weights" / row.file))
        views = evaluation_views(minival.images[:], row.resolution, kept.eval_crop)
        with torch.no_grad():
            right = network(Normaliser(torch.device("cpu"), channels_last=False)(views)).argmax(1) == minival.labels
        assert abs(float(right.float().mean()) - row.accuracy) <= 0.01


def test_a_list_is_read_back_without_what_is_gone(tmp_path: Path) -> None:
    assert read_kept(tmp_path) is None
    rows = [
        KeptWeights(
            network=name, alpha=1.2, beta=1.1, gamma=1.15, seed=0, accuracy=0.5, resolution=16,
            file=f"{name}-seed0.pt", spec=f"{name}.yaml",
        )
        for name in ("a", "b")
    ]  # fmt: skip
    kept = Kept(num_classes=2, classes=("cat", "dog"), eval_crop=0.875, weights=tuple(rows))
    write_kept(tmp_path, kept)
    assert read_kept(tmp_path) is None
    for name in ("b-seed0.pt", "b.yaml"):
        (tmp_path / "weights" / name).touch()
    there = read_kept(tmp_path)
    assert there is not None and there.weights == (rows[1],)
    (tmp_path / "weights" / "weights.json").write_text("{")
    with pytest.raises(RunError, match="cannot read"):
        read_kept(tmp_path)
    (tmp_path / "weights" / "weights.json").write_text('{"num_classes": 2, "classes": [], "eval_crop": 1}')
    with pytest.raises(RecipeError, match="weights: expected a value"):
        read_kept(tmp_path)
