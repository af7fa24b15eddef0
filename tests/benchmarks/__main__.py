"""The benchmarks' command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True)
Rounds = Annotated[int, typer.Option(help="How often each contender takes its turn.")]
Data = Annotated[Path, typer.Option(help="A folder with train/ and val/, one folder of JPEG files per class.")]


@app.command()
def overhead(
    policy: Annotated[str, typer.Option(help="none, or randaugment.")] = "none",
    cuda_graphs: Annotated[bool, typer.Option("--cuda-graphs", help="The whole trainer replays CUDA graphs.")] = False,
) -> None:
    """The whole trainer beside the bare step."""
    from tests.benchmarks.overhead import overhead as measure

    measure(policy, cuda_graphs)


@app.command()
def allocator(rounds: Rounds = 3) -> None:
    """The bare step on a CPU with memory as it comes, and with memory that is kept."""
    from tests.benchmarks.allocator import allocator as measure

    measure(rounds)


@app.command()
def pieces(data: Data, rounds: Rounds = 5) -> None:
    """What surrounds a step on a CPU, piece by piece: as libraries do it, and as scalesearch does."""
    from tests.benchmarks.pieces import pieces as measure

    measure(data, rounds)


@app.command()
def peers(data: Data, rounds: Rounds = 3) -> None:
    """Epochs beside those of torchvision's reference loop and of timm's parts."""
    from tests.benchmarks.peers import peers as measure

    measure(data, rounds)


@app.command()
def grid(data: Data, rounds: Rounds = 1) -> None:
    """A grid of twelve candidates beside the same twelve trained one by one by torchvision's loop."""
    from tests.benchmarks.whole_grid import whole_grid as measure

    measure(data, rounds)


@app.command()
def memory() -> None:
    """Peak memory of a search, as it tries more candidates."""
    from tests.benchmarks.memory import memory as measure

    measure()


@app.command()
def busy(
    rounds: Rounds = 3,
    first_command: Annotated[
        bool, typer.Option("--first-command", help="Time the README's first command too.")
    ] = False,
) -> None:
    """Training beside other processes, by how torch's threads wait."""
    from tests.benchmarks.busy import busy as measure

    measure(rounds, first_command)


@app.command()
def calibration(searches: Annotated[int, typer.Option(help="How many are simulated of each kind.")] = 400) -> None:
    """Simulated searches whose truth is known: intervals and probabilities beside what came true."""
    from tests.benchmarks.calibration import calibration as measure

    measure(searches)


@app.command()
def estimators(run: Annotated[Path, typer.Argument(help="A bank: an exhaustive run with several seeds.")]) -> None:
    """What one training tells of its candidate, by how its evaluations are read, and with its neighbours."""
    from tests.benchmarks.estimators import estimators as measure

    measure(run)


@app.command()
def early(run: Annotated[Path, typer.Argument(help="A bank made with train.readings.")]) -> None:
    """What a training that has not ended tells of how its candidate will end, by how it is read."""
    from tests.benchmarks.early import early as measure

    measure(run)


@app.command("across-phi")
def across_phi(
    smaller: Annotated[Path, typer.Argument(help="A bank: an exhaustive grid with several seeds.")],
    larger: Annotated[Path, typer.Argument(help="A bank of the same network at another φ.")],
) -> None:
    """Whether the division of the growth that is best at one φ is best at another."""
    from tests.benchmarks.across_phi import across_phi as measure

    measure(smaller, larger)


@app.command()
def forecast(run: Annotated[Path, typer.Argument(help="A run with --lengths, of three or more.")]) -> None:
    """Whether the order after a longer training can be told from two shorter ones."""
    from tests.benchmarks.forecast import forecast as measure

    measure(run)


@app.command()
def kept(runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")]) -> None:
    """What kept runs were made of: network, images, trials, the signal in them, and what they cost."""
    from tests.benchmarks.kept import kept as measure

    measure(runs)


@app.command()
def proxies(runs: Annotated[list[Path], typer.Argument(help="Folders of runs with several seeds.")]) -> None:
    """Parameters, MACs, latency, SynFlow and NASWOT beside trained accuracies: how far they order alike."""
    from tests.benchmarks.proxies import proxies as measure

    measure(runs)


@app.command()
def rates(
    runs: Annotated[list[Path], typer.Argument(help="One comparison's run folders, one for each learning rate.")],
    common: Annotated[float, typer.Option(help="The rate at which all would be compared.")] = 0.1,
) -> None:
    """How far the best learning rate moves as a network grows, and whether the order would be another."""
    from tests.benchmarks.rates import rates as measure

    measure(runs, common)


@app.command()
def native(
    compiled: Annotated[bool, typer.Option("--compiled", help="Train compiled networks too.")] = False,
    seconds: Annotated[float, typer.Option(help="Seconds per measurement.")] = 5.0,
    rounds: Rounds = 5,
) -> None:
    """Training at the networks' own sizes, and the share of the device's peak."""
    from tests.benchmarks.native import native as measure

    measure(compiled, seconds, rounds)


@app.command()
def acceptance(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; on a CPU this is a rehearsal.")] = "auto",
    together: Annotated[int, typer.Option(help="Checks that run side by side.")] = 1,
    only: Annotated[str | None, typer.Option(help="One check, by its name.")] = None,
    answer: Annotated[Path | None, typer.Option(help="Where that check's answer goes.", hidden=True)] = None,
) -> None:
    """Every path that only a GPU takes, held against the CPU; exit code 1 if anything differs."""
    from scalesearch.runtime.device import pick_device
    from tests.benchmarks.acceptance import acceptance as measure

    if not measure(pick_device(device), together, only, answer):
        raise typer.Exit(1)


@app.command()
def grown(
    bank: Annotated[Path, typer.Argument(help="A run whose candidates were trained long, from fresh weights.")],
    short: Annotated[Path, typer.Argument(help="A short run of the same candidates with --grow-from.")],
    fresh: Annotated[Path | None, typer.Argument(help="One as short from fresh weights.")] = None,
) -> None:
    """Whether a short run of grown networks orders candidates as long training from scratch does."""
    from tests.benchmarks.grown import grown as measure

    measure(bank, short, fresh)


if __name__ == "__main__":  # measurements in processes of their own import this too
    app()
