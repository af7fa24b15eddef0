"""The best class by class, for few classes and for many: tables and the figure of what is taken for what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scalesearch.errors import RunError
from scalesearch.ranking.confusions import Confusions, confusion
from scalesearch.report.class_tables import by_class, classes_markdown, confused, summaries
from scalesearch.report.figures.canvas import NARROW, drawing
from scalesearch.report.figures.confusion import confusion as confusion_figure
from scalesearch.report.figures.files import svg_of
from scalesearch.run_contents import ClassesFile
from scalesearch.run_files import validated


def _found(classes: int, images: int = 6) -> dict[str, Any]:
    """Class i has i + 1 times ``images``, of which one in three is taken for the next class."""
    labels = np.repeat(np.arange(classes), images * (1 + np.arange(classes)))
    guesses = np.where(np.arange(len(labels)) % 3, labels, (labels + 1) % classes)
    names = tuple(f"kind {i} with a name that is far too long for a table" for i in range(classes))
    one = confusion(labels, [guesses], classes, network="abc", name="α 1 β 1 γ 1.4", top5=[0.875])
    return Confusions("val", len(labels), names, 0.95, (one,)).to_json()


def test_of_few_classes_every_one_is_shown() -> None:
    found = _found(4)
    table = by_class(found)
    assert len(table.columns[0].cells) == 4 and not table.notes
    assert table.columns[1].cells == ["6", "12", "18", "24"]
    assert all(cell.startswith("66.7 (") for cell in table.columns[2].cells)
    assert summaries(found) == [
        "α 1 β 1 γ 1.4: top-1 accuracy 66.7 %, balanced accuracy 66.7 %, macro F1 64.3 %, top-5 87.5 %"
    ]


def test_of_many_classes_the_worst_and_the_most_confused_are_shown() -> None:
    found = _found(1000, images=3)
    assert len(by_class(found).columns[0].cells) == len(confused(found).columns[0].cells) == 20
    assert by_class(found).notes == ["the 20 of 1,000 classes of which the first is least often right"]
    assert len(list(by_class(found).records)) == 1000, "as values there are all"
    assert confused(found).columns[2].cells[0] == "1,000", "a third of 3,000"
    assert len(classes_markdown(found, "a run").splitlines()) < 70


@pytest.mark.parametrize("width", [None, NARROW])
def test_the_figure_is_a_matrix_of_few_classes_and_pairs_of_many(width: float | None) -> None:
    with drawing(*([width] if width else [])):
        few, many = confusion_figure(_found(4)), confusion_figure(_found(30))
        assert few is not None and many is not None
        assert svg_of(few).count(">67<") == 4
        assert svg_of(many).count("→") == 20
        assert "fewer" not in few.caption and "20 of 30 pairs" in many.caption
        assert confusion_figure(None) is None


def test_a_file_whose_classes_do_not_fit_is_told_by_name(tmp_path: Any) -> None:
    found = _found(4)
    validated(ClassesFile, _plain(found), tmp_path / "classes.json")
    with pytest.raises(RunError, match=r"classes\.json"):
        validated(ClassesFile, _plain(found | {"class_names": ["a"]}), tmp_path / "classes.json")


def _plain(found: dict[str, Any]) -> Any:
    import json

    return json.loads(json.dumps(found))
