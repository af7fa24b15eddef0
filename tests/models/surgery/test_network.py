# mypy: disable-error-code="union-attr, index, unused-ignore"
"""Surgery against what is known from outside: the specs, torchvision, timm, and how networks initialise themselves."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from scalesearch.errors import BaselineError, SurgeryError
from scalesearch.image_size import image_shape
from scalesearch.models.catalogue import build_model, builtin, open_baseline
from scalesearch.models.checks import CHECKED, check
from scalesearch.models.fvcore_count import count
from scalesearch.models.spec_baseline import SpecBaseline
from scalesearch.models.surgery.growth_exponents import growth_law
from scalesearch.models.surgery.loading import load_module
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity
from scalesearch.models.surgery.scale import scale_module
from scalesearch.scaling.compound import PAPER, Multipliers, Rounding, scale_spec
from scalesearch.scaling.cost import closed_form
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec_files import dump_spec, load_spec
from tests.support import surgery_coverage as coverage
from tests.support.small import MINE, TESTS

FAMILIES = ("efficientnet_b0", "mobilenet_v1", "mobilenet_v2", "resnet50")
TWINS = {"efficientnet_b0": "efficientnet_b0", "mobilenet_v2": "mobilenet_v2", "resnet50": "resnet50"}


def _shapes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in model.parameters()]


def _meta(spec: object) -> nn.Module:
    with torch.device("meta"):
        return build_model(spec)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FAMILIES)
def test_surgery_and_spec_agree_layer_by_layer(name: str) -> None:
    """The same widths and repeats for the same multipliers, squeeze-excitation's included: each proves the other."""
    spec = builtin(name)
    network = Network(build_model(spec), spec.resolution)
    for depth, width, scale in ((1.2, 1.1, 1.15), (1, 1.3, 1), (2, 1.6, 1)):
        wanted = scale_spec(spec, Multipliers(depth, width, scale))
        got = network.scaled(depth, width, network.nearest(wanted.resolution))
        assert _shapes(got.skeleton()) == _shapes(_meta(wanted))
        assert (got.cost.macs, got.cost.params) == (closed_form(wanted).macs, closed_form(wanted).params)


@pytest.mark.parametrize("name", TWINS)
def test_torchvisions_own_network_scales_as_our_spec_of_it_does(name: str) -> None:
    spec = builtin(name)
    network = Network(torchvision.models.get_model(TWINS[name], weights=None), 224)
    wanted = scale_spec(spec, Multipliers(1.44, 1.21, 1))
    got = network.scaled(1.44, 1.21)
    assert sorted(_shapes(got.skeleton())) == sorted(_shapes(_meta(wanted)))


def test_mobilenet_v2s_head_is_the_known_exception_below_one() -> None:
    """MobileNetV2's last convolution never shrinks: its code says so, its graph does not."""
    spec = builtin("mobilenet_v2")
    network = Network(build_model(spec), 224)
    assert closed_form(scale_spec(spec, Multipliers(1, 0.75, 1))).params > network.scaled(1, 0.75).cost.params


TORCHVISION_SAMPLE = ("googlenet", "shufflenet_v2_x0_5", "squeezenet1_1")
TIMM_SAMPLE = ("mobilenetv3_small_050", "skresnet18", "ecaresnet26t")


@pytest.mark.parametrize(
    "source", [f"torchvision:{n}" for n in TORCHVISION_SAMPLE] + [f"timm:{n}" for n in TIMM_SAMPLE]
)
def test_a_sample_of_networks_scales_with_every_proof(source: str) -> None:
    done = check(source, Rounding(), law=False)
    assert done.holds, [trial.refused for trial in done.trials]
    base, wider = done.trials[0].cost, done.trials[2].cost
    assert base is not None
    assert wider is not None
    assert 1.9 < wider.macs / base.macs < 2.5, "×1.5 of the width is about ×2.25 of the MACs"


LARGE = re.compile(
    r"efficientnet_(b[3-7]|v2_[ml])|densenet1[6-9]|densenet2|convnext_[sbl]|regnet_._(3_2|8|16|32|128)gf|(101|152)|vgg1[369]"
)
"""Torchvision's larger siblings: the table in results/coverage has them, the tests do without."""

LONG_TORCHVISION = [name for name in coverage.names("torchvision") if not LARGE.search(name)]

LONG_TIMM = (
    "resnet10t", "resnetv2_18", "resnetblur18", "seresnext26d_32x4d", "gcresnext26ts", "res2next50", "resnest14d",
    "dla34", "hrnet_w18_small", "ese_vovnet19b_dw", "darknet17", "cs3darknet_s", "regnetz_b16", "gernet_s",
    "nf_regnet_b0", "eca_nfnet_l0", "convnext_atto", "inception_next_atto", "efficientnet_lite0", "mixnet_s",
    "mobilenetv4_conv_small", "fbnetc_100", "tinynet_e", "lcnet_035", "rexnet_100", "repvgg_a0", "mobileone_s0",
    "selecsls42b", "starnet_s050", "poolformer_s12", "focalnet_tiny_srf", "rdnet_tiny",
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("source", LONG_TORCHVISION + [f"timm:{name}" for name in LONG_TIMM])
def test_every_network_scales_with_every_proof(source: str) -> None:
    done = check(source, Rounding(), law=False)
    assert done.holds, [trial.refused for trial in done.trials]
    if not done.network.stages:
        assert {trial.multipliers.depth for trial in done.trials} == {1}, "a depth that does nothing is not tried"


@pytest.mark.parametrize("name", ["botnet26t_256", "halonet26t", "fastvit_sa12"])
def test_networks_with_attention_are_refused_by_the_layers_name(name: str) -> None:
    with pytest.raises(SurgeryError, match=r"\w+: attention"):
        check(f"timm:{name}", Rounding())


def test_weights_made_for_each_image_are_refused_in_words() -> None:
    with pytest.raises(SurgeryError, match=r"conv_pw: it makes a convolution's weights for each image"):
        check("timm:tf_efficientnet_cc_b0_4e", Rounding())


def test_the_measured_macs_are_fvcores() -> None:
    network = Network(torchvision.models.mobilenet_v3_small(weights=None), 224)
    scaled = network.scaled(1.3, 1.2, 96, num_classes=10)
    assert count(scaled.build(), 96).macs == scaled.cost.macs
    assert scaled.cost.params == sum(p.numel() for p in scaled.build().parameters())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "convnext_tiny"])
def test_a_copy_starts_as_its_original_does(name: str) -> None:
    """Spread of every weight by the original's own scheme at the new fans; constants stay constants."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None)
    scaled = scale_module(model, width=2)
    for (_, old), (label, new) in zip(model.named_parameters(), scaled.named_parameters(), strict=True):
        assert new.isfinite().all()
        if float(old.detach().std()) == 0 or old.numel() == 1:
            assert torch.equal(new, old.flatten()[0].expand_as(new)), label
        elif old.ndim == 4 and old.numel() > 2000:
            fan = {"resnet18": 0, "mobilenet_v2": 0}.get(name)
            wanted = float(old.detach().std())
            if fan is not None:  # kaiming, fan out
                wanted *= math.sqrt(old.shape[0] / new.shape[0])
            assert float(new.detach().std()) == pytest.approx(wanted, rel=0.05), label


def test_trained_weights_fall_back_on_kaimings() -> None:
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Flatten(), nn.LazyLinear(10))
    model(torch.zeros(2, 3, 8, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.37 + 0.2)
    scaled = scale_module(model, width=2, resolution=8)
    assert float(scaled[0].weight.detach().std()) == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.05)
    assert torch.equal(scaled[1].weight, torch.ones(128))


def test_the_original_is_left_alone() -> None:
    model = torchvision.models.resnet18(weights=None)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    scale_module(model, depth=2, width=1.5)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert type(model.layer1[0].conv1.in_channels) is int
    assert not model._forward_hooks


def test_the_account_reads_like_one() -> None:
    scaled = scale_module(torchvision.models.resnet18(weights=None), depth=1.5, width=1.1)
    text = str(scaled.account)
    assert "layer1.0–1: 2 → 3 blocks" in text
    assert "layer1.2.conv1: 72 → 72 (new)" in text
    assert "conv1: 3 → 72 (was 3 → 64)" in text
    assert "fc: its outputs stay: the classes" in text


def test_the_growth_law_is_near_its_ideal() -> None:
    law = growth_law(Network(build_model(builtin("resnet50")), 224))
    assert law.width == pytest.approx(2, abs=0.1)
    assert law.resolution == pytest.approx(2, abs=0.1)
    assert law.depth is not None
    assert 0.9 < law.depth < 1.2


def test_a_network_with_nothing_to_repeat_says_so() -> None:
    baseline = open_baseline(f"{TESTS}/support/families/classic.py:AllDifferent", resolution=32)
    assert "depth is fixed" in baseline.fixed["alpha"]
    assert set(baseline.fixed) == {"alpha"}


def test_groups_or_their_width_stay() -> None:
    model = torchvision.models.resnext50_32x4d(weights=None)
    more = Network(model, 224).scaled(width=1.5).skeleton().layer1[0].conv2
    wider = Network(model, 224, keep_groups=True).scaled(width=1.5).skeleton().layer1[0].conv2
    assert (more.groups, more.weight.shape[1]) == (48, 4)
    assert (wider.groups, wider.weight.shape[1]) == (32, 6)


def test_surgery_of_resnet50_takes_less_than_a_second() -> None:
    model = torchvision.models.resnet50(weights=None)
    Network(model, 224).scaled()  # imports
    start = time.perf_counter()
    Network(model, 224).scaled(1, 1.2).skeleton()
    assert time.perf_counter() - start < 3, "measured well below one second on a quiet machine"


@pytest.mark.long
def test_a_build_never_holds_two_copies_of_the_weights(tmp_path: Path) -> None:
    """ResNet-152 twice as wide has 237 million weights, 0.95 GB; a second copy would show in the peak."""
    code = """
import resource, torch
from scalesearch.models.catalogue import open_baseline
from scalesearch.scaling.compound import Multipliers
baseline = open_baseline("torchvision:resnet152")
model = baseline.scaled(Multipliers(1, 2, 1))
cost = model.cost(1000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
built = model.build(1000)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024 / (4 * cost.params))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert float(done.stdout) < 1.25


@pytest.mark.long
def test_a_hundred_candidates_are_planned_within_thirty_seconds(tmp_path: Path) -> None:
    start = time.perf_counter()
    command = [sys.executable, "-m", "scalesearch", "candidates", "--baseline", "torchvision:resnet50", "--json"]
    subprocess.run(command, capture_output=True, check=True, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert time.perf_counter() - start < 40, "measured at about 18 s on a quiet machine"


def test_a_scaled_module_comes_back_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(width=16))
    member = open_baseline(f"{file}:build_net").member(PAPER, 2)
    path = tmp_path / "net.yaml"
    path.write_text(dump_spec(member.spec))
    spec = load_spec(path)
    assert isinstance(spec, ModuleSpec)
    assert spec == member.spec
    assert spec.fingerprint == member.fingerprint
    built = build_model(spec, 7)
    assert built(torch.zeros(2, *image_shape(3, spec.resolution))).shape == (2, 7)
    assert spec.dropout is not None
    assert built.drop.p == pytest.approx(spec.dropout)
    again = open_baseline(str(path))
    assert again.scaled(Multipliers(1, 1, 1)).fingerprint == spec.model_copy(update={"dropout": None}).fingerprint


def test_another_version_that_gives_another_network_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "later.py"
    file.write_text(MINE.format(width=16))
    path = tmp_path / "net.yaml"
    path.write_text(dump_spec(open_baseline(f"{file}:build_net").member(PAPER, 1).spec))
    file.write_text(MINE.format(width=32))
    code = f"import scalesearch; scalesearch.build_model(scalesearch.load_spec({str(path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "another network than with torch" in done.stderr
    assert "stem was 3 → 16 3×3, is 3 → 32 3×3" in done.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("timm:mobilenetv3_smal_050", "Did you mean mobilenetv3_small_050"),
        ("torchvision:resnet19", "Did you mean resnet1"),
        ("nowhere.py:build", "no file at nowhere.py"),
        ("{file}:build_ne", "Did you mean build_net"),
        ("{file}:broken", "is no function or class"),
        ("{file}:Block", "fails: TypeError"),
        ("no_such_package.nets:Net", "cannot be imported"),
        ("torch.nn:Identity", "no convolution or linear layer"),
    ],
)
def test_a_source_that_gives_no_network_is_one_line(source: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "given.py"
    file.write_text(MINE.format(width=16))
    with pytest.raises((BaselineError, SurgeryError), match=message):
        open_baseline(source.format(file=file))


def test_timm_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BaselineError, match=r"pip install 'scalesearch\[timm\]'"):
        open_baseline("timm:resnet18.never_seen")


def test_auxiliary_heads_are_scaled_and_train() -> None:
    model = torchvision.models.googlenet(weights=None, init_weights=True)
    network = Network(model, 224)
    prove_identity(network, model)
    scaled = network.scaled(1, 1.25, num_classes=6)
    prove(scaled)
    outputs = scaled.build().train()(torch.randn(2, 3, 224, 224))
    assert [tuple(each.shape) for each in outputs] == [(2, 6)] * 3


def test_check_tries_what_the_issue_of_proof_asks_for() -> None:
    """As it is, the paper's, wider, deeper, smaller."""
    assert [(m.depth, m.width, m.resolution) for m in CHECKED] == [
        (1, 1, 1),
        (1.2, 1.1, 1.15),
        (1, 1.5, 1),
        (2, 1, 1),
        (0.75, 0.75, 0.9),
    ]
    assert SpecBaseline(builtin("resnet18")).fixed == {}


def test_how_a_network_starts_is_read_alike_in_every_process(tmp_path: Path) -> None:
    """A small layer's weights may look like one scheme or another: always the same ones have to be looked at."""
    (tmp_path / "mine.py").write_text(MINE.format(width=8))
    source = f"{tmp_path / 'mine.py'}:build_net"
    torch.manual_seed(1)
    first = load_module(source).module.state_dict()
    torch.manual_seed(2)
    again = load_module(source).module.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    drawn = torch.rand(1)
    torch.manual_seed(2)
    assert torch.equal(drawn, torch.rand(1)), "nobody else's generator has moved"
