"""Time and memory of scoring tokens at the vocabulary of Qwen, forward and backward: plain, TRL's fused head, ours.

    python -m benchmarks.scoring [--runs 5] [--positions 1024 4096 16384]

From the same hidden states and head weight, in float32, every side makes the log-probability of the targets and the
exact entropy, and the gradient of the log-probabilities' weighted sum. Memory is the peak of a fresh process beyond
what it held with the inputs, the gradients of both and the libraries' own working memory already there.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.common import IMAGES, ROOT, Row, alternate, markdown, medians, plot_lines, profiled, save_results
from uec_vlm.policy.vocabulary import HeadSettings, score_from_states

VOCABULARY, HIDDEN, SHOWN = 151_936, 256, 4096
# With more positions plain logits do not fit beside their copies, and TRL takes minutes.
OTHERS_UP_TO = 4096
Side = Callable[[Tensor, nn.Linear, Tensor, Tensor], Tensor]


def plain(states: Tensor, head: nn.Linear, targets: Tensor, weights: Tensor) -> Tensor:
    """All logits at once; the entropy without a gradient."""
    log_all = head(states).log_softmax(-1)
    logprobs = log_all.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    with torch.no_grad():
        entropy = -(log_all.exp() * log_all).sum(-1)
    (weights * logprobs).sum().backward()
    return torch.stack([logprobs.detach(), entropy])


def trl(states: Tensor, head: nn.Linear, targets: Tensor, weights: Tensor) -> Tensor:
    """The function of the fused head that GRPOTrainer puts on its model, called as that head calls it."""
    from trl.trainer import utils

    logprobs, entropy, *_ = utils._ChunkedLogProbFunction.apply(
        states, head.weight, None, targets, 1.0, utils._CHUNKED_LOGPROB_CHUNK_SIZE, None, 1.0, ("log_probs", "entropy")
    )
    (weights * logprobs).sum().backward()
    return torch.stack([logprobs.detach(), entropy.detach()])


def ours(states: Tensor, head: nn.Linear, targets: Tensor, weights: Tensor) -> Tensor:
    """`uec_vlm.policy.vocabulary`, with the moment that the others do not make."""
    settings = HeadSettings(temperature=1.0, banned_ids=(), entropy_gradient=False, want_entropy=True)
    logprobs, entropy, _ = score_from_states(states, head.weight, None, targets, settings)
    (weights * logprobs).sum().backward()
    return torch.stack([logprobs.detach(), entropy.detach()])


SIDES: dict[str, Side] = {"plain": plain, "TRL": trl, "uec-vlm": ours}


def inputs(positions: int) -> tuple[Tensor, nn.Linear, Tensor, Tensor]:
    """Random states and head that want gradients, targets, and a weight for every log-probability."""
    torch.manual_seed(0)
    head = nn.Linear(HIDDEN, VOCABULARY, bias=False)
    nn.init.normal_(head.weight, std=0.1)
    states = torch.randn(positions, HIDDEN, requires_grad=True)
    return states, head, torch.randint(0, VOCABULARY, (positions,)), torch.randn(positions)


def forget_gradients(states: Tensor, head: nn.Linear) -> None:
    """Drop what the last run left."""
    states.grad = head.weight.grad = None


def check() -> float:
    """The largest difference of values and gradients between any side and the plain one, relative to its norm."""
    states, head, targets, weights = inputs(300)
    found = {}
    for name, side in SIDES.items():
        forget_gradients(states, head)
        values = side(states, head, targets, weights)
        assert states.grad is not None and head.weight.grad is not None
        found[name] = (values, states.grad.clone(), head.weight.grad.clone())
    worst = max(
        float((part - other).norm() / other.norm())
        for name in SIDES
        for part, other in zip(found[name], found["plain"], strict=True)
    )
    if worst > 1e-4:
        raise SystemExit(f"the sides differ by {worst:.1e}: nothing is timed")
    return worst


def peak_of(name: str, positions: int) -> float:
    """GB at the peak beyond the inputs and both gradients, measured in this (fresh) process."""
    states, head, targets, weights = inputs(positions)
    SIDES[name](states[:64].detach().requires_grad_(True), head, targets[:64], weights[:64])
    forget_gradients(states, head)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _memory("VmRSS")
    SIDES[name](states, head, targets, weights)
    gradients = 4 * (head.weight.numel() + states.numel())
    return (_memory("VmHWM") - before - gradients) / 1e9


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def in_fresh_process(name: str, positions: int) -> float:
    """`peak_of` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.scoring", "--peak", name, str(positions)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def memory_rows(counts: Sequence[int]) -> list[Row]:
    """A row for each number of positions; None where a side is not measured."""
    return [
        {
            "positions": count,
            **{
                f"{name}, GB": in_fresh_process(name, count) if name == "uec-vlm" or count <= OTHERS_UP_TO else None
                for name in SIDES
            },
        }
        for count in counts
    ]


def time_row(positions: int, runs: int) -> Row:
    """Median seconds of every side, forward and backward."""
    states, head, targets, weights = inputs(positions)

    def once(name: str) -> None:
        forget_gradients(states, head)
        SIDES[name](states, head, targets, weights)

    seconds = medians(alternate({name: partial(once, name) for name in SIDES}, runs=runs))
    return {
        "positions": positions,
        **{f"{name}, s": value for name, value in seconds.items()},
        "uec-vlm / TRL": seconds["uec-vlm"] / seconds["TRL"],
        "uec-vlm / plain": seconds["uec-vlm"] / seconds["plain"],
    }


def profile(positions: int) -> list[Row]:
    """Where our time goes, by operation."""
    states, head, targets, weights = inputs(positions)
    ours(states, head, targets, weights)
    return profiled(lambda: ours(states, head, targets, weights), most=6)


def main() -> None:
    """Check, measure, print, plot and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each side, in turn (default 5)")
    parser.add_argument("--positions", type=int, nargs="+", default=[1024, 4096, 16384], help="for the memory")
    parser.add_argument("--timed", type=int, default=4096, help="positions for the time (default 4096; 0: no timing)")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        print(peak_of(arguments.peak[0], int(arguments.peak[1])))
        return
    worst = check()
    print(f"values and gradients differ by at most {worst:.1e} of their norm\n")
    memory = memory_rows(arguments.positions)
    print(markdown(memory), "\n")
    rows = [time_row(arguments.timed, arguments.runs)] if arguments.timed else []
    print(markdown(rows) if rows else "")
    parts = profile(arguments.timed) if arguments.timed else []
    print(markdown(parts) if parts else "")
    save_results(
        "scoring", rows,
        settings={"vocabulary": VOCABULARY, "hidden": HIDDEN, "dtype": "float32", "runs": arguments.runs,
                  "memory": memory, "largest difference": worst, "profile of ours": parts},
    )  # fmt: skip
    series = {f"{name}, GB": name for name in SIDES}
    plot_lines(IMAGES / "scoring.png", {"beyond inputs and gradients": (memory, "positions", series)},
               title=f"Peak memory of scoring over {VOCABULARY} tokens", unit="GB")  # fmt: skip


if __name__ == "__main__":
    main()
