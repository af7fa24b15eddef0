"""INT8 files: what the numbers in them are, what stays in float, which processor gets seven bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scalesearch.errors import RecipeError, ScaleSearchError
from scalesearch.models.int8 import Calibration, Int8, operators, reduced_range, save_int8
from scalesearch.models.int8_blame import hurt_by_part
from scalesearch.models.onnx_file import OnnxNetwork, save_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

SIDE = 8


class Gated(nn.Module):
    """Two convolutions, one of them behind a gate, and a classifier of three."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gate = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images)
        logits: Tensor = self.head((features * self.gate(features).sigmoid()).mean((2, 3)))
        return logits


Batches = list[Callable[[], NDArray[np.float32]]]


@pytest.fixture(scope="module")
def batches() -> Batches:
    made = [np.random.default_rng(n).standard_normal((4, 3, SIDE, SIDE), np.float32) for n in range(3)]
    return [lambda each=each: each for each in made]  # type: ignore[misc]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("float") / "float.onnx"
    save_onnx(Gated().eval(), torch.randn(2, 3, SIDE, SIDE), file)
    return file


def write(plain: Path, batches: Batches, folder: Path, *, reduce: bool = False, **chosen: object) -> tuple[Int8, Path]:
    target = folder / "int8.onnx"
    done = save_int8(plain, target, batches, Calibration(**chosen), reduce_range=reduce)  # type: ignore[arg-type]
    return done, target


@pytest.mark.parametrize(("reduce", "largest"), [(False, 127), (True, 64)])
def test_a_weight_is_the_nearest_multiple_of_its_channels_step(
    plain: Path, batches: Batches, tmp_path: Path, reduce: bool, largest: int
) -> None:
    """Symmetric: the step is the channel's largest magnitude over 127, or over 64 with seven bits."""
    _, target = write(plain, batches, tmp_path, reduce=reduce)
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(str(plain)).graph.initializer}
    after = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(str(target)).graph.initializer}
    weight, quantised = before["first.weight"], after["first.weight_quantized"]
    assert quantised.dtype == np.int8
    assert np.abs(quantised).max() <= largest
    steps = np.abs(weight).max((1, 2, 3)) / largest
    assert after["first.weight_scale"] == pytest.approx(steps, rel=1e-3)
    assert np.abs(quantised * steps[:, None, None, None] - weight).max() <= 0.51 * steps.max()


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_every_method_gives_nearly_the_same_logits_on_plain_noise(
    plain: Path, batches: Batches, tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done, target = write(plain, batches, tmp_path, method=method)
    images = batches[0]()
    wanted, got = OnnxNetwork(plain)(images), OnnxNetwork(target)(images)
    assert np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()
    assert np.abs(got - wanted).max() > 0, "it is rounded"
    assert capsys.readouterr().out == "", "onnxruntime's calibrators print"
    assert done.in_int8["QLinearConv"] == 2


def test_it_takes_any_batch(plain: Path, batches: Batches, tmp_path: Path) -> None:
    _, target = write(plain, batches, tmp_path)
    images = batches[0]()
    whole = OnnxNetwork(target)(images)
    assert np.concatenate([OnnxNetwork(target)(images[i : i + 1]) for i in range(4)]) == pytest.approx(whole)


def test_a_layer_that_is_kept_is_counted_in_float(plain: Path, batches: Batches, tmp_path: Path) -> None:
    whole, _ = write(plain, batches, tmp_path)
    some, target = write(plain, batches, tmp_path, keep_float=("fir*",))
    assert some.in_int8["QLinearConv"] == whole.in_int8["QLinearConv"] - 1
    assert some.in_float["Conv"] == 1
    assert some.kept == ("first",) and some.idle == ()
    assert (some.in_int8, some.in_float) == operators(target)


def test_keeping_what_is_between_int8_layers_is_told_to_change_nothing(
    plain: Path, batches: Batches, tmp_path: Path
) -> None:
    whole, _ = write(plain, batches, tmp_path)
    for kind in ("Sigmoid", "ReduceMean"):
        some, _ = write(plain, batches, tmp_path, keep_float=(kind,))
        assert some.idle == some.kept != ()
        assert (some.in_int8, some.in_float) == (whole.in_int8, whole.in_float)


def test_a_pattern_that_fits_nothing_names_what_there_is(plain: Path, batches: Batches, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"--keep-float: expected a layer \(first, gate.*Sigmoid"):
        write(plain, batches, tmp_path, keep_float=("stem*",))
    with pytest.raises(ScaleSearchError, match="everything was kept in float"):
        write(plain, batches, tmp_path, keep_float=("*",))
    assert list(tmp_path.iterdir()) == []


def test_the_part_with_a_channel_far_louder_than_the_others_is_named(batches: Batches, tmp_path: Path) -> None:
    """The classes hang on channels that the loud one leaves less than one of 255 steps."""
    torch.manual_seed(0)
    network = Gated().eval()
    with torch.no_grad():
        network.first.weight[0] *= 5000
        network.gate.weight[:, 0] = 0
        network.head.weight[:, 0] = 0
        network.head.bias.zero_()
    save_onnx(network, torch.randn(2, 3, SIDE, SIDE), tmp_path / "float.onnx")
    _, target = write(tmp_path / "float.onnx", batches, tmp_path)
    (name, share), *others = hurt_by_part(tmp_path / "float.onnx", target, [make() for make in batches])
    assert name == "first"
    assert all(other < share for _, other in others)


def test_where_rounding_changes_no_class_no_part_is_named(plain: Path, batches: Batches, tmp_path: Path) -> None:
    _, target = write(plain, batches, tmp_path)
    images = [np.full((1, 3, SIDE, SIDE), 0.1, np.float32)]
    assert hurt_by_part(plain, target, images) == []


@pytest.mark.parametrize(
    ("wish", "flags", "machine", "reduced", "why"),
    [
        (None, "sse avx2 avx512f avx512_vnni", "x86_64", False, "avx512_vnni"),
        (None, "sse avx2 avx_vnni", "AMD64", False, "avx_vnni"),
        (None, "sse avx2 avx512f", "x86_64", True, "no VNNI"),
        (None, None, "x86_64", True, "does not say"),
        (None, None, "arm64", False, "arm64"),
        (True, "avx_vnni", "x86_64", True, "asked for"),
        (False, "sse", "x86_64", False, "asked for"),
    ],
)
def test_seven_bits_are_for_x86_without_vnni(
    wish: bool | None, flags: str | None, machine: str, reduced: bool, why: str
) -> None:
    found, reason = reduced_range(wish, flags, machine)
    assert found is reduced
    assert why in reason
