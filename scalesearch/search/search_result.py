"""What `scalesearch.Search` found: the ranking, the winner, figures and the report, from the run's folder."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scalesearch.models.catalogue import build_model
from scalesearch.ranking.finished_run import read_run
from scalesearch.report.html.page import template
from scalesearch.report.html.tables import ranking as ranking_html
from scalesearch.report.html.write import FILE, write_report
from scalesearch.run_files import read_result
from scalesearch.scaling.compound import AXES, Coefficients
from scalesearch.scaling.spec_files import Spec, load_spec

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from scalesearch.search.longer_schedule import Verified


@dataclass(frozen=True)
class FigureFile:
    """A figure of the report, as SVG and PNG; a notebook draws it."""

    svg: Path

    @property
    def png(self) -> Path:
        """The same as a bitmap."""
        return self.svg.with_suffix(".png")

    def _repr_html_(self) -> str:
        """On white: its words are dark, whatever the notebook's theme. An image, so that its ids are its own."""
        content = base64.b64encode(self.svg.read_bytes()).decode()
        style = "max-width: 100%; background: white"
        return f'<img alt="{self.svg.stem}" style="{style}" src="data:image/svg+xml;base64,{content}">'


class Figures(dict[str, FigureFile]):
    """Figures by name; a notebook draws them all."""

    def _repr_html_(self) -> str:
        return "".join(f"<p>{figure._repr_html_()}</p>" for figure in self.values())


@dataclass(frozen=True)
class SearchResult:
    """A finished search.

    ``ranking`` has a row for each candidate, best first (`ranking.csv`), ``trials`` one for each training; ``winner``
    is the spec of the first, as it was trained; ``classes`` how many the images have; ``verified`` what a longer
    schedule says, where that was wanted.
    """

    folder: Path
    ranking: pd.DataFrame
    trials: pd.DataFrame
    winner: Spec
    classes: int
    verified: Verified | None = None

    @property
    def coefficients(self) -> Coefficients:
        """The winner's α, β and γ."""
        first = self.ranking.iloc[0]
        return Coefficients(*(float(first[axis]) for axis in AXES))

    @property
    def notes(self) -> list[str]:
        """What a reader must know before believing the ranking; the first says how sure the order is."""
        return list(read_result(self.folder, "ranking.json")["notes"])

    @property
    def family(self) -> Mapping[str, Spec]:
        """The specs that the run proposes to build, from the baseline's native resolution on, by name."""
        return {file.stem: load_spec(file) for file in sorted((self.folder / "specs").glob("*.yaml"))}

    def build_winner(self, num_classes: int | None = None) -> nn.Module:
        """The winner's network, freshly initialised; with as many classes as the images have, unless said otherwise."""
        return build_model(self.winner, self.classes if num_classes is None else num_classes)

    @property
    def figures(self) -> Figures:
        """The figures of the report, by name."""
        self.report()
        return Figures({file.stem: FigureFile(file) for file in sorted((self.folder / "figures").glob("*.svg"))})

    def report(self) -> Path:
        """The run's report, one HTML page; written again if it is not there.

        Raises:
            RunError: the folder cannot be read or written any more.
        """
        page = self.folder / FILE
        return page if page.is_file() else write_report(self.folder)

    def __repr__(self) -> str:
        return f"<SearchResult {self.coefficients}, {len(self.ranking)} candidates, in {self.folder}>"

    def _repr_html_(self) -> str:
        """The ranking as the report has it, how sure it is, and the first figure."""
        run = read_run(self.folder)
        first = next(iter(self.figures.values()), None)
        return template("notebook.html").render(
            title=run.title,
            table=ranking_html(run),
            notes=run.notes[:1],
            figure=first._repr_html_() if first else "",
            folder=str(self.folder),
        )
