"""Files for other programs: checked against the module, whole or not there, and what is missing in one line."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from scalesearch.errors import BaselineError, ScaleSearchError
from scalesearch.models.export import FORMATS, Agreement, export_network
from scalesearch.models.logits import logits_alone, maps_alone
from scalesearch.models.weights import load_whole


class Several(nn.Module):
    """Gives out features beside the logits of five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.conv(images).mean((2, 3))
        return {"features": features, "logits": self.head(features)}


INSTALLED = {"pt2": "torch", "onnx": "onnxscript", "executorch": "executorch", "litert": "litert_torch"}


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_gives_the_logits_that_the_network_gives(form: str, tmp_path: Path) -> None:
    if find_spec(INSTALLED[form]) is None:
        with pytest.raises(ScaleSearchError, match=r"pip install 'scalesearch\["):
            FORMATS[form].needs()
        return
    network = logits_alone(Several(), (3, 16, 16), 5, "several")
    file = tmp_path / "net"
    done = export_network(network, (3, 16, 16), file, form)
    assert done.holds and done.largest > 0
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        (logits,) = FORMATS[form].run(file, images)
        assert logits == pytest.approx(network(images).numpy(), abs=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_small_logits_do_not_hide_a_wrong_file() -> None:
    """Fresh networks give logits of 1e-4: what is far from them is wrong however small it is."""
    assert Agreement(1e-10, 8e-5).holds
    assert not Agreement(1e-5, 8e-5).holds
    assert not Agreement(float("nan"), 1.0).holds


def test_a_network_that_cannot_be_exported_leaves_nothing(tmp_path: Path) -> None:
    class Counting(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)) * (2 if images.sum() > 0 else 1)

    with pytest.raises(ScaleSearchError, match="pt2 cannot hold this network: "):
        export_network(Counting(), (3, 8, 8), tmp_path / "net.pt2", "pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_network_without_the_classes_is_refused() -> None:
    with pytest.raises(ScaleSearchError, match=r"no logits of 7 classes, but \(2, 4\), \(2, 5\)"):
        logits_alone(Several(), (3, 16, 16), 7, "several")


def test_weights_that_leave_a_layer_untrained_are_refused() -> None:
    theirs, ours = (
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 9)),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(4, 5)),
    )
    with pytest.raises(
        BaselineError, match=r"w.pt is not of this very .* 1.weight is \(9, 4\) there and \(5, 4\) here"
    ):
        load_whole(ours, theirs.state_dict(), "w.pt")
    assert load_whole(theirs, theirs.state_dict(), "w.pt").new == ()


def test_a_backbones_file_gives_its_maps(tmp_path: Path) -> None:
    """As many as the backbone gives out, in its order."""
    body = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1))
    backbone = maps_alone(create_feature_extractor(body, {"1": "fine", "2": "coarse"}))
    assert export_network(backbone, (3, 16, 16), tmp_path / "maps.pt2", "pt2").holds
    maps = FORMATS["pt2"].run(tmp_path / "maps.pt2", torch.zeros(1, 3, 16, 16))
    assert [tuple(each.shape) for each in maps] == [(1, 4, 8, 8), (1, 6, 4, 4)]
