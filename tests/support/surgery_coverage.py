"""Which networks surgery scales: ``python -m tests.support.surgery_coverage timm --out results/coverage/timm.md``.
With ``--grow``, which can start larger with the function of the smaller network (`tests.support.grow_coverage`).

Every network is looked through, scaled at the five multipliers of `scalesearch.models.checks.CHECKED`, and each copy is
proved: it runs forward and backward, has the channels accounted for and the MACs that torch counts; at multipliers of
1 it computes what the original computes, bit for bit. The table says what was refused, and why.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

CONVOLUTIONAL, ATTENTION = (
    part.split("\n", 1)[1].split() for part in (Path(__file__).parent / "timm_families.txt").read_text().split("\n\n")
)
"""A small member of every ConvNet family of timm, and networks with attention, which are to be refused."""

TORCHVISION = (Path(__file__).parent / "torchvision_families.txt").read_text().split("\n", 1)[1].split()
"""One or two of every family of torchvision, to be grown: larger ones differ in numbers alone, and growing holds copies
of a network in double precision."""


@dataclass(frozen=True)
class Row:
    """What became of one network."""

    name: str
    verdict: str
    stages: str
    widths: str
    resolution: str
    law: str
    ratios: str
    why: str
    seconds: float


def look(name: str) -> Row:
    """Check one network; never raises."""
    from scalesearch.errors import ScaleSearchError
    from scalesearch.models.checks import CHECKED, check, depth_words, resolution_words
    from scalesearch.scaling.compound import Rounding

    start = time.perf_counter()
    try:
        done = check(name, Rounding())
    except ScaleSearchError as failure:
        return Row(name, "refused", "", "", "", "", "", str(failure), time.perf_counter() - start)
    except Exception as failure:
        return Row(name, "BROKEN", "", "", "", "", "", f"{type(failure).__name__}: {failure}", 0)
    network, base = done.network, done.trials[0].cost
    costs = {trial.multipliers: trial.cost for trial in done.trials}
    tried = [costs[multipliers.without(network.dead)] for multipliers in CHECKED[1:]]
    ratios = [f"{cost.macs / base.macs:.2f}" if cost and base else "✗" for cost in tried]
    why = [t.refused for t in done.trials if t.refused]
    why += [f"{stage} is not repeated: {reason}" for stage, reason in network.unrepeatable.items()]
    fixed = [reason for _, reason in network.fixed_widths if reason not in ("the classes", "a single channel")]
    why += [f"{fixed.count(reason)} widths stay: {reason}" for reason in dict.fromkeys(fixed)]
    depth = depth_words(network).partition(" of ")[2].removesuffix(" blocks") or "fixed"
    return Row(
        name,
        "scaled" if done.holds else "partly",
        depth,
        str(network.free),
        resolution_words(network).partition(" (")[0],
        str(done.law).removeprefix("MACs ∝ "),
        " ".join(ratios),
        "; ".join(map(str, why)),
        time.perf_counter() - start,
    )


def table(rows: Iterable[Row], title: str, versions: str) -> str:
    """The coverage as Markdown."""
    rows = list(rows)
    scaled = sum(row.verdict == "scaled" for row in rows)
    pure = [row for row in rows if row.name.partition(":")[2] not in ATTENTION]
    good = sum(row.verdict == "scaled" for row in pure)
    share = f"; {good} of {len(pure)} pure ConvNets are scaled ({good / len(pure):.1%})" if pure else ""
    lines = [
        f"# {title}",
        "",
        f"{versions}. {scaled} of {len(rows)} networks are scaled{share}.",
        "",
        "MACs are times the original's at depth, width, resolution (1.2, 1.1, 1.15), (1, 1.5, 1), (2, 1, 1) and "
        "(0.75, 0.75, 0.9); a multiplier that would do nothing (fixed depth, say) stays 1. A network counts as scaled "
        "if every proof holds at all of these and at (1, 1, 1).",
        "",
        "| network | verdict | blocks per stage | free widths | input side | growth law | MACs × | remarks |",
        "|--|--|--|--|--|--|--|--|",
    ]
    for row in rows:
        cells = (row.name, row.verdict, row.stages, row.widths, row.resolution, row.law, row.ratios, row.why)
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def names(library: str, *, grown: bool = False) -> list[str]:
    """The networks of a coverage run, by source."""
    if library == "torchvision" and grown:
        return [f"torchvision:{name}" for name in TORCHVISION]
    if library == "timm":
        return [f"timm:{name}" for name in (*CONVOLUTIONAL, *ATTENTION)]
    from torchvision import models

    not_convolutional = ("vit", "swin", "maxvit")
    known = models.list_models(module=models)
    return [f"torchvision:{name}" for name in known if not name.startswith(not_convolutional)]


def _scaled(chosen: list[str], options: argparse.Namespace) -> str:
    rows = []
    with ProcessPoolExecutor(options.workers) as pool:
        for row in pool.map(look, chosen):
            rows.append(row)
            print(f"{row.name:<44} {row.verdict:<8} {row.seconds:5.1f} s  {row.ratios or row.why}", flush=True)
    return table(rows, f"What surgery scales in {options.library}", _versions())


def _grown(chosen: list[str], options: argparse.Namespace) -> str:
    from tests.support import grow_coverage

    known = grow_coverage.read(options.kept) if options.kept else {}
    rows = [known[name] for name in chosen if name in known]
    with ProcessPoolExecutor(options.workers) as pool:
        for row in pool.map(grow_coverage.look, [name for name in chosen if name not in known]):
            rows.append(row)
            if options.kept:
                grow_coverage.append(options.kept, row)
            cells = "  ".join(f"{o:.0e}" if isinstance(o, float) else f"✗ {o}" for o in row.outcomes)
            print(f"{row.name:<44} {row.seconds:5.1f} s  {cells}", flush=True)
    rows.sort(key=lambda row: chosen.index(row.name))
    return grow_coverage.table(rows, f"What can be grown in {options.library}", _versions())


def _versions() -> str:
    import timm
    import torch
    import torchvision

    versions = f"timm {timm.__version__}, torchvision {torchvision.__version__}, torch {torch.__version__}"
    return versions.replace("+cpu", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", choices=("timm", "torchvision"))
    parser.add_argument("--only", nargs="*", help="these networks alone")
    parser.add_argument("--grow", action="store_true", help="grow each network, in place of scaling it")
    parser.add_argument("--kept", type=Path, help="with --grow: JSON lines; what is there is not tried again")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers: several processes on all cores starve each other
    chosen = (
        [f"{options.library}:{name}" for name in options.only]
        if options.only
        else names(options.library, grown=options.grow)
    )
    text = _grown(chosen, options) if options.grow else _scaled(chosen, options)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
