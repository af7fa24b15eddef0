"""Networks at the size they were made for: images per second of training, share of the peak, eager and compiled."""

from __future__ import annotations

from scalesearch.models.catalogue import open_baseline
from scalesearch.models.protocols import ScaledModel
from scalesearch.scaling.compound import PUBLISHED, Multipliers
from scalesearch.training.benchmark import bench
from scalesearch.training.benchmark_settings import BenchSettings, Measurement
from tests.benchmarks.common import pick, write_page

A100 = {
    "efficientnet_b0": "2,489; 3,454",
    "efficientnet_b4": "331; 470",
    "resnet50": "2,470; 3,411",
}
"""Training, images per second, on one A100 with AMP, as NVIDIA's DeepLearningExamples print them: PyTorch; TensorFlow 2
(for ResNet-50, MXNet)."""
NETWORKS = ("efficientnet_b0", "mobilenet_v2", "resnet50")
BATCH = {"cuda": 128, "cpu": 8}


def native(compiled: bool, seconds: float, rounds: int) -> None:
    """Measure them in turns, once as written and once compiled, and write the page."""
    device = pick()
    settings = BenchSettings(
        batch_size=BATCH[device.type],
        seconds=seconds,
        rounds=rounds,
        precision="bf16" if device.type == "cuda" else "fp32",
        training=True,
        device=device.type,
    )
    models, rows = _networks(), []
    eager = bench(models, settings, told=print)
    fast = bench(models, settings.model_copy(update={"compile": True}), told=print) if compiled else []
    for number, plain in enumerate(eager):
        cells = [*_cells(plain), *(_cells(fast[number]) if compiled else ())]
        rows.append((plain.name, plain.resolution, plain.batch_size, *cells, A100.get(plain.name, "")))
    both = ("compiled, images/s", "compiled, of peak") if compiled else ()
    write_page(
        "native" if device.type == "cpu" else "native-gpu",
        "Training at the native size",
        ("network", "px", "batch", "images/s", "of peak", *both, "A100, published"),
        rows,
        f"A step of SGD on images that are on the device ({settings.precision}), networks in turns, {rounds} rounds; "
        "share of the fastest matrix product measured here, at two FLOPs per multiply-add and three times the forward "
        "pass. Published: NVIDIA's DeepLearningExamples on one A100 with AMP, PyTorch and (ResNet-50: MXNet) "
        "TensorFlow 2; another machine, another loop.",
        "native" + " --compiled" * compiled + f" --seconds {seconds:g} --rounds {rounds}",
    )


def _networks() -> dict[str, ScaledModel]:
    as_made = {name: open_baseline(name).scaled(Multipliers(1, 1, 1)) for name in NETWORKS}
    return as_made | {"efficientnet_b4": open_baseline(NETWORKS[0]).scaled(PUBLISHED[NETWORKS[0]][4].multipliers)}


def _cells(measured: Measurement) -> tuple[str, str]:
    speed, peak = measured.training_images_per_second, measured.matrix_peak
    if speed is None or peak is None:
        return measured.failures.get("training", measured.failures.get("build", "failed")), ""
    return f"{speed:,.3g}", f"{6 * measured.cost.macs * speed / peak:.0%}"
