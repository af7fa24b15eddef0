"""A run's folder: one holder, one set of settings, no half-written file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scalesearch.errors import RunError
from scalesearch.files import write_text
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.run_folder import RunFolder, default_folder, settings_of


def _settings(recipe: Recipe) -> dict[str, object]:
    return settings_of(recipe, {"resolution": 16}, "abc")


def test_the_same_settings_find_the_same_folder_again() -> None:
    recipe = load_recipe("quick")
    first = default_folder(Path("results"), recipe, "b0", _settings(recipe))
    assert first.name.startswith("b0-phi1-quick-")
    more_seeds = load_recipe("quick", {"seeds": 5, "device": "cpu", "top": 1})
    assert default_folder(Path("results"), more_seeds, "b0", _settings(more_seeds)) == first
    longer = load_recipe("quick", {"train.steps": 999})
    assert default_folder(Path("results"), longer, "b0", _settings(longer)) != first


def test_other_settings_are_refused_with_the_difference_named(tmp_path: Path) -> None:
    before, now = load_recipe("quick"), load_recipe("quick", {"train.steps": 7, "phi": 2})
    with RunFolder(tmp_path / "run") as folder:
        folder.adopt(before, _settings(before))
        folder.adopt(before, _settings(before))
        with pytest.raises(RunError, match=r"phi: 1\.0 there, 2\.0 now; train\.steps: 160 there, 7 now"):
            folder.adopt(now, _settings(now))


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    with RunFolder(tmp_path):
        code = "import sys; from pathlib import Path; from scalesearch.run_folder import RunFolder\n"
        code += "with RunFolder(Path(sys.argv[1])): pass"
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "another scalesearch is at work" in other.stderr
    with RunFolder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write to .*file.run: Not a directory; choose another"):
        RunFolder(tmp_path / "file" / "run").__enter__()


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    target = write_text(tmp_path / "kept.txt", "old")
    code = (
        "import resource, signal, sys; from pathlib import Path; from scalesearch.files import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_text(Path(sys.argv[1]), 'new' * 1000)"
    )
    failed = subprocess.run([sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False)
    assert "File too large" in failed.stderr
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]


def test_images_that_are_seen_as_ever_are_no_difference_to_an_older_run() -> None:
    plain = settings_of(load_recipe("quick"), {}, "f")
    same = settings_of(load_recipe("quick", {"data.channels": 3, "data.bits": 8, "data.crop": "centre"}), {}, "f")
    assert same == plain and not {"data.channels", "data.bits", "data.crop"} & set(plain)
    grey = settings_of(load_recipe("quick", {"data.channels": 1, "resolution": "48x96"}), {}, "f")
    assert grey["data.channels"] == 1 and grey["resolution"] == [48, 96]
