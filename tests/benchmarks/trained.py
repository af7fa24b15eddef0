"""What several `scalesearch train` of a few networks came to, each network with the seeds that it was trained with.

    python -m tests.benchmarks.trained FOLDER... [--data folder:PATH]

An accuracy is the mean over a network's seeds on the validation images; its interval, and that of its difference to the
first network, has the images' share (which networks share) and the seeds'. With --data, the mean of the classes' too.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t

from scalesearch.data.sources import open_source
from scalesearch.ranking.seed_scores import SeedScores, images_covariance
from scalesearch.report.formats import Table
from scalesearch.settings import DataSettings
from scalesearch.trials import unpacked

CONFIDENCE = 0.95


def read(folders: Sequence[Path]) -> tuple[list[SeedScores], int]:
    """The networks in the order of their names, and the number of validation images."""
    found: dict[str, dict[int, Any]] = defaultdict(dict)
    for folder in folders:
        outcome = json.loads((folder / "outcome.json").read_text())
        found[f"{outcome['network']}, {outcome['resolution']} px"][outcome["seed"]] = outcome
    images = {each["environment"]["data"]["val"] for seeds in found.values() for each in seeds.values()}
    (count,) = images
    return [
        SeedScores(
            name,
            tuple(seeds[seed]["val_accuracy"] for seed in sorted(seeds)),
            np.array([unpacked(seeds[seed]["val_correct"], count) for seed in sorted(seeds)]),
            tuple(sorted(seeds)),
        )
        for name, seeds in sorted(found.items())
    ], count


def table(networks: Sequence[SeedScores], images: int, labels: Sequence[int] | None) -> Table:
    """A row for each network, best first."""
    freedom = sum(each.seeds - 1 for each in networks)
    if not freedom:
        raise SystemExit("one seed of each network: how much seeds differ is not known")
    known = [each for each in networks if each.seeds > 1]
    noise = sum(each.variance * (each.seeds - 1) for each in known) / freedom
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom))
    covariance = images_covariance(networks, images)
    order = sorted(range(len(networks)), key=lambda i: -networks[i].mean)
    first, rows = order[0], []
    for i in order:
        own = reach * math.sqrt(covariance[i, i] + noise / networks[i].seeds)
        shared = covariance[i, i] + covariance[first, first] - 2 * covariance[i, first]
        apart = reach * math.sqrt(max(0.0, shared) + noise / networks[i].seeds + noise / networks[first].seeds)
        gap = networks[i].mean - networks[first].mean
        rows.append(
            (
                networks[i].name,
                str(networks[i].seeds),
                f"{100 * networks[i].mean:.1f} ± {100 * own:.1f}",
                "" if labels is None else f"{100 * of_classes(networks[i], labels):.1f}",
                "" if i == first else f"{100 * gap:.1f} ± {100 * apart:.1f}",
            )
        )
    return Table.of(("network", "seeds", "val %", "per class %", "to first"), rows, words=("network",))


def of_classes(network: SeedScores, labels: Sequence[int]) -> float:
    """The mean over classes and seeds."""
    assert network.correct is not None
    classes = np.array(labels)
    return float(np.mean([network.correct[:, classes == each].mean() for each in np.unique(classes)]))


def main() -> None:
    """Read, and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--data", help="the images, for the mean of the classes")
    chosen = parser.parse_args()
    val = open_source(DataSettings(source=chosen.data)).val if chosen.data else None
    print(table(*read(chosen.folders), None if val is None else val.labels).markdown(), end="")


if __name__ == "__main__":
    main()
