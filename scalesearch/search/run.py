"""One run from recipe to ranking: plan, have every trial trained, validate the best, write what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from scalesearch.candidates.start import loaded_words, see_grown
from scalesearch.data.about import doubts
from scalesearch.data.broken import SKIPPED, listed
from scalesearch.data.images import load_images
from scalesearch.report.html.write import write_report
from scalesearch.run_files import read_sessions
from scalesearch.run_folder import RunFolder
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.search.engine import EngineSettings
from scalesearch.search.finalists import Best
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.measuring import MATCHED
from scalesearch.search.outputs import Result, candidates_frame, publish
from scalesearch.search.provenance import environment
from scalesearch.search.session import Session
from scalesearch.search.setup import Prepared
from scalesearch.search.watcher import Watcher
from scalesearch.search.work import note_work

Publish = Callable[[Prepared, RunFolder, Result], None]
"""Writes what a search has found into its folder."""


def run(
    prepared: Prepared,
    folder: RunFolder,
    watcher: Watcher,
    command: Sequence[str],
    place: EngineSettings | None = None,
    publish: Publish = publish,
) -> Result:
    """Do what is left of the search in ``folder`` (already held by this process).

    Args:
        publish: writes what was found.

    Raises:
        RunError: the folder has other settings or cannot be written, or no trial could be completed.
    """
    recipe, source, place = prepared.recipe, prepared.source, place or EngineSettings()
    folder.adopt(recipe, prepared.settings)
    native = dump_spec(prepared.baseline.native)
    folder.write("baseline.yaml", native)
    folder.write("candidates.csv", candidates_frame(prepared.plan).to_csv(index=False, lineterminator="\n"))
    if prepared.plan.measured is not None:
        folder.write(MATCHED, prepared.plan.measured.model_dump_json(indent=1) + "\n")
    where: Path | str = place.storage or folder.path / JOURNAL
    ledger = Ledger(where, place.study or folder.path.name)
    note_work(ledger, recipe, native, source.fingerprint, prepared.axes)
    images = load_images(
        source,
        recipe.data,
        recipe.data.cache_resolution or prepared.baseline.resolution,
        lambda done: watcher.decoding(done, prepared.train_images),
    )
    for words in doubts(images):
        watcher.remarked(f"note: {words}")
    for words in loaded_words(prepared.plan.candidates, recipe, images.num_classes):
        watcher.remarked(words)
    see_grown((c.model for c in prepared.plan.candidates), recipe, images.num_classes, watcher.remarked)
    if images.skipped:
        folder.write(SKIPPED, listed(images.skipped))
    session = Session(prepared, folder, ledger, where, images, watcher)
    if session.left():
        _sign(prepared, folder, command)
    session.train_all(place)
    ledger.note("open", False)
    result, prepared = session.result(), prepared.of(session.candidates)
    publish(prepared, folder, result)  # before the validation, which may find images that cannot be read
    best = Best(prepared, folder, ledger, images, watcher)
    result = session.result(best.validated(result.ranking, session.records()))
    result = replace(result, finalists=best.confusions(result.ranking, session.records()))
    publish(prepared, folder, result)
    best.keep(result.ranking, session.records())
    if session.log is not None:
        session.log.finish(ledger.records(), session.by_network, result.in_files[0])
    write_report(folder.path)
    return result


def _sign(prepared: Prepared, folder: RunFolder, command: Sequence[str]) -> None:
    """Add this session to the list of those that made the run."""
    source = prepared.source
    data = {
        "title": source.title,
        "fingerprint": source.fingerprint,
        "train": prepared.train_images,
        "minival": prepared.minival_images,
    }
    kept = folder.path / "environment.json"
    before = read_sessions(folder.path) if kept.exists() else []
    sessions = [*before, environment(command, prepared.device, data)]
    folder.write(kept.name, json.dumps(sessions, indent=1, ensure_ascii=False) + "\n")
