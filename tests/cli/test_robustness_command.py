"""`scalesearch robustness`: trained networks on the same corrupted images, other sets, and mistakes in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from scalesearch.cli.commands.robustness import as_measured, robustness_command
from scalesearch.cli.commands.train import train_command
from scalesearch.cli.notify import Ended
from scalesearch.data.batches import MEAN
from scalesearch.data.corruptions import CORRUPTIONS, Condition, conditions_of
from scalesearch.errors import ScaleSearchError
from scalesearch.search.robustness_job import RobustnessRequest, robustness_job
from scalesearch.training.robustness import measure
from scalesearch.training.single import TrainRequest
from scalesearch.training.trained import ready
from scalesearch.training.weights_index import FOLDER, Kept, KeptWeights, write_kept
from tests.support.small import MINE, TINY, Cli, make_folder

CPU = {"device": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with tiny.yaml, ``one`` and ``two`` trained on the embedded images for a few seconds, and ``pets``
    trained on a folder without a validation split."""
    root = tmp_path_factory.mktemp("robustness")
    (root / "tiny.yaml").write_text(TINY)
    make_folder(root / "photos", {"cat": 30, "dog": 30}, split=None)
    make_folder(root / "drawn", {"cat": 9, "dog": 12}, split=None, size=40)
    for name, seed, steps in (("one", 0, 400), ("two", 1, 60)):
        short = {**CPU, "train.steps": steps, "train.learning_rate": 0.02, "data.source": "embedded"}
        wish = TrainRequest(str(root / "tiny.yaml"), "quick", short, seed=seed, out=root / name)
        train_command(wish, Ended(), processes=1, as_json=False)
    pets = {**CPU, "train.steps": 12, "data.source": f"folder:{root / 'photos'}"}
    train_command(
        TrainRequest(str(root / "tiny.yaml"), "quick", pets, out=root / "pets"), Ended(), processes=1, as_json=False
    )
    yield root


def _wish(*networks: Path | str, **other: Any) -> RobustnessRequest:
    overrides = {**CPU, **other.pop("overrides", {})}
    return RobustnessRequest(tuple(map(str, networks)), other.pop("weights", ()), other.pop("recipe", None),
                             overrides, **other)  # fmt: skip


def _found(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "robustness.json").read_text())
    return found


def _complaint(wish: RobustnessRequest) -> str:
    with pytest.raises(ScaleSearchError) as caught:
        robustness_command(wish, dry_run=True, form="table")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_clean_is_what_training_measured_and_harm_grows_with_severity(trained: Path, tmp_path: Path) -> None:
    robustness_command(_wish(trained / "one", trained / "two", out=tmp_path / "r"), dry_run=False, form="table")
    measured = as_measured(_found(tmp_path / "r"))
    for number, name in enumerate(("one", "two")):
        outcome = json.loads((trained / name / "outcome.json").read_text())
        assert measured.clean[number].mean() == pytest.approx(outcome["val_accuracy"])
    assert measured.clean.shape == (2, 600) and tuple(measured.corrupted) == CORRUPTIONS
    for by_severity in measured.corrupted.values():
        assert list(by_severity) == [1, 2, 3, 4, 5]
    for name in ("gaussian_noise", "contrast"):  # 0.04 is two standard errors of 600 images
        curve = [measured.clean[0].mean(), *(right[0].mean() for right in measured.corrupted[name].values())]
        assert all(later <= before + 0.04 for before, later in pairwise(curve)), (name, curve)
        assert curve[-1] < curve[0] - 0.1, (name, curve)
    weak = "gaussian_blur 1, gaussian_blur 2, gaussian_blur 3"  # σ of 3 · 16/224 = 0.21 px: the next pixel has 2e-5
    assert f"too weak at this size to change any image: {weak}\n" in (tmp_path / "r" / "robustness.md").read_text()


def test_what_it_writes_is_shown_again_and_never_replaced(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"images": 24, "corruption": "jpeg-compression,contrast", "severity": "5,2", "out": tmp_path / "r"}
    robustness_command(_wish(trained / "one", trained / "two", **few), dry_run=False, form="json")
    first = json.loads(capsys.readouterr().out)
    assert [(row["under"], row["network"]) for row in first["accuracies"]][:2] == [
        ("jpeg_compression", "tiny one"),
        ("jpeg_compression", "tiny two"),
    ]
    assert first["accuracies"][0]["severity_1"] is None and first["accuracies"][0]["severity_5"] is not None
    assert [c["level"] for c in first["sets"][0]["conditions"]] == [0, 18, 7, 0.3, 0.05]
    assert {path.name for path in (tmp_path / "r" / "figures").iterdir()} == {
        f"{name}.{kind}" for name in ("jpeg_compression", "contrast") for kind in ("png", "svg")
    }
    text = (tmp_path / "r" / "robustness.json").read_text()
    robustness_command(_wish(trained / "one", trained / "two", **few), dry_run=False, form="csv")
    again = capsys.readouterr()
    assert "measured before" in again.err and (tmp_path / "r" / "robustness.json").read_text() == text
    assert again.out == (tmp_path / "r" / "robustness.csv").read_text()
    robustness_command(_wish(trained / "one", trained / "two", **few, confidence=0.5), dry_run=False, form="json")
    narrow = json.loads(capsys.readouterr().out)["accuracies"][0]
    assert narrow["mean"] == first["accuracies"][0]["mean"] and narrow["mean_low"] > first["accuracies"][0]["mean_low"]
    with pytest.raises(ScaleSearchError, match="choose another --out"):
        robustness_command(_wish(trained / "one", **few), dry_run=False, form="table")
    (tmp_path / "r" / "robustness.json").write_text("{}")
    with pytest.raises(ScaleSearchError, match=r"robustness\.json: delete it"):
        robustness_command(_wish(trained / "one", trained / "two", **few), dry_run=False, form="table")


def test_the_result_knows_nothing_of_batches_and_a_network_beside_itself_is_no_other(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "one", tmp_path / "copy")
    conditions = conditions_of(("gaussian_noise", "brightness"), (1, 4))
    found = []
    for batch in (5, 32):
        wish = _wish(trained / "one", tmp_path / "copy", images=36, overrides={"train.batch_size": batch})
        job = robustness_job(wish)
        ways = zip(job.networks, job.normalisations, strict=True)
        trainers = [ready(network, 12, job.recipe, job.device, normal)[0] for network, normal in ways]
        images = job.decoded(job.clean)
        done: list[int] = []
        found.append(measure(trainers, images, conditions, job.corruptor(images), told=done.append))
        assert done == [*range(batch, 36, batch), 36]
    one, other = (answers.right for answers in found)
    assert torch.equal(one, other) and torch.equal(one[0], one[1])
    assert found[0].changed.tolist() == [False, True, True, True, True]
    assert job.networks[0].name != job.networks[1].name


def test_fewer_images_are_corrupted_as_they_are_among_all(trained: Path) -> None:
    jobs = [robustness_job(_wish(trained / "one", images=most)) for most in (24, None)]
    few, every = (job.decoded(job.clean) for job in jobs)
    where = [every.indices.index(index) for index in few.indices]
    condition = Condition("gaussian_noise", 3)
    one = jobs[0].corruptor(few)(torch.as_tensor(few.split.images[:]), few.indices, condition)
    other = jobs[1].corruptor(every)(torch.as_tensor(every.split.images[:]), every.indices, condition)
    assert torch.equal(one, other[where])
    assert few.split.labels.bincount().tolist() == [2] * 12, "balanced over classes"


def test_networks_of_other_sizes_see_the_same_images_at_their_own(trained: Path) -> None:
    two = trained / "two" / "weights.safetensors"
    job = robustness_job(_wish(trained / "one", trained / "tiny.yaml", weights=(two,), resolution=24))
    assert [network.model.resolution for network in job.networks] == [24, 24] and job.side == 24
    larger = robustness_job(_wish(trained / "one", size=40))
    assert larger.decoded(larger.clean, 3).size == 40 and larger.networks[0].model.resolution == 16
    assert larger.corruptor(larger.decoded(larger.clean, 3)).level(Condition("gaussian_blur", 5)) == 6 * 40 / 224


def test_another_domain_is_measured_beside_and_the_minival_is_what_training_held_out(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    domain = (f"drawn=folder:{trained / 'drawn'}",)
    wish = _wish(trained / "pets", domains=domain, corruption="none", out=tmp_path / "r")
    robustness_command(wish, dry_run=False, form="table")
    said = capsys.readouterr().out
    found, outcome = _found(tmp_path / "r"), json.loads((trained / "pets" / "outcome.json").read_text())
    assert [(each["split"], each["images"]) for each in found["sets"]] == [("minival", 6), ("all", 21)]
    assert as_measured(found).clean.mean() == pytest.approx(outcome["accuracy"])
    assert "is the minival" in said or "are the minival" in said
    assert "drawn" in said and "corruption" not in said.split("wrote")[0].split("drawn")[1]
    assert not (tmp_path / "r" / "figures").exists()


def test_grey_and_sixteen_bit_images_are_measured(trained: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for index in range(3):
            noise = np.random.default_rng(index).integers(0, 2**16, (20, 20)).astype(np.uint16)
            Image.fromarray(noise).save(tmp_path / "grey" / name / f"{index}-16.png")
            Image.fromarray((noise >> 8).astype(np.uint8)).save(tmp_path / "grey" / name / f"{index}-8.png")
    wish = _wish(trained / "pets", split="all", overrides={"data.source": f"folder:{tmp_path / 'grey'}"},
                 out=tmp_path / "r", severity="3")  # fmt: skip
    robustness_command(wish, dry_run=False, form="table")
    right = as_measured(_found(tmp_path / "r"))
    assert right.clean.shape == (1, 12) and not right.domains


def test_a_dry_run_says_the_price_and_writes_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    domains = (f"drawn=folder:{trained / 'drawn'}",)
    wish = _wish(trained / "pets", domains=domains, severity="1,3", out=tmp_path / "r")
    robustness_command(wish, dry_run=True, form="table")
    assert "6 images · drawn 21 images · 11 conditions, 1 network · about 0:0" in capsys.readouterr().out
    assert not (tmp_path / "r").exists()


def test_mistakes_are_one_line_that_says_what_to_do(trained: Path, tmp_path: Path) -> None:
    one, tiny, two = trained / "one", trained / "tiny.yaml", trained / "two" / "weights.safetensors"
    photos = {"data.source": f"folder:{trained / 'photos'}"}
    assert "each of 2 networks without a folder of their own, in their order, got '1 file'" in _complaint(
        _wish(tiny, "resnet18", weights=(two,))
    )
    assert "one for each of 0 networks without a folder" in _complaint(_wish(one, weights=(two,)))
    assert "is no trained network, but holds some; name one: " in _complaint(_wish(trained))
    assert "no such folder: " in _complaint(_wish(trained / "none"))
    assert "no weights: there is no file" in _complaint(_wish(tiny, weights=(tmp_path / "none.pt",)))
    assert "trained on 12 classes, and photos has 2" in _complaint(_wish(one, overrides=photos))
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(two), bare)
    assert "bare.safetensors has a classifier of 12 classes, and the images have 2" in _complaint(
        _wish(tiny, weights=(bare,), overrides=photos)
    )
    assert "fits no layer" in _complaint(_wish("mobilenet_v2", weights=(bare,), overrides={"train.batch_size": 4}))
    weights = load_file(two)
    torn = {name: value for name, value in weights.items() if not name.startswith("features.1")}
    assert len(torn) < len(weights)
    save_file(torn, bare)
    assert "bare.safetensors has no weights for" in _complaint(_wish(tiny, weights=(bare,)))
    assert "got 'fog'" in _complaint(_wish(one, corruption="fog"))
    assert "did you mean contrast?" in _complaint(_wish(one, corruption="contrst"))
    assert "numbers from 1 to 5" in _complaint(_wish(one, severity="0"))
    assert "--levels: expected imagenet-c, cifar-c" in _complaint(_wish(one, levels="mnist-c"))
    assert "some corruption, or another set" in _complaint(_wish(one, corruption="none"))
    assert "between 0 and 1" in _complaint(_wish(one, confidence=95))
    assert "--images 5 leaves some of 12 classes" in _complaint(_wish(one, images=5))
    assert "no validation images: --split minival or all" in _complaint(_wish(trained / "pets", split="val"))
    assert "NAME=SOURCE" in _complaint(_wish(one, domains=("sketch",)))
    assert "the images of --data itself" in _complaint(_wish(one, domains=("again=embedded",)))
    drawn = f"folder:{trained / 'drawn'}"
    assert "its classes are not those of embedded: " in _complaint(_wish(one, domains=(f"x={drawn}",)))
    same = (f"x={drawn}", f"x={drawn}")
    assert "a name of its own" in _complaint(_wish(trained / "pets", domains=same))


def test_classes_in_another_order_are_refused(trained: Path, tmp_path: Path) -> None:
    """As a folder's classes are in the order of their names, another order comes from another program's file."""
    shutil.copytree(trained / "pets", tmp_path / "pets")
    outcome = json.loads((tmp_path / "pets" / "outcome.json").read_text())
    outcome["environment"]["data"]["class_names"].reverse()
    (tmp_path / "pets" / "outcome.json").write_text(json.dumps(outcome))
    assert "in another order" in _complaint(_wish(tmp_path / "pets"))


def test_a_run_that_kept_weights_stands_for_all_of_them(trained: Path, tmp_path: Path) -> None:
    """In the layout that `search.weights_index` writes, as a search with --keep-weights leaves it."""
    rows = []
    for number, name in enumerate(("one", "two")):
        (tmp_path / "run" / FOLDER).mkdir(parents=True, exist_ok=True)
        shutil.copy(trained / name / "weights.safetensors", tmp_path / "run" / FOLDER / f"{name}.safetensors")
        shutil.copy(trained / name / "spec.yaml", tmp_path / "run" / FOLDER / f"{name}.yaml")
        rows.append(
            KeptWeights(network=name, alpha=1, beta=1, gamma=1, seed=number, accuracy=0.5, resolution=16,
                        file=f"{name}.safetensors", spec=f"{name}.yaml", label=f"row {name}")
        )  # fmt: skip
    classes = robustness_job(_wish(trained / "one")).clean.source.classes
    kept = Kept(num_classes=12, classes=classes, eval_crop=1.0, weights=tuple(rows))
    write_kept(tmp_path / "run", kept)
    wish = _wish(tmp_path / "run", images=24, severity="5", out=tmp_path / "r")
    robustness_command(wish, dry_run=False, form="table")
    assert as_measured(_found(tmp_path / "r")).networks == ("row one", "row two")
    write_kept(tmp_path / "run", kept.model_copy(update={"eval_crop": 0.5}))
    assert "were measured with another share" in " ".join(robustness_job(wish).remarks)
    write_kept(tmp_path / "run", kept.model_copy(update={"classes": ("a", "b"), "num_classes": 2}))
    assert "row one was trained on 2 classes, and embedded has 12" in _complaint(wish)


def test_a_users_own_network_and_weights_that_others_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine_robust.py").write_text(MINE.format(width=8))
    make_folder(tmp_path / "five", dict.fromkeys("abcde", 4), split=None)
    import importlib.util

    spec = importlib.util.spec_from_file_location("theirs", tmp_path / "mine_robust.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.save(
        {"state_dict": {f"module.{k}": v for k, v in module.build_net().state_dict().items()}}, tmp_path / "w.pt"
    )
    wish = _wish(
        f"{tmp_path}/mine_robust.py:build_net", weights=(tmp_path / "w.pt",), resolution=24, split="all",
        overrides={"data.source": f"folder:{tmp_path / 'five'}"}, severity="5", out=tmp_path / "r",
    )  # fmt: skip
    robustness_command(wish, dry_run=False, form="table")
    said = capsys.readouterr().out
    assert "nothing says whether the weights were trained so" in said and "these are all images of the set" in said
    assert as_measured(_found(tmp_path / "r")).clean.shape == (1, 20)


def test_every_network_sees_images_normalised_as_it_was_trained(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "one", tmp_path / "half")
    recipe = yaml.safe_load((tmp_path / "half" / "recipe.yaml").read_text())
    recipe["data"] |= {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    (tmp_path / "half" / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for order in (("half", "one"), ("one", "half")):
        folders = [tmp_path / name if name == "half" else trained / name for name in order]
        job = robustness_job(_wish(*folders, images=12))
        means = {n.weights.parent.name: way.mean for n, way in zip(job.networks, job.normalisations, strict=True)}
        assert means == {"half": (0.5, 0.5, 0.5), "one": MEAN}
        assert any("half: images are normalised by mean 0.5 and deviation 0.25" in words for words in job.remarks)
    asked = robustness_job(_wish(trained / "one", images=12, overrides={"data.mean": [0.1] * 3, "data.std": [0.2] * 3}))
    assert asked.normalisations[0].std == (0.2, 0.2, 0.2)


def test_at_eighty_columns_no_number_is_broken(cli: Cli, trained: Path) -> None:
    done = cli("robustness", str(trained / "one"), str(trained / "two"), "--images", "24", "--severity", "1,2,3,4,5",
               "--device", "cpu", "--corruption", "jpeg_compression,contrast")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    head = lines.index(next(line for line in lines if line.startswith("corruption")))
    rows = lines[head : lines.index("", head)]
    assert len(rows) == 7 and all(len(line) <= 80 for line in rows)
    assert len({line.rstrip().rfind(" ") for line in rows[1:5]}) == 1, "columns are straight"
    assert "wrote   results/robustness-" in done.stdout
