"""Ray actors as workers: nodes that die, runs that move to a cluster and back, and the same table as processes give."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import RunError
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.leases import is_gone
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.ray_cluster import load_ray
from scalesearch.trials import Record
from tests.search.test_processes import dying_workers
from tests.support.postgres import Server, binaries
from tests.support.small import TINY_RUN, Cli, steps_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
with_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")

GRID = ("grid", "--baseline", "tiny.yaml", *TINY_RUN, "--steps", "60", "--exhaustive", "--workers")
RAY = ("--engine", "ray")
HOSTS = "the Ray cluster has 2 hosts, and a ledger in a file is for one: --storage keeps it on a server"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """An actor on a CPU has one thread; sums in another order would give another table."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    yield
    os.environ.pop("OMP_NUM_THREADS")
    if before:
        os.environ["OMP_NUM_THREADS"] = before


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head that trains nothing; the tests add nodes to it."""
    load_ray()
    made = import_module("ray.cluster_utils").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    yield made
    made.shutdown()


def _search(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scalesearch", *arguments]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, text=True)


def _records(folder: Path) -> list[Record]:
    try:
        return Ledger(folder / "run" / JOURNAL, "run", create=False).records()
    except RunError:
        return []


def _wait_for_a_trial(search: subprocess.Popen[str], folder: Path, complete: int) -> Record:
    """A trial that runs, once ``complete`` others are done."""
    while search.poll() is None:
        records = _records(folder)
        running = [r for r in records if r.state == "running" and r.owner and not is_gone(r.owner)]
        if running and sum(r.state == "complete" for r in records) >= complete:
            return running[-1]
        time.sleep(0.1)
    raise AssertionError((folder / "log").read_text())


def _process(record: Record) -> int:
    return int((record.owner or "").split()[-2])


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _each_once(folder: Path, trials: int) -> list[Record]:
    records = _records(folder)
    complete = Counter(r.task.key for r in records if r.state == "complete")
    assert len(complete) == trials and set(complete.values()) == {1}
    assert not [r for r in records if r.state in ("running", "waiting")]
    return records


@with_ray
def test_a_node_that_dies_in_mid_trial_changes_nothing(cluster: Any, cli: Cli, tmp_path: Path) -> None:
    steps = steps_of(cli, tmp_path, (*GRID, "1"), 3)
    calm = cli(*GRID, "1", "--seeds", "2", *steps, "--out", "calm")
    assert calm.returncode == 0, calm.stderr
    nodes = [cluster.add_node(num_cpus=2), cluster.add_node(num_cpus=2)]
    more = ("--seeds", "2", *steps, "--out", "run", *RAY, "--address", cluster.address)
    search = _search(tmp_path, *GRID, "2", *more)
    trial = _wait_for_a_trial(search, tmp_path, complete=2)
    raylets = {node.all_processes["raylet"][0].process.pid: node for node in nodes}
    cluster.remove_node(raylets[_parent(_process(trial))], allow_graceful=False)
    assert search.wait(timeout=300) == 0, (tmp_path / "log").read_text()
    log = (tmp_path / "log").read_text()
    print(log)
    records = _each_once(tmp_path, 14)
    assert log.count("again: ") == sum(r.state == "lost" for r in records) == 1
    assert "[14/14]" in log and "raylet" not in log
    (again,) = [r for r in records if r.task.key == trial.task.key and r.state == "complete"]
    assert again.owner != trial.owner
    assert (tmp_path / "run" / "ranking.csv").read_bytes() == (tmp_path / "calm" / "ranking.csv").read_bytes()


@with_ray
def test_a_run_begun_with_processes_is_finished_by_ray(cli: Cli, tmp_path: Path) -> None:
    search = _search(tmp_path, *GRID, "1", "--out", "run")
    _wait_for_a_trial(search, tmp_path, complete=2)
    search.send_signal(signal.SIGINT)
    assert search.wait(timeout=60) == 130
    before = {r.owner for r in _records(tmp_path) if r.state == "complete"}
    done = cli(*GRID, "2", "--out", "run", *RAY)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "of 7 trials were done before" in done.stdout
    records = _each_once(tmp_path, 7)
    assert len(before) == 1 and {r.owner for r in records} > before


@with_ray
def test_ctrl_c_ends_the_actors_and_processes_go_on_from_there(cluster: Any, cli: Cli, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=2)
    search = _search(tmp_path, *GRID, "2", "--out", "run", *RAY, "--address", cluster.address)
    trial = _wait_for_a_trial(search, tmp_path, complete=1)
    search.send_signal(signal.SIGINT)
    assert search.wait(timeout=60) == 130
    assert is_gone(trial.owner)
    assert {r.state for r in _records(tmp_path)} == {"complete", "waiting"}
    done = cli(*GRID, "1", "--out", "run")
    assert done.returncode == 0, done.stderr
    _each_once(tmp_path, 7)


@with_ray
def test_actors_of_a_search_that_was_killed_end_with_it(cluster: Any, cli: Cli, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1)
    search = _search(tmp_path, *GRID, "1", "--steps", "100000", "--out", "run", *RAY, "--address", cluster.address)
    trial = _wait_for_a_trial(search, tmp_path, complete=0)
    search.kill()
    search.wait()
    deadline = time.monotonic() + 30
    while not is_gone(trial.owner) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert is_gone(trial.owner)


@with_ray
def test_a_dead_actor_is_replaced_and_its_trial_repeated(cli: Cli, tmp_path: Path) -> None:
    """The network is a file beside the search, which a relative path names."""
    own = dying_workers(tmp_path, range(1), "os.kill(os.getpid(), signal.SIGKILL)")
    done = cli("grid", "--baseline", own, *TINY_RUN, "--workers", "1", "--top", "0", "--out", "run", *RAY)
    assert done.returncode == 0, done.stderr
    assert "again: α 1 β 1 γ 1.4: its worker ended" in done.stdout
    assert not done.stderr
    states = [r.state for r in _records(tmp_path)]
    assert states.count("lost") == 1 and set(states) == {"lost", "complete"}


@with_ray
def test_a_trial_that_takes_too_long_is_ended_and_not_repeated(cli: Cli, tmp_path: Path) -> None:
    own = dying_workers(tmp_path, range(99), "time.sleep(600)")
    limit = ("--workers", "1", "--top", "0", "--trial-minutes", "0.8")
    done = cli("grid", "--baseline", own, *TINY_RUN, *limit, "--out", "run", *RAY)
    assert done.returncode == 0, done.stderr
    assert "failed: α 1 β 1 γ 1.4: it took longer than 0.8 minutes" in done.stdout
    assert [r.state for r in _records(tmp_path)].count("failed") == 1


@with_ray
def test_on_several_hosts_the_ledger_has_to_be_on_a_server(cluster: Any, cli: Cli, tmp_path: Path) -> None:
    """A second loopback address stands for a second host."""
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2")
    at = (*RAY, "--address", cluster.address)
    refused = cli(*GRID, "2", "--out", "run", *at)
    assert refused.returncode == 2
    assert refused.stderr == f"error: {HOSTS}\n"
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    server = Server(Path("/tmp") / f"scalesearch-ray-{os.getpid()}")
    done = cli(*GRID, "2", "--out", "run", *at, "--storage", server.url)
    records = Ledger(server.url, "run").records()
    server.stop()
    assert done.returncode == 0, done.stderr
    assert [r.state for r in records] == ["complete"] * 7
    assert len({r.owner for r in records}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("1", "--engine", "spark"), "--engine: expected processes or ray, got 'spark'"),
        (("1", "--address", "auto"), "--address is a Ray cluster's: it needs --engine ray"),
        (("1", *RAY, "--address", "here"), "--address: expected auto or HOST:PORT, got 'here'"),
        (("0", *RAY), "--workers 0 trains in the search's own process: it does not go with --engine ray"),
        pytest.param(("1", *RAY, "--address", "127.0.0.1:1"), "127.0.0.1:1: nothing answers there", marks=with_ray),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], message: str, cli: Cli) -> None:
    done = cli(*GRID, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_without_ray_one_line_says_how_to_install_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError(\"No module named 'ray'\", name='ray')")
    done = cli(*GRID, "1", *RAY)
    assert done.returncode == 2
    assert done.stderr == "error: --engine ray: Ray is not installed: pip install 'scalesearch[ray]'\n"
