"""Kills a training at random moments, resumes it, and compares it bit by bit with the run that nobody disturbed.

    python -m tests.reliability.kill_test --kills 30 --out docs/reliability.md

Each victim is a process forked from this one, which has loaded the libraries and computed nothing; it runs the real
command on a configuration with all that a state has: exploration, a queue, replay, evaluation, an epoch's end, and a
checkpoint every other step. Half of the kills are aimed into a phase (a save, an update, a replay, a rollout ...), half
fall anywhere; every fourth run is killed twice. SIGKILL cannot be caught: nothing is flushed and nothing cleaned up.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.reliability.victim import PHASES, Board, Ending, load, run
from uec_vlm.config import config_folder
from uec_vlm.runlog import RunFolder

SETTINGS = (
    "run.trackers=[]",
    "data.train.count=10", "data.train.families=[linear_pair, vertical_angles, parallel_lines, rectangle_area]",
    "rollout.prompts_per_step=4", "rollout.completions_per_prompt=4", "rollout.max_new_tokens=56",
    "objective.exploration.completions=4", "objective.replay.every=2", "objective.replay.size=0.5",
    "objective.replay.threshold=0.2", "update.sequences_per_optimizer_step=8",
    "evaluate.every=3", "evaluate.validation_problems=4", "evaluate.validation_samples=1", "evaluate.test_problems=4",
    "evaluate.test_samples=1", "log.rollouts_every=2", "checkpoint.every=2",
)  # fmt: skip
MARK = "<!-- kills -->"
AIMED = ("save", "update", "replay", "rollout", "explore", "evaluate", "score")


@dataclass(frozen=True)
class Kill:
    """One kill. aim: the phase it was aimed into, "anywhere" for a random moment. hit: the phase it fell into."""

    aim: str
    hit: str
    logged: int
    begun_again: str


@dataclass(frozen=True)
class Trial:
    """One run with its kills, and what differed from the undisturbed run in the end."""

    kills: tuple[Kill, ...]
    differences: tuple[str, ...]


def main() -> None:
    """Runs the trials and prints a table; exit status 1 if one run differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--stops", type=int, default=2, help="runs that are asked to end by SIGTERM")
    parser.add_argument("--steps", type=int, default=6, help="of each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="trials at the same time")
    parser.add_argument("--out", type=Path, help="a page whose part between the marks is replaced")
    asked = parser.parse_args()
    board = Board()
    load(board)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), board, random.Random(asked.seed), steps=asked.steps)
        shares = [(asked.kills + job) // asked.jobs for job in range(asked.jobs)]
        stops = [(asked.stops + job) // asked.jobs for job in range(asked.jobs)]
        parts = _in_children(
            [functools.partial(bench.share, job, shares[job], stops[job]) for job in range(asked.jobs)]
        )
        trials = [trial for part in parts for trial in part]
    text = table(trials, arguments=" ".join(sys.argv[1 : sys.argv.index("--out")] if asked.out else sys.argv[1:]))
    print(text)
    if asked.out is not None:
        before, _, rest = asked.out.read_text(encoding="utf-8").partition(MARK)
        after = rest.partition(MARK)[2]
        asked.out.write_text(f"{before}{MARK}\n\n{text}\n{MARK}{after}", encoding="utf-8")
    sys.exit(any(trial.differences for trial in trials))


class Bench:
    """The undisturbed run, and trials against it."""

    def __init__(self, folder: Path, board: Board, chance: random.Random, *, steps: int) -> None:
        self.folder, self.board, self.chance, self.steps, self.job = folder, board, chance, steps, 0
        board.clear()
        start = time.perf_counter()
        ending = self._train(folder / "undisturbed")
        assert ending.status == 0, ending.said
        self.seconds = time.perf_counter() - start
        self.entered, self.took = board.entered.copy(), board.seconds.copy()
        _refuse_idle(RunFolder(folder / "undisturbed").metrics())

    def share(self, job: int, kills: int, stops: int) -> list[Trial]:
        """The trials of one job, in a process of its own."""
        self.board.renew()
        self.chance, self.job = random.Random(self.chance.getrandbits(32) + job), job
        trials: list[Trial] = []
        first = job * (len(AIMED) // 2)  # the jobs aim at different phases first
        while (left := kills - sum(len(trial.kills) for trial in trials)) > 0:
            trials.append(self.trial(first + len(trials), kills_left=left))
            print(_lines(trials[-1], len(trials)), flush=True)
        for _ in range(stops):
            trials.append(self.trial(first + len(trials), kills_left=1, number=signal.SIGTERM))
            print(_lines(trials[-1], len(trials)), flush=True)
        return trials

    def trial(self, place: int, *, kills_left: int, number: int = signal.SIGKILL) -> Trial:
        """A run that is struck, resumed until it ends, and compared. number: of the signal."""
        path = self.folder / f"trial_{self.job}_{place}"
        kills: list[Kill] = []
        wanted = min(kills_left, 2 if place % 4 == 3 else 1)
        while True:
            self.board.clear()
            aim = "anywhere" if place % 2 else AIMED[place // 2 % len(AIMED)]
            aim = aim if number == signal.SIGKILL else "SIGTERM"
            strikes = len(kills) < wanted
            ending = self._train(path, self._striker(aim, number) if strikes else None)
            if kills:
                kills[-1] = replace(kills[-1], begun_again=_begun_again(ending.said))
            if ending.status == 0:
                break
            assert ending.status == (-number if number == signal.SIGKILL else 128 + number), ending.said
            kills.append(Kill(aim, self.board.phase, _rows_logged(path), ""))
        found = differences(self.folder / "undisturbed", path)
        shutil.rmtree(path)
        return Trial(tuple(kills), tuple(found))

    def _striker(self, aim: str, number: int) -> Callable[[int], None]:
        """A function that waits for the moment and sends the signal, or sees the run end before."""
        if aim == "anywhere":
            return lambda pid: _send_after(pid, number, self.chance.uniform(0.0, 0.8 * self.seconds))
        stop = number == signal.SIGTERM  # in the last step it would change nothing
        place = PHASES.index("rollout" if stop else aim)
        times = self.chance.randint(1, max(1, int(self.entered[place]) // (2 if stop else 1)))
        delay = self.chance.uniform(0.0, 0.7 * self.took[place] / max(1, self.entered[place]))

        def strike(pid: int) -> None:
            while self.board.entered[place] < times and not _ended(pid):
                time.sleep(0.0005)
            _send_after(pid, number, delay)

        return strike

    def _train(self, path: Path, strike: Callable[[int], None] | None = None) -> Ending:
        quickstart = str(config_folder() / "quickstart.yaml")
        arguments = ["train", quickstart, f"run.dir={path}", f"run.steps={self.steps}", *SETTINGS, "--resume", "auto"]
        return run(arguments, self.folder / f"log_{self.job}.txt", strike or (lambda pid: None))


def _in_children(jobs: Sequence[Callable[[], list[Trial]]]) -> list[list[Trial]]:
    """What the jobs return, each run in a process forked from this one."""
    children = []
    for job in jobs:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.write(writer, json.dumps([asdict(trial) for trial in job()]).encode())
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writer)
        children.append((child, reader))
    found = []
    for child, reader in children:
        with os.fdopen(reader) as answer:
            rows = json.loads(answer.read() or "null")
        assert os.waitpid(child, 0)[1] == 0, "a job failed"
        found.append([Trial(tuple(Kill(**kill) for kill in row["kills"]), tuple(row["differences"])) for row in rows])
    return found


def differences(one: Path, other: Path, *, checkpoints: str = "*") -> list[str]:
    """What two runs differ in: measurements (times and memory left out), evaluations, dumps, and checkpoints' bytes."""
    found = _other_numbers(_numbers(one), _numbers(other))
    names = ["evaluations.jsonl"]
    for pattern in ("rollouts/*.parquet", f"checkpoints/{checkpoints}/*", f"checkpoints/{checkpoints}/state/*"):
        here, there = ({str(p.relative_to(run)) for p in run.glob(pattern) if p.is_file()} for run in (one, other))
        found += sorted(here ^ there)
        names += sorted(here & there)
    # A model card tells how long the run took, and the manifest lists the card's hash.
    names = [name for name in names if not name.endswith(("README.md", "manifest.json"))]
    return found + [name for name in names if (one / name).read_bytes() != (other / name).read_bytes()]


def table(trials: Sequence[Trial], *, arguments: str) -> str:
    """The trials as Markdown, without those that had ended before they were struck."""
    struck = [trial for trial in trials if trial.kills]
    kills = sum(kill.aim != "SIGTERM" for trial in struck for kill in trial.kills)
    equal = sum(not trial.differences for trial in struck)
    lines = [
        f"{kills} kills in {len(struck)} runs (`{arguments}`); {equal} of {len(struck)} runs ended "
        "with metrics, evaluations, dumps, weights, optimizer moments, queue and replay buffer bit-equal to the "
        "undisturbed run.",
        "",
        "| run | aimed at | killed inside | rows logged | then | in the end |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_lines(trial, n) for n, trial in enumerate(struck, start=1))]) + "\n"


def _lines(trial: Trial, number: int) -> str:
    end = "equal" if not trial.differences else "differs: " + ", ".join(trial.differences)
    rows = [
        f"| {number} | {kill.aim} | {kill.hit} | {kill.logged} | {kill.begun_again} | "
        f"{end if kill is trial.kills[-1] else 'killed again'} |"
        for kill in trial.kills
    ]
    return "\n".join(rows) if rows else f"| {number} | | ended before the kill | | | {end} |"


def _refuse_idle(rows: list[dict[str, Any]]) -> None:
    """The configuration must use all that a state holds, or the test would prove little."""
    for name in ("explore/solved", "update/trajectories_extra", "update/trajectories_replay", "select/queue"):
        assert sum(row.get(name, 0.0) for row in rows) > 0, name


def _numbers(path: Path) -> list[dict[str, Any]]:
    rows = RunFolder(path).metrics()
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "memory/"))} for row in rows]


def _other_numbers(here: list[dict[str, Any]], there: list[dict[str, Any]]) -> list[str]:
    if len(here) != len(there):
        return [f"{len(here)} and {len(there)} rows of metrics"]
    return [
        f"{name} of step {one['step']} ({one.get(name)} and {other.get(name)})"
        for one, other in zip(here, there, strict=True)
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name)
    ]


def _begun_again(said: str) -> str:
    for line in said.splitlines():
        if line.startswith("resumed at step"):
            return f"resumed at step {line.split()[3]}"
    return "begun anew"


def _rows_logged(path: Path) -> int:
    file = path / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def _send_after(pid: int, number: int, delay: float) -> None:
    end = time.perf_counter() + delay
    while time.perf_counter() < end and not _ended(pid):
        time.sleep(0.0005)
    os.kill(pid, number)


def _ended(pid: int) -> bool:
    """Whether a child has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


if __name__ == "__main__":
    main()
