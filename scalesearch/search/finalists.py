"""The candidates in front, after the search: measured once on the validation split, and kept if that is wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from scalesearch.candidates.grid import Candidate
from scalesearch.data.images import Images, Split
from scalesearch.errors import TrialError
from scalesearch.ranking.class_metrics import value_of
from scalesearch.ranking.confusions import Confusions, confusion
from scalesearch.recipe import DEFAULT_CONFIDENCE
from scalesearch.run_folder import RunFolder
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.setup import Prepared
from scalesearch.search.weights_store import Weights
from scalesearch.training.train import train
from scalesearch.training.trained_files import about_weights
from scalesearch.training.trainer import Trainer
from scalesearch.training.weights_index import FOLDER, Kept, KeptWeights, read_kept, write_kept
from scalesearch.trials import Record, accuracies_by_network, packed_classes, unpacked_classes

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
        """The best candidates' accuracies on the validation split, which nothing else opens, by network; by the
        objective's metric."""
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
        key, metric, labels = f"val {network} {seed}", self.prepared.metric, val.labels.cpu().numpy()
        known, told = self.ledger.noted(key), self.ledger.noted(f"{key} classes")
        if known is not None and (told or metric == "accuracy"):
            if metric == "accuracy":
                return float(known)
            return value_of(metric, labels, unpacked_classes(told["predicted"], len(labels)))
        self.watcher.validating(self.by_network[network], seed)
        trainer = self._kept(network, seed)
        if trainer is None:
            trainer = self._again(network, seed)
            if keep:
                self._save(network, seed, trainer)
        found = trainer.evaluate(val)
        self.ledger.note(f"{key} classes", {"predicted": packed_classes(found.predicted), "top5": found.top5})
        self.ledger.note(key, found.accuracy)
        return value_of(metric, labels, found.predicted.numpy()) if metric != "accuracy" else found.accuracy

    def confusions(self, ranking: pd.DataFrame, records: Sequence[Record]) -> Confusions | None:
        """What the best took images for: those of the validation split where all were measured on it, else the
        minival's; None where trials of an older version do not say so."""
        wanted = set(ranking["network"].head(max(1, self.prepared.recipe.top)))
        trials = [r for r in records if r.state == "complete" and r.task.fingerprint in wanted]
        val = self.images.val if self.prepared.recipe.top else None
        if val is not None:
            told = {r.task.key: self.ledger.noted("val {} {} classes".format(*r.task.key)) for r in trials}
            if all(told.values()):
                return self._confusions("val", val, ranking, told)
        told = {r.task.key: r.outcome for r in trials}
        if not all(each and each.get("predicted") for each in told.values()):
            return None
        return self._confusions("minival", self.images.minival, ranking, told)

    def _confusions(
        self, split: str, images: Split, ranking: pd.DataFrame, told: Mapping[tuple[str, int], Any]
    ) -> Confusions:
        labels, found = images.labels.cpu().numpy(), []
        confidence = self.prepared.recipe.confidence or DEFAULT_CONFIDENCE
        for network in ranking["network"]:
            own = [each for (name, _), each in sorted(told.items()) if name == network]
            if own:
                guesses = [unpacked_classes(each["predicted"], len(labels)) for each in own]
                name, five = self.by_network[network].name, [each.get("top5") for each in own]
                found.append(
                    confusion(
                        labels, guesses, self.images.num_classes,
                        network=network, name=name, top5=five, confidence=confidence,
                    )
                )  # fmt: skip
        return Confusions(split, len(labels), self.images.source.classes, confidence, tuple(found))

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
        accuracies, rows = accuracies_by_network(records, "top1"), []
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
