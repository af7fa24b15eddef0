"""A report holds what its reader needs and loads nothing, whatever run it is made of."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from scalesearch.errors import RunError
from scalesearch.ranking.finished_comparison import read_comparison
from scalesearch.report.html.page import bound
from scalesearch.report.html.write import write_report
from tests.support.browser import opened, with_chromium
from tests.support.small import FROZEN, RESULTS, TINY_RUN, Cli

RUNS = [path.parent for path in sorted(RESULTS.glob("*/ranking.json"))]
OLD_RUN = FROZEN / "format-2"
ODD = "<b>odd</b> & \"co\" $x_1$ 'α'"
QUESTIONS = ("What was compared", "What won", "How sure", "What it cost", "What it does not show")
VOID = {"meta", "link", "br"}


class Parsed(HTMLParser):
    """A page's tags, words, ids and links; every element must be closed where it was opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: dict[str, list[str]] = {}
        self.words = ""
        self.headings: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self.headings.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(str(value))
            elif key in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                self.links.setdefault(tag, []).append(str(value))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data
        if "h2" in self.open:
            self.headings[-1] += data


def _checked(folder: Path) -> Parsed:
    """The report in ``folder``, if it is one that loads nothing."""
    page = (folder / "report.html").read_text()
    parsed = Parsed(page)
    assert not parsed.tags & {"script", "img", "iframe", "object", "embed", "image", "base", "form"}
    for tag, links in parsed.links.items():
        for link in links:
            assert link.startswith("#") or link == "data:," or (tag == "a" and (folder / link).is_file()), link
            assert not link.startswith("#") or link[1:] in parsed.ids, link
    assert "@import" not in page and not re.search(r"url\((?!#)", page)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert not re.findall(r'style="[^"]*#[0-9a-f]{6}', page), "a colour that no theme changes"
    assert page.count("<svg") == 2 * page.count("<figure") > 0
    for picture in (folder / "figures").glob("*.svg"):
        with Image.open(picture.with_suffix(".png")) as image:
            assert min(image.size) > 180
    for question in QUESTIONS:
        assert question in parsed.words
    return parsed


def _copy(run: Path, to: Path) -> Path:
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("report.html", "figures", "study.journal", "specs"))
    return to


@pytest.mark.parametrize("run", [*RUNS, OLD_RUN], ids=lambda run: run.name)
def test_a_run_of_any_version_has_a_report_that_says_what_its_ranking_says(run: Path, tmp_path: Path) -> None:
    folder = _copy(run, tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    write_report(folder)
    parsed = _checked(folder)
    assert {path: path.read_bytes() for path in before} == before
    by_class = []
    if (run / "classes.json").exists():
        first = json.loads((run / "classes.json").read_text())["networks"][0]["name"]
        by_class = ["Class by class (%)", f"What {first} takes images for"]
    assert parsed.headings == [
        "Accuracy and cost", "The ranking", "Where on the simplex", "While training", *by_class,
        "Nominal and measured growth", "Where the time went", "Failures", "Caveats", "Environment", "Do it again",
    ]  # fmt: skip
    ranking = json.loads((run / "ranking.json").read_text())
    plain = parsed.words.replace("\N{NO-BREAK SPACE}", " ")
    for row in ranking["ranking"]:
        assert f"{100 * row['accuracy']:.1f}" in plain and row["shape"] in plain
    for note in ranking["notes"]:
        assert note in plain
    session = json.loads((run / "environment.json").read_text())[-1]
    for value in (*session["command"].split(), session["torch"], session["device"], session["data"]["fingerprint"]):
        assert value in plain
    assert (run / "recipe.yaml").read_text() in parsed.words


def test_the_same_run_gives_the_same_report_and_figures(tmp_path: Path) -> None:
    one, two = (_copy(OLD_RUN, tmp_path / name) for name in ("one", "two"))
    write_report(one)
    write_report(two)
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) > 10
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)


def test_odd_names_are_shown_as_they_are(tmp_path: Path) -> None:
    folder = _copy(RESULTS / "efficientnet_b0-phi1-quick", tmp_path / "run")
    found = json.loads((folder / "ranking.json").read_text())
    found["title"], found["notes"] = ODD, [ODD, ODD]
    for number, row in enumerate(found["ranking"]):
        row["label"] = f"{ODD}{number}"
    (folder / "ranking.json").write_text(json.dumps(found))
    trials = pd.read_csv(folder / "trials.csv")
    trials["reason"] = trials["reason"].astype("string")
    trials.loc[0, ["state", "reason"]] = ["failed", "</td></table><script>alert(1)</script>"]
    trials.to_csv(folder / "trials.csv", index=False)
    write_report(folder)
    parsed = _checked(folder)
    assert "b" not in parsed.tags
    assert "</td></table><script>alert(1)</script>" in parsed.words
    for number in range(3):
        assert parsed.words.count(f"{ODD}{number}") >= 3, "in the table and in the figures' two sizes"


def test_what_was_dropped_and_what_failed_is_told(tmp_path: Path) -> None:
    """Of seven candidates, α 2 as if it had fallen behind at half its schedule."""
    folder = _copy(RESULTS / "efficientnet_b0-phi1-quick", tmp_path / "run")
    found = json.loads((folder / "ranking.json").read_text())
    kept = [row for row in found["ranking"] if row["alpha"] != 2]
    found["ranking"] = [row | {"rank": number} for number, row in enumerate(kept, 1)]
    (folder / "ranking.json").write_text(json.dumps(found))
    trials = pd.read_csv(folder / "trials.csv")
    behind, measured = trials["alpha"] == 2, trials.columns[trials.columns.get_loc("accuracy") :]
    trials.loc[behind, measured] = None
    trials.loc[behind, ["state", "curve"]] = ["dropped", "40:0.13 80:0.2"]
    trials.to_csv(folder / "trials.csv", index=False)
    write_report(folder)
    plain = _checked(folder).words.replace("\N{NO-BREAK SPACE}", " ")
    assert "fell behind the leader: 20.0 % after 80 steps" in plain
    assert "2:14 of training in 6 complete trials (1 dropped beside)" in plain
    assert "The paper's point, α 1.2 β 1.1 γ 1.15, came 6th" in plain


def _row(label: str, number: int, **more: Any) -> dict[str, Any]:
    accuracy = 0.4 + number / 50
    return {
        "label": label, "dimension": label, "series": None, "depth": 1.0, "width": 1.0 + number / 4, "resolution": 1.0,
        "pixels": 64, "macs": 3 * 10**7 * (1 + number), "ratio": 1.0 + number, "params": 10**6, "network": f"n{number}",
        "note": None, "paper": None, "accuracy": accuracy, "sd": 0.01, "low": accuracy - 0.02, "high": accuracy + 0.02,
        "p_best": 0.25, "val_accuracy": None, "seeds": 2,
    } | more  # fmt: skip


UNMEASURED = dict.fromkeys(("accuracy", "sd", "low", "high", "p_best"), None) | {"seeds": 0}
GAIN = {
    "value": 0.05, "low": 0.01, "high": 0.09, "compound": "compound", "single": "width", "confidence": 0.95,
    "words": "compound over width, the best single dimension: +5.0 % relative (95 %: +1.0 … +9.0): compound wins.",
}  # fmt: skip


def _comparison(root: Path, match: str = "rows") -> Path:
    """Two baselines: one trained, one not yet."""
    base = {"macs": 3 * 10**7, "params": 10**6, "resolution": 64}
    labels = ("baseline", "depth", "width", "compound", ODD)
    trained = [_row(label, number) for number, label in enumerate(labels)]
    trained[3] |= {"paper": {"macs": 1.3e9, "top1": 77.4}, "note": "its coefficients are another's"}
    trained[4] |= {"paper": {"macs": 1.3e9, "top1": None}, "series": "a curve", **UNMEASURED}
    waiting = [_row(label, number) | UNMEASURED for number, label in enumerate(labels[:2])]
    groups = [
        {"baseline": "mobilenet_v2", "folder": "mobilenet_v2", "base": base, "rows": trained, "gain": GAIN,
         "words": "3 of 4 candidates cannot be told apart."},
        {"baseline": "resnet50", "folder": "resnet50", "base": base, "rows": waiting, "gain": None, "words": None},
    ]  # fmt: skip
    document = {
        "title": f"Table 3 {ODD}", "source": "Tan & Le 2019", "about": None, "match": match, "notes": ["a caveat"],
        "groups": groups, "what a later version adds": 1,
    }  # fmt: skip
    root.mkdir()
    (root / "comparison.json").write_text(json.dumps(document))
    _copy(RESULTS / "mobilenet_v2-phi1-imagenette", root / "mobilenet_v2")
    return root


def test_a_comparison_has_a_report_of_all_its_baselines(tmp_path: Path) -> None:
    root = _comparison(tmp_path / "root", "2x")
    (root / "mobilenet_v2" / "report.html").touch()
    write_report(root)
    parsed = _checked(root)
    assert parsed.headings == [
        "mobilenet_v2, 64 px", "resnet50, 64 px", "Where the time went", "Failures", "Caveats", "Environment",
        "Do it again",
    ]  # fmt: skip
    plain = parsed.words.replace("\N{NO-BREAK SPACE}", " ")
    for words in (ODD, GAIN["words"], "3 of 4 candidates", "a caveat", "not trained yet", "printed top-1", "77.4"):
        assert str(words) in plain, words
    assert "7 networks of 2 baselines, each at 2× its baseline's MACs." in plain
    assert {path.stem for path in (root / "figures").iterdir()} == {
        "rows-mobilenet_v2", "growth-mobilenet_v2", "curves-mobilenet_v2",
    }  # fmt: skip


def test_a_comparison_that_breaks_a_rule_is_refused_with_the_field(tmp_path: Path) -> None:
    root = _comparison(tmp_path / "root")
    found = json.loads((root / "comparison.json").read_text())
    assert read_comparison(root).groups[0].rows[4].paper
    del found["groups"][0]["rows"][2]["macs"]
    (root / "comparison.json").write_text(json.dumps(found))
    with pytest.raises(RunError, match=r"groups\[0\]\.rows\[2\]\.macs: expected a value"):
        write_report(root)


def test_a_report_that_cannot_be_written_is_one_line_and_loses_nothing(cli: Cli, tmp_path: Path) -> None:
    folder = _copy(OLD_RUN, tmp_path / "run")
    (folder / "figures").touch()  # a file where the folder must be
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = cli("report", "run")
    assert done.returncode == 2 and done.stderr == "error: no report: cannot write run/figures: File exists\n"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    empty = cli("report", "nowhere")
    assert empty.returncode == 2 and empty.stderr.count("\n") == 1 and "no run's folder" in empty.stderr


@pytest.mark.long
def test_a_search_whose_report_fails_has_its_results(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(OLD_RUN, folder)
    for name in ("ranking.json", "ranking.csv", "ranking.md"):
        (folder / name).unlink(missing_ok=True)
    (folder / "figures").touch()
    done = cli("grid", "--baseline", "tiny.yaml", *TINY_RUN, "--seeds", "2", "--out", "run")
    assert done.returncode == 2 and done.stderr == "error: no report: cannot write run/figures: File exists\n"
    assert json.loads((folder / "ranking.json").read_text())["ranking"] and (folder / "ranking.md").exists()


def test_names_without_end_leave_room_for_the_figures(tmp_path: Path) -> None:
    folder = _copy(OLD_RUN, tmp_path / "run")
    found = json.loads((folder / "ranking.json").read_text())
    for row in found["ranking"]:
        row["label"] = f"{row['rank']} {'very ' * 30}long"
    (folder / "ranking.json").write_text(json.dumps(found))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # matplotlib's: no room is left
        write_report(folder)
    assert f"1 {'very ' * 30}long" in _checked(folder).words


def test_letters_and_units_stay_with_their_numbers() -> None:
    assert bound("α 1 β 1.2 at 46.7 M MACs, 95 % of φ = 1").split(" ") == [
        "α\xa01\xa0β\xa01.2", "at", "46.7\xa0M", "MACs,", "95\xa0%", "of", "φ\xa0=\xa01",
    ]  # fmt: skip


LOOK = """<!doctype html><body style="margin: 0"><iframe style="border: 0; width: {width}px; height: 900px" src="{url}">
</iframe><pre id="seen"></pre><script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const there = frame.contentWindow, page = there.document, style = element => there.getComputedStyle(element);
  document.getElementById("seen").textContent = JSON.stringify({{
    inner: there.innerWidth, scroll: page.documentElement.scrollWidth, paper: style(page.body).backgroundColor,
    ink: style(page.querySelector("svg text")).fill, wide: style(page.querySelector(".wide")).display,
    smallest: Math.min(...[...page.querySelectorAll("svg text")].map(text => text.getBoundingClientRect().height)
      .filter(height => height > 0)),
  }});
}};
</script>"""


@pytest.mark.long
@with_chromium
def test_a_browser_shows_it_in_light_and_dark_and_on_a_telephone(tmp_path: Path) -> None:
    pages = [_copy(RESULTS / "small_resnet-phi1-imagenette-replay", tmp_path / "run"), _comparison(tmp_path / "root")]
    for page in pages:
        write_report(page)
        for scheme, paper in (("1", "rgb(255, 255, 255)"), ("0", "rgb(20, 24, 29)")):
            for width in (390, 1200):
                look = tmp_path / "look.html"
                look.write_text(LOOK.format(width=width, url=(page / "report.html").as_uri()))
                shown = opened(
                    look.as_uri(), tmp_path, "--allow-file-access-from-files",
                    f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1300,1000",
                )  # fmt: skip
                assert not shown.console, shown.console
                found = re.search(r'<pre id="seen">(\{.*?\})</pre>', shown.dom)
                assert found, "the page was not loaded"
                seen = json.loads(found[1])
                assert seen["inner"] == width and seen["scroll"] <= width, seen
                assert seen["paper"] == paper and seen["ink"] != paper, seen
                assert (seen["wide"] == "none") == (width == 390), seen
                assert seen["smallest"] > 9, "type that can be read"
