"""Trained networks by name: folders, runs and their candidates, specs with weights, and what is no such thing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from scalesearch.data.batches import MEAN, STD
from scalesearch.errors import ScaleSearchError
from scalesearch.models.build import build_model
from scalesearch.models.weights_file import About, write_weights
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.training.trained import open_network, open_networks
from scalesearch.training.trained_files import SPEC, WEIGHTS, all_trained_files, trained_files, weights_file
from scalesearch.training.weights_index import FOLDER, Kept, KeptWeights, read_kept, write_kept


@pytest.fixture
def here(tiny: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with winner/ (as `train` leaves it), run/ (a search's two best), tiny.yaml and tiny.pt."""
    monkeypatch.chdir(tmp_path)
    Path("winner").mkdir()
    (tmp_path / "run" / FOLDER).mkdir(parents=True)
    Path("tiny.yaml").write_text(dump_spec(tiny))
    torch.save(build_model(tiny, 3).state_dict(), "tiny.pt")
    rows = []
    for place, name in enumerate(("a", "b")):
        shutil.copy("tiny.pt", f"run/{FOLDER}/{name}.pt")
        shutil.copy("tiny.yaml", f"run/{FOLDER}/{name}.yaml")
        rows.append(
            KeptWeights(network=name, alpha=1.2, beta=1 + place / 10, gamma=1.15, seed=0, accuracy=0.5, resolution=16,
                        file=f"{name}.pt", spec=f"{name}.yaml", label="wide" if place else None)
        )  # fmt: skip
    write_kept(Path("run"), Kept(num_classes=3, classes=("x", "y", "z"), eval_crop=0.9, weights=tuple(rows)))
    about = About(tiny, ("x", "y", "z"), 16, MEAN, STD, 1.0)
    write_weights(Path("winner", WEIGHTS), torch.load("tiny.pt", weights_only=True), about)
    shutil.copy("tiny.yaml", f"winner/{SPEC}")
    return tmp_path


def test_every_name_that_a_trained_network_has_finds_its_files(here: Path) -> None:
    def file_of(asked: str) -> list[str]:
        return [str(files.weights) for files in trained_files(asked) or []]

    assert file_of("winner") == file_of("winner/") == [f"winner/{WEIGHTS}"]
    assert file_of("run") == ["run/weights/a.pt", "run/weights/b.pt"]
    assert file_of("run:1") == file_of("run:1.2,1,1.15") == ["run/weights/a.pt"]
    assert file_of("run:2") == file_of("run:wide") == ["run/weights/b.pt"]
    for asked in ("tiny.yaml", "mobilenet_v2", "timm:resnet18", "mine.py:build", "package.of_mine:build"):
        assert trained_files(asked) is None, asked
    assert str(weights_file("run")) == "run/weights/a.pt" and str(weights_file("run:wide")) == "run/weights/b.pt"
    assert str(weights_file("tiny.pt")) == "tiny.pt" and str(weights_file("winner")) == f"winner/{WEIGHTS}"


def test_a_candidate_is_found_by_its_coefficients_as_they_are_shown(here: Path) -> None:
    """Those of equal cost are solved: 1.0156 is shown as 1.016. A run's name may have a dot."""
    Path("run").rename("net-phi0.5")
    kept = read_kept(Path("net-phi0.5"))
    assert kept is not None
    rows = (kept.weights[0].model_copy(update={"gamma": 1.01563}), kept.weights[1])
    write_kept(Path("net-phi0.5"), kept.model_copy(update={"weights": rows}))
    for which in ("1", "1.2,1,1.01563", "1.2, 1, 1.016"):
        assert str(weights_file(f"net-phi0.5:{which}")) == "net-phi0.5/weights/a.pt", which
    with pytest.raises(ScaleSearchError, match="has kept no network"):
        weights_file("net-phi0.5:1.2,1,1.02")


def test_a_file_that_says_its_network_is_one(here: Path, tiny: ModelSpec) -> None:
    shutil.copy(f"winner/{WEIGHTS}", "alone.safetensors")
    (files,) = trained_files("alone.safetensors") or []
    assert (files.spec, files.classes, files.num_classes, files.crop) == (tiny, ("x", "y", "z"), 3, 1.0)
    network = open_network(files)
    assert network.model.spec == tiny and network.build(3)[1].new == ()
    assert weights_file("alone.safetensors") == Path("alone.safetensors")


def test_a_folder_of_an_older_version_opens(here: Path) -> None:
    Path("winner", WEIGHTS).unlink()
    shutil.copy("tiny.pt", "winner/weights.pt")
    (files,) = trained_files("winner") or []
    assert open_network(files).build(3)[1].new == ()


def test_folders_and_specs_with_weights_come_in_the_order_that_they_are_named(here: Path) -> None:
    files = all_trained_files(["run:2", "tiny.yaml", "winner"], [Path("tiny.pt")])
    assert [str(each.weights) for each in files] == ["run/weights/b.pt", "tiny.pt", f"winner/{WEIGHTS}"]
    assert files[0].classes == ("x", "y", "z") and files[0].crop == 0.9 and files[1].classes is None
    networks = open_networks(files)
    assert networks[0].name == "wide" and len({network.name for network in networks}) == 3
    same = networks[0].build(3)[0], networks[2].build(3)[0]
    images = torch.rand(2, 3, 16, 16)
    assert torch.equal(same[0](images), same[1](images))
    assert open_network(files[0], 24).model.resolution == 24


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("winnr", "no such folder: winnr; did you mean winner?"),
        ("results/none", "no such folder: results/none"),
        ("results/none:2", "no such folder: results/none"),
        ("nothing_like_it", "no such folder: nothing_like_it, and no baseline either"),
        (".", ". is no trained network, but holds some; name one: run, winner"),
        ("run:3", "run has kept no network '3', but 1 (1.2,1,1.15); 2 (wide)"),
        ("winner:2", "winner holds one network, and needs no :2"),
        ("empty", "empty is a folder without"),
        ("searched", "searched has kept no weights: its own command, given again with --keep-weights 3"),
        ("stopped", "stopped holds a training that is not finished"),
    ],
)
def test_what_is_no_trained_network_is_said_in_a_line(asked: str, told: str, here: Path) -> None:
    for name, files in {"empty": (), "searched": ("baseline.yaml",), "stopped": ()}.items():
        Path(name).mkdir()
        for file in (*files, *(["settings.json"] if name != "empty" else [])):
            Path(name, file).write_text("{}")
    with pytest.raises(ScaleSearchError) as caught:
        trained_files(asked)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_weights_and_networks_have_to_be_as_many(here: Path) -> None:
    with pytest.raises(ScaleSearchError, match=r"no weights for tiny\.yaml: --weights FILE says which"):
        all_trained_files(["winner", "tiny.yaml"], [])
    with pytest.raises(ScaleSearchError, match="one for each of 0 networks"):
        all_trained_files(["winner"], [Path("tiny.pt")])
    with pytest.raises(ScaleSearchError, match=r"there is no file none\.pt"):
        all_trained_files(["tiny.yaml"], [Path("none.pt")])
