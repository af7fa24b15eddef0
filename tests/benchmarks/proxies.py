"""What costs nothing to measure, beside what training measured: how far does it order candidates in the same way?

Parameters, MACs, activations, the latency of one image, and two proxies of architecture search that need no training:
SynFlow (Tanaka et al. 2020, "Pruning neural networks without any data by iteratively conserving synaptic flow", §6; as
a score Abdelfattah et al. 2021, "Zero-Cost Proxies for Lightweight NAS") and NASWOT (Mellor et al. 2021, "Neural
Architecture Search without Training", §3).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.data.batches import Normaliser, evaluation_views
from scalesearch.data.images import load_images
from scalesearch.data.sources import open_source
from scalesearch.models.protocols import ScaledModel
from scalesearch.ranking.rank_correlation import rank_agreement
from scalesearch.recipe import load_recipe
from scalesearch.runtime.seeding import seed_all
from scalesearch.runtime.timing import seconds_of
from scalesearch.scaling.spec_files import load_spec
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from tests.benchmarks.common import write_page

CPU = torch.device("cpu")
BATCH, REPEATS = 64, 3
"""Images that NASWOT looks at, and how many initialisations the proxies are means over."""
LATENCIES = 15
"""Timed passes of one image, of which the median is taken."""

Measure = Callable[[ScaledModel, int, Tensor], float]


def synflow(model: nn.Module, resolution: int) -> float:
    """log of Σ |θ·∂R/∂θ|, R the sum of the outputs for an image of ones, with all weights made positive."""
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    model(torch.ones(1, 3, resolution, resolution, dtype=torch.double)).sum().backward()
    weights = [p for p in model.parameters() if p.grad is not None and p.ndim > 1]
    total = sum(float((p.detach() * p.grad).abs().sum()) for p in weights if p.grad is not None)
    return float(torch.tensor(total, dtype=torch.double).log())


def naswot(model: nn.Module, images: Tensor) -> float:
    """log |det K|, K counting, for each pair of images, the ReLUs that are on for both or off for both."""
    codes: list[Tensor] = []

    def note(_: nn.Module, __: object, output: Tensor) -> None:
        codes.append((output.flatten(1) > 0).double())

    handles = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.ReLU | nn.ReLU6 | nn.SiLU)]
    with torch.no_grad():
        model.train()(images)
    for handle in handles:
        handle.remove()
    kernel = torch.zeros(len(images), len(images), dtype=torch.double)
    for code in codes:
        kernel += code @ code.T + (1 - code) @ (1 - code).T
    return float(torch.linalg.slogdet(kernel).logabsdet)


def _over_inits(score: Callable[[nn.Module], float], model: ScaledModel, classes: int) -> float:
    values = []
    for seed in range(REPEATS):
        seed_all(seed)
        values.append(score(model.build(classes)))
    return statistics.fmean(values)


def _side(model: ScaledModel) -> int:
    assert isinstance(model.resolution, int)
    return model.resolution


def _latency(model: ScaledModel, classes: int, _: Tensor) -> float:
    network, image = model.build(classes).eval(), torch.randn(1, 3, _side(model), _side(model))
    with torch.inference_mode():
        for _warm_up in range(3):
            network(image)
        return -statistics.median(seconds_of(lambda: network(image), CPU) for _ in range(LATENCIES))


MEASURES: dict[str, Measure] = {
    "parameters": lambda model, classes, _: model.cost(classes).params,
    "MACs": lambda model, classes, _: model.cost(classes).macs,
    "activations": lambda model, classes, _: model.cost(classes).activations,
    "resolution": lambda model, _, __: _side(model),
    "latency, one image (shorter first)": _latency,
    "SynFlow": lambda model, classes, _: _over_inits(lambda m: synflow(m, _side(model)), model, classes),
    "NASWOT": lambda model, classes, images: _over_inits(lambda m: naswot(m, images), model, classes),
}


def _images(resolution: int) -> Tensor:
    """Photographs of the embedded set at a network's size, as training sees them."""
    settings = load_recipe("quick").data
    views = evaluation_views(load_images(open_source(settings), settings, 64).train.images[:BATCH], resolution, 1.0)
    return Normaliser(CPU, channels_last=False)(views)


def _column(run: Path) -> dict[str, str]:
    """Kendall's τ of every proxy with the candidates' mean accuracies in one run."""
    recipe = load_recipe(str(run / "recipe.yaml"))
    baseline = resolve_baseline(recipe, load_spec(run / "baseline.yaml"))
    complete = [r for r in Ledger(run / JOURNAL, run.name, create=False).records() if r.state == "complete"]
    accuracies: dict[str, dict[int, float]] = {}
    for r in complete:
        accuracies.setdefault(r.task.fingerprint, {})[r.task.seed] = float((r.outcome or {})["accuracy"])
    coefficients = {r.task.fingerprint: r.task.coefficients for r in complete}
    names = sorted(accuracies)
    models = [baseline.model(coefficients[name]) for name in names]
    changed = [name for name, model in zip(names, models, strict=True) if model.fingerprint != name]
    if changed:
        raise SystemExit(f"{run}: {len(changed)} networks are not what they were when they were trained")
    means = [statistics.fmean(accuracies[name].values()) for name in names]
    found = {}
    for proxy, measure in MEASURES.items():
        values = [float(measure(model, 10, _images(_side(model)))) for model in models]
        found[proxy] = _told(values, means)
    first = min(seed for by_seed in accuracies.values() for seed in by_seed)
    if all(len(by_seed) > 1 and first in by_seed for by_seed in accuracies.values()):
        others = [statistics.fmean(a for s, a in accuracies[name].items() if s != first) for name in names]
        found["one training of each, with the other seeds' mean"] = _told([accuracies[n][first] for n in names], others)
    return found


def _told(values: Sequence[float], means: Sequence[float]) -> str:
    tau = rank_agreement(values, means).tau
    return f"{tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f})" if tau.value == tau.value else "—"


def proxies(runs: Sequence[Path]) -> None:
    """Measure, print, and write the page."""
    torch.set_num_threads(1)
    columns = [_column(run) for run in runs]
    labels = [run.name if run.parent.name in ("results", "banks") else f"{run.parent.name}, {run.name}" for run in runs]
    order = list(dict.fromkeys(name for column in columns for name in column))
    rows = [[name, *(column.get(name, "—") for column in columns)] for name in order]
    notes = (
        "Kendall's τ of each proxy with the mean accuracy over seeds, and its 95 % interval over resampled candidates. "
        f"SynFlow and NASWOT are means over {REPEATS} initialisations, NASWOT on {BATCH} photographs; latency is a "
        "median on one thread. Last row: what one training of every candidate is worth."
    )
    title = "What costs nothing to measure, beside trained accuracies"
    write_page("proxies", title, ("proxy", *labels), rows, notes, f"proxies {' '.join(map(str, runs))}", CPU)
