"""fvcore counts a network once, whatever becomes of the file that remembers it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from torch import nn

from scalesearch.models.build import build_model
from scalesearch.models.catalogue import open_baseline
from scalesearch.models.fvcore_count import count, counted
from scalesearch.models.spec_model import SpecModel
from scalesearch.scaling.compound import Multipliers
from scalesearch.scaling.cost import Count
from scalesearch.scaling.spec import ModelSpec
from tests.support.small import MINE


@dataclass(frozen=True)
class Logged(SpecModel):
    """Keeps what it was asked to build."""

    built: list[int] = field(default_factory=list)

    def build(self, num_classes: int) -> nn.Module:
        self.built.append(num_classes)
        return super().build(num_classes)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCALESEARCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "counts"


def _truth(spec: ModelSpec, num_classes: int) -> Count:
    return count(build_model(spec, num_classes), spec.resolution)


def test_a_network_is_built_and_counted_once_for_all_its_seeds(tiny: ModelSpec, cache: Path) -> None:
    model = Logged(tiny)
    assert [counted(model, 10) for _ in range(3)] == [_truth(tiny, 10)] * 3
    assert model.built == [10]


def test_other_classes_and_another_resolution_are_other_counts(tiny: ModelSpec, cache: Path) -> None:
    larger = tiny.model_copy(update={"resolution": 32})
    for spec, classes in ((tiny, 10), (tiny, 7), (larger, 10)):
        assert counted(SpecModel(spec), classes) == _truth(spec, classes)
    assert len(list(cache.iterdir())) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"count": {"macs": 1, "total": null, "uncounted": {}}}', "\0"])
def test_a_broken_file_is_counted_again_and_mended(text: str, tiny: ModelSpec, cache: Path) -> None:
    counted(SpecModel(tiny), 10)
    (kept,) = cache.iterdir()
    whole = kept.read_text()
    kept.write_text(text)
    assert counted(SpecModel(tiny), 10) == _truth(tiny, 10)
    assert kept.read_text() == whole
    assert json.loads(whole)["network"] == tiny.fingerprint


def test_a_cache_that_cannot_be_written_does_not_matter(tiny: ModelSpec, cache: Path) -> None:
    cache.parent.write_text("a file in the way")
    assert counted(SpecModel(tiny), 10) == _truth(tiny, 10)


def test_modules_of_known_versions_are_kept_and_a_users_own_code_is_not(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.format(width=8))
    for name, kept in ((f"{tmp_path / 'mine.py'}:build_net", 0), ("torchvision:squeezenet1_1", 1)):
        model = open_baseline(name).at(resolution=64).scaled(Multipliers(1, 1, 1))
        truth = count(model.build(10), model.resolution)
        assert counted(model, 10) == counted(model, 10) == truth
        assert len(list(cache.glob("*"))) == kept
