"""The candidates in front, after the search: measured once on the validation split, and kept if that is wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from scalesearch.candidates.grid import Candidate
from scalesearch.data.images import Images, Split
from scalesearch.errors import TrialError
from scalesearch.run_folder import RunFolder
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.setup import Prepared
from scalesearch.search.weights_store import Weights
from scalesearch.training.train import train
from scalesearch.training.trained_files import about_weights
from scalesearch.training.trainer import Trainer
from scalesearch.training.weights_index import FOLDER, Kept, KeptWeights, read_kept, write_kept
from scalesearch.trials import Record, accuracies_by_network

if TYPE_CHECKING:
    from scalesearch.search.watcher import Watcher


class Best:
    """A finished search's complete trials, each as a trained network again: from its weights where they were kept,
    else by training it again, since the same seed gives the same weights."""

    def __init__(self, prepared: Prepared, folder: RunFolder, ledger: Ledger, images: Images, watcher: Watcher) -> None:
        self.prepared, self.folder, self.ledger, self.images = prepared, folder, ledger, images
        self.watcher, self.weights = watcher, Weights(folder.path / FOLDER)
        self.by_network: dict[str, Candidate] = {c.model.fingerprint: c for c in prepared.plan.candidates}

    def validated(self, ranking: pd.DataFrame, records: Sequence[Record]) -> dict[str, float]:
        """The best candidates' accuracies on the validation split, which nothing else opens, by network."""
        accuracies: dict[str, float] = {}
        top = self.prepared.recipe.top
        if top and (val := self.images.val) is not None:
            seeds = accuracies_by_network(records)
            kept = set(ranking["network"].head(self.prepared.recipe.run.keep_weights))
            for network in ranking["network"].head(top):
                first = min(seeds[network]) if network in kept else None
                measured = [self._validate(network, seed, val, keep=seed == first) for seed in seeds[network]]
                accuracies[network] = math.fsum(measured) / len(measured)
        return accuracies

    def _validate(self, network: str, seed: int, val: Split, *, keep: bool) -> float:
        key = f"val {network} {seed}"
        known = self.ledger.noted(key)
        if known is not None:
            return float(known)
        self.watcher.validating(self.by_network[network], seed)
        trainer = self._kept(network, seed)
        if trainer is None:
            trainer = self._again(network, seed)
            if keep:
                self._save(network, seed, trainer)
        accuracy = trainer.evaluate(val).accuracy
        self.ledger.note(key, accuracy)
        return accuracy

    def _kept(self, network: str, seed: int) -> Trainer | None:
        weights = self.weights.load(network, seed)
        if weights is None:
            return None
        model, recipe = self.by_network[network].model, self.prepared.recipe
        trainer = Trainer(model, self.images.num_classes, recipe, self.prepared.device)
        trainer.result.load_state_dict(weights)
        return trainer

    def _again(self, network: str, seed: int) -> Trainer:
        model, recipe = self.by_network[network].model, self.prepared.recipe
        return train(model, self.images, recipe, seed=seed, device=self.prepared.device)[1]

    def _save(self, network: str, seed: int, trainer: Trainer) -> bool:
        try:
            spec, classes = self.by_network[network].model.spec, self.images.source.classes
            about = about_weights(spec, self.prepared.recipe, classes)
            self.weights.save(network, seed, trainer.result, about)
        except (OSError, RuntimeError, ValueError) as failure:
            self.watcher.not_kept(self.by_network[network], str(failure).partition("\n")[0])
            return False
        return True

    def keep(self, ranking: pd.DataFrame, records: Sequence[Record]) -> None:
        """Keep the weights of the best ``run.keep_weights`` candidates' first seeds, and drop all others.

        Without such a wish, those that an earlier one has kept stay, unless new trials have displaced them.

        Raises:
            RunError: the folder cannot be written.
        """
        wanted = self.prepared.recipe.run.keep_weights
        if not wanted:
            before = read_kept(self.folder.path)
            self.weights.clear(before.files if before else ())
            return
        accuracies, rows = accuracies_by_network(records), []
        for network in ranking["network"].head(wanted):
            seed = min(accuracies[network])
            if self._is_kept(network, seed):
                rows.append(self._row(network, seed, accuracies[network][seed]))
        kept = Kept(
            num_classes=self.images.num_classes,
            classes=self.images.source.classes,
            eval_crop=self.prepared.recipe.augment.eval_crop,
            weights=tuple(rows),
        )
        write_kept(self.folder.path, kept)
        self.weights.clear(kept.files)

    def _is_kept(self, network: str, seed: int) -> bool:
        """See to it that the weights are there; whether they are."""
        if self.weights.load(network, seed) is not None:
            return True
        candidate = self.by_network[network]
        self.watcher.training_again(candidate, seed)
        try:
            return self._save(network, seed, self._again(network, seed))
        except TrialError as failure:
            self.watcher.not_kept(candidate, str(failure))
            return False

    def _row(self, network: str, seed: int, accuracy: float) -> KeptWeights:
        candidate = self.by_network[network]
        c, model = candidate.coefficients, candidate.model
        self.folder.write(f"{FOLDER}/{network}.yaml", dump_spec(model.spec))
        return KeptWeights(
            network=network,
            alpha=c.alpha,
            beta=c.beta,
            gamma=c.gamma,
            seed=seed,
            accuracy=accuracy,
            resolution=model.resolution,
            file=self.weights.file(network, seed),
            spec=f"{network}.yaml",
            label=candidate.label,
        )
