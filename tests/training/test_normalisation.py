"""Images are normalised as the weights were trained, by whoever says how that was; where nobody does, that is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.transforms import v2

from scalesearch.data.batches import MEAN, STD, Normaliser
from scalesearch.data.sources import open_source
from scalesearch.errors import BaselineError, ScaleSearchError
from scalesearch.models.catalogue import model_of, open_baseline
from scalesearch.recipe import load_recipe
from scalesearch.run_folder import settings_of
from scalesearch.scaling.spec import ModelSpec
from scalesearch.settings import DataSettings
from scalesearch.training.normalisation import normalisation_of, with_normalisation
from tests.support.small import MINE

HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("source", "mean", "std"),
    [
        ("timm:tf_efficientnet_lite0", HALF, HALF),  # timm's models/efficientnet.py
        ("torchvision:shufflenet_v2_x0_5", MEAN, STD),
    ],
)
def test_libraries_state_what_their_weights_expect(
    source: str, mean: tuple[float, ...], std: tuple[float, ...], tmp_path: Path
) -> None:
    found = normalisation_of(tmp_path / "any.pth", open_baseline(source).native)
    assert (found.mean, found.std) == (mean, std)
    assert f"states for the weights of {source.partition(':')[2]}" in found.words


def test_where_nobody_says_imagenets_are_taken_and_that_is_said(tiny: ModelSpec, tmp_path: Path) -> None:
    found = normalisation_of(tmp_path / "any.pth", tiny)
    assert (found.mean, found.std, found.source) == (MEAN, STD, None)
    assert "nothing says whether the weights were trained so" in found.words and "--set data.mean=" in found.words


def test_a_network_of_ones_own_may_state_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    states = "\ndef stated():\n    net = Net()\n    net.mean, net.std = [0.1, 0.2, 0.3], (0.5,) * 3\n    return net\n"
    wrong = "\ndef wrong():\n    net = Net()\n    net.mean, net.std = 0.1, 0.2\n    return net\n"
    Path("stated.py").write_text(MINE.format(width=8) + states + wrong)
    found = normalisation_of(Path("any.pth"), open_baseline("stated.py:stated", resolution=24).native)
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), HALF) and "stated.py:stated states" in found.words
    assert normalisation_of(Path("any.pth"), open_baseline("stated.py:build_net", resolution=24).native).source is None
    with pytest.raises(BaselineError, match="not a number for each channel"):
        normalisation_of(Path("any.pth"), open_baseline("stated.py:wrong", resolution=24).native)


def test_the_user_is_believed_first_and_the_run_beside_the_weights_second(tiny: ModelSpec, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("data: {mean: [0.1, 0.2, 0.3], std: [0.4, 0.5, 0.6]}\n")
    (tmp_path / "settings.json").write_text("{}")
    for file in (tmp_path / "weights.pt", tmp_path / "weights" / "first.pt"):
        found = normalisation_of(file, tiny)
        assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)), file
        assert "recipe.yaml says of their training" in found.words
    said = normalisation_of(tmp_path / "weights.pt", tiny, DataSettings(mean=HALF, std=HALF))
    assert (said.mean, said.std) == (HALF, HALF) and "as data.mean and data.std say" in said.words


def test_a_recipe_takes_what_its_weights_expect_and_is_another_run(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"")
    lite = open_baseline("timm:tf_efficientnet_lite0").native
    recipe = load_recipe("quick", {"train.from_weights": str(file)})
    images = open_source(DataSettings())
    decided, said = with_normalisation(recipe, model_of(lite), images)
    assert (decided.data.mean, decided.data.std) == (HALF, HALF) and len(said) == 1
    assert settings_of(decided, {}, "f") != settings_of(recipe, {}, "f")
    scratch = load_recipe("quick")
    assert with_normalisation(scratch, model_of(lite), images) == (scratch, ()), (
        "from scratch, every network sees the same"
    )
    assert not {"data.mean", "data.std"} & set(settings_of(scratch, {}, "f")), "runs of before open as they are"


def test_images_are_normalised_as_torchvision_would() -> None:
    images = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    made = Normaliser(torch.device("cpu"), channels_last=True, mean=mean, std=std)(images)
    torch.testing.assert_close(made, v2.functional.normalize(images / 255, list(mean), list(std)))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data.mean": [0.5, 0.5, 0.5]}, "both mean and std"),
        ({"data.mean": [0.5, 0.5], "data.std": [0.5, 0.5]}, "data.mean"),
        ({"data.mean": [0.5, 0.5, 0.5], "data.std": [0, 0, 0]}, "data.std"),
        ({"data.mean": [127, 127, 127], "data.std": [0.5, 0.5, 0.5]}, "data.mean"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ScaleSearchError, match=told):
        load_recipe("quick", changes)
