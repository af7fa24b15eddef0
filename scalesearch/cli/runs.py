"""Commands about runs: runs, show, report, replay, merit, cam."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.keys import format_of
from scalesearch.cli.options import FormatOption, JsonOption, StorageOption, StudyOption
from scalesearch.cli.trained_options import NETWORKS, WeightsOption


def replay(
    run: Annotated[Path, typer.Argument(help="The folder of an --exhaustive run with several seeds.")],
    replays: Annotated[int, typer.Option(min=1, max=10**6, help="How often each policy is played.")] = 200,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the orders in which candidates and seeds come.")
    ] = 0,
    confidence: Annotated[float, typer.Option(help="At which candidates count as tied with the winner.")] = 0.95,
    peers: Annotated[
        bool, typer.Option("--peers", help="Optuna, Syne Tune and NePS too (pip install 'scalesearch[peers]').")
    ] = False,
    objective: Annotated[
        str | None,
        typer.Option(help="accuracy, balanced_accuracy or macro_f1 (default: the run's own, or accuracy)."),
    ] = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Replay the search over a run's curves: what its short cuts would have saved, and how often they would err."""
    from scalesearch.cli.commands.replay import replay_command

    form = format_of(format_, json=json_)
    replay_command(run, replays=replays, seed=seed, confidence=confidence, peers=peers, form=form, objective=objective)


def runs(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Where to look, at any depth (default: results).")
    ] = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """List runs: what each searches, whether it goes on, how far it is, what is best so far."""
    from scalesearch.cli.commands.runs import runs_command

    runs_command(folders or [], form=format_of(format_, json=json_))


def show(
    run: Annotated[
        Path | None, typer.Argument(help="The folder of a finished `grid`, `compare` or `nas`; with --watch, of one.")
    ] = None,
    verified: Annotated[
        bool, typer.Option("--verified", help="What --verify found on a longer schedule, not the ranking.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Look on while a search goes on, here or elsewhere; nothing of it is touched."),
    ] = False,
    classes: Annotated[
        bool, typer.Option("--classes", help="How often each class is right, and what it is taken for.")
    ] = False,
    storage: StorageOption = None,
    study: StudyOption = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Print a finished run's table again, for the eye, for a paper or for machines; or watch one that goes on."""
    from scalesearch.cli.commands.show import show_command, watch_command

    form = format_of(format_, json=json_)
    if watch and (verified or classes or form != "table"):
        raise typer.BadParameter("--watch shows a search that goes on: leave out --verified, --classes and --format")
    if watch:
        watch_command(run, storage, study)
        return
    if run is None or storage or study:
        raise typer.BadParameter("expected a finished run's folder; --storage and --study go with --watch")
    show_command(run, verified=verified, classes=classes, form=form)


def merit(
    nominal: Annotated[Path, typer.Argument(help="The folder of a finished grid of equal nominal growth.")],
    matched: Annotated[Path, typer.Argument(help="That of the same grid with --match macs.")],
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Say whether a nominal grid's winner is better, or only dearer, by a second grid at equal measured cost."""
    from scalesearch.cli.commands.merit import merit_command

    merit_command(nominal, matched, form=format_of(format_, json=json_))


def cam(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK...", help=NETWORKS)],
    weights: WeightsOption = None,
    images: Annotated[int, typer.Option(min=1, max=1000, help="Of the minival, one of every class in turn.")] = 6,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the choice of images.")] = 0,
    true_class: Annotated[
        bool, typer.Option("--true-class", help="Show the evidence for the true class, not for the predicted one.")
    ] = False,
    data: Annotated[str | None, typer.Option(help="Where the images are now, if they were moved.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder of the figure (default: the first's figures/).")] = None,
) -> None:
    """Draw class-activation maps of trained networks, such as a run's best, side by side on the same images."""
    from scalesearch.cli.commands.cam import cam_command

    cam_command(
        networks, weights or (), images=images, seed=seed, true_class=true_class, data=data, device=device, out=out
    )


def report(run: Annotated[Path, typer.Argument(help="The folder of a finished run, or of a comparison.")]) -> None:
    """Write a run's report: one HTML page that needs nothing else, and its figures as PNG and SVG."""
    from scalesearch.cli.commands.report import report_command

    report_command(run)
