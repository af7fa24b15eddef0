"""A run's folder: its name, the one process that may hold it, and files that are never half written."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from scalesearch.errors import RunError
from scalesearch.files import write_text
from scalesearch.run_files import read_result

if TYPE_CHECKING:
    from scalesearch.recipe import Recipe

UNRANKED = (
    "name",
    "about",
    "baseline",
    "seeds",
    "confidence",
    "within",
    "max_seeds",
    "budget",
    "exhaustive",
    "objective",
    "top",
    "device",
    "run",
)
"""Keys of a recipe that change no trial's result: a run goes on when they change. (The baseline's network does.)"""

LATER = (
    ("rounding", "keep_groups"), ("rounding", "adaptive_pool"), ("rounding", "lowest_share"),
    ("rounding", "keep_output_channels"),
    ("rounding", "max_resolution"), ("rounding", "max_channels"), ("rounding", "stage_depths"),
    ("search", "target_activations"), ("search", "target_latency"), ("search", "rows"),
    ("search", "measured_tolerance"), ("search", "match_batch"), ("search", "match_threads"),
    ("nas", "space"), ("nas", "target_macs"), ("nas", "factor"), ("nas", "exponent"), ("nas", "sampler"),
    ("nas", "population"), ("nas", "seed"),
    ("data", "max_pixels"), ("data", "mean"), ("data", "std"),
    ("train", "grow_batch"), ("train", "compile"), ("train", "readings"),
    ("train", "cooldown"), ("train", "lengths"), ("train", "progressive"),
    ("train", "eval_resolutions"), ("train", "from_weights"), ("train", "freeze"), ("train", "head_only_epochs"),
    ("train", "features_rate"), ("train", "class_weights"), ("train", "grow_from"),
    ("augment", "mixup"), ("augment", "cutmix"),
)  # fmt: skip
"""Keys that recipes did not always have: at their default they are no difference to an older run."""

SEEN = {"channels": 3, "bits": 8, "crop": "centre"}
"""How images were seen before a recipe could say it."""


def without_defaults(data: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's section of images without what says that they are seen as ever."""
    return {key: value for key, value in data.items() if key not in SEEN or value not in (None, SEEN[key])}


def settings_of(recipe: Recipe, network: Mapping[str, Any], data_fingerprint: str) -> dict[str, Any]:
    """Everything that changes a result, flat, by dotted key: the recipe, the baseline as it stands, the images."""
    settings = recipe.model_dump(mode="json", exclude=set(UNRANKED)) | {"network": network}
    for section, key in LATER:
        if getattr(getattr(recipe, section), key) == type(getattr(recipe, section)).model_fields[key].default:
            settings[section].pop(key)
    settings["data"] = without_defaults(settings["data"])
    settings["nas"].pop("trials")  # a run goes on with more
    for row in settings["search"].get("rows", ()):
        if not row["changes"]:
            row.pop("changes")  # rows did not always have them
    settings["data"]["fingerprint"] = data_fingerprint
    for key in ("from_weights", "grow_from"):
        if (file := getattr(recipe.train, key)) is not None:  # wherever they lie
            settings["train"][key] = file_digest(Path(file))
    for key in ("source", "cache", "cache_size", "workers", "on_error"):
        settings["data"].pop(key)
    return flat(settings)


def file_digest(file: Path) -> str:
    """Sixteen hex digits of a file's content.

    Raises:
        RunError: it cannot be read.
    """
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()[:16]
    except OSError as failure:
        raise RunError(f"no weights: cannot read {file}: {failure.strerror}") from failure


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by dotted key."""
    return dict(_flat(settings, ""))


def _flat(value: object, path: str) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [item for key, inner in value.items() for item in _flat(inner, f"{path}.{key}".lstrip("."))]
    return [(path, value)]


def default_folder(root: Path, recipe: Recipe, baseline: str, settings: Mapping[str, Any]) -> Path:
    """``root/<baseline>-phi<φ>-<recipe>-<hash>``: the same settings find the same folder again."""
    return root / f"{baseline}-phi{recipe.phi:g}-{recipe.name}-{digest(settings)}"


def slug(name: str) -> str:
    """``name`` as a file's name."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-")


def digest(settings: Mapping[str, Any]) -> str:
    """Six hex digits, equal for equal settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:6]


class RunFolder:
    """An open run folder. As a context manager it belongs to this process alone until it is left."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __enter__(self) -> RunFolder:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        except OSError as failure:
            raise RunError(
                f"cannot write to {self.path}: {failure.strerror}; choose another folder with --out"
            ) from failure
        if not self._locked():
            os.close(self._lock)
            raise RunError(f"another scalesearch is at work in {self.path}; wait for it, or stop it")
        with suppress(OSError):  # only a courtesy to the next one: it need not fit on the disk
            os.ftruncate(self._lock, 0)
            os.write(self._lock, str(os.getpid()).encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def _locked(self) -> bool:
        """Take the lock; a killed holder's helper processes are given the seconds they need to notice."""
        deadline = time.monotonic() + 15
        while True:
            try:
                fcntl.flock(self._lock or 0, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = (self.path / ".lock").read_text()
                if not holder.isdigit() or Path(f"/proc/{holder}").exists() or time.monotonic() > deadline:
                    return False
                time.sleep(0.2)
            else:
                return True

    def adopt(self, recipe: Recipe, settings: Mapping[str, Any]) -> None:
        """`claim` the folder, and write the recipe into it.

        Raises:
            RunError: as `claim`.
        """
        from scalesearch.recipe import dump_recipe

        self.claim(settings)
        self.write("recipe.yaml", dump_recipe(recipe))

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Write the settings into a new folder; in an old one, make sure they are the same.

        Raises:
            RunError: the folder was made with other settings; the message names the differences.
        """
        kept = self.path / "settings.json"
        plain = json.loads(json.dumps(settings))
        if kept.exists():
            before = read_result(self.path, kept.name)
            missing = object()
            changed = [
                f"{key}: {before.get(key)!r} there, {plain.get(key)!r} now"
                for key in sorted(before.keys() | plain.keys())
                if before.get(key, missing) != plain.get(key, missing)
            ]
            if changed:
                shown = "; ".join(changed[:4]) + ("; …" if len(changed) > 4 else "")
                raise RunError(f"{self.path} was made with other settings ({shown}); choose another --out")
        else:
            self.write("settings.json", json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> Path:
        """Replace a file in one step: a reader, or a crash, sees the old content or the new, never a part.

        Raises:
            RunError: the disk is full, or the folder cannot be written.
        """
        return write_text(self.path / name, text)
