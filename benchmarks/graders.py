#!/usr/bin/env python
"""Our verifier beside public graders, on the spelled-out forms of real answers, in one run.

    python benchmarks/graders.py --source PATH [--out TABLE.md] [--limit 20]

PATH is a Geometry3K folder in the InterGPS layout, or Parquet that data_prep wrote. Every grader gets the same
responses: the right answer of each problem in each form (a refusal is counted) and every wrong choice in a box (a
payment is counted), the gold exactly as it is stored; then hostile answers, and the time of ordinary ones. Each grader
runs in a process of its own, with the settings of the trainer that ships it; an answer that takes longer than the limit
is counted as a hang and its process is killed. Graders that are not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import re
import selectors
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

THINK = "<think> The two angles are equal, and 5 = 5. </think>\n"
HOSTILE = (
    r"\boxed{9**9**9**9}",
    r"\boxed{99999999!}",
    r"\boxed{9^{9^{9^{9}}}}",
    r"\boxed{10!!!!!}",
    r"\boxed{7**7**7**7+1/2}",
)


@dataclass(frozen=True)
class Problem:
    """A gold and the wrong choices beside it."""

    gold: str
    wrong: tuple[str, ...]
    is_angle: bool


@dataclass
class Score:
    """What one grader did."""

    refused: dict[str, int] = field(default_factory=dict)
    paid: int = 0
    hung: int = 0
    seconds: list[float] = field(default_factory=list)


# ---------------------------------------------------------------------------------------------------------------- data


def problems_in(source: Path) -> list[Problem]:
    """The problems with text choices in an InterGPS folder or in Parquet."""
    if source.is_dir() and (raw := sorted(source.glob("**/data.json"))):
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in raw]
        return [_problem(r["choices"], "ABCD".index(r["answer"]), "Angle" in r["problem_type_goal"]) for r in rows]
    import pyarrow.parquet as parquet

    files = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    problems = []
    for file in files:
        for row in parquet.read_table(file, columns=["answer", "choices", "problem"]).to_pylist():
            choices = row["choices"] or [row["answer"]]
            problems.append(_problem(choices, choices.index(row["answer"]), "angle" in row["problem"]))
    return problems


def _problem(choices: list[str], right: int, is_angle: bool) -> Problem:
    gold = choices[right]
    return Problem(gold, tuple(choice for choice in choices if choice != gold), is_angle)


def forms(problem: Problem) -> Iterator[tuple[str, str]]:
    """The right answer in every form that it can have."""
    gold = problem.gold
    signs = re.sub(r"\\sqrt\s*\{?\s*(\d+)\s*\}?", r"√\1", gold).replace(r"\pi", "π")
    yield r"`\boxed{gold}`", rf"\boxed{{{gold}}}"
    yield r"`\boxed{$gold$}`", rf"\boxed{{${gold}$}}"
    yield r"`\boxed{x = gold}`", rf"\boxed{{x = {gold}}}"
    if problem.is_angle:
        yield r"`\boxed{48^\circ}`, angles", rf"\boxed{{{gold}^\circ}}"
        yield r"`\boxed{48°}`, angles", rf"\boxed{{{gold}°}}"
    else:
        yield r"`\boxed{48 \text{ cm}}`, lengths", rf"\boxed{{{gold} \text{{ cm}}}}"
        yield r"`\boxed{48 units}`, lengths", rf"\boxed{{{gold} units}}"
    if signs != gold:
        yield "`√`, `π` in Unicode", rf"\boxed{{{signs}}}"
    yield "`<answer>gold</answer>`", f"<answer>{gold}</answer>"
    yield '"The answer is gold."', f"The answer is {gold}."


# ------------------------------------------------------------------------------------------------------------- graders


def ours() -> Callable[[str, str], bool]:
    """This toolkit."""
    from uec_vlm.verifier import judge

    return lambda response, gold: judge(response, gold).correct


def mathruler() -> Callable[[str, str], bool]:
    """EasyR1, and verl's geo3k score."""
    from mathruler.grader import extract_boxed_content, grade_answer

    return lambda response, gold: bool(grade_answer(extract_boxed_content(response), gold))


def trl() -> Callable[[str, str], bool]:
    """TRL's accuracy_reward, called as the trainer calls it."""
    from trl.rewards import accuracy_reward

    return lambda response, gold: accuracy_reward([[{"role": "assistant", "content": response}]], [gold])[0] == 1.0


def verl_math_verify() -> Callable[[str, str], bool]:
    """math-verify with the settings of verl's math_verify score."""
    from math_verify.metric import math_metric
    from math_verify.parser import ExprExtractionConfig, LatexExtractionConfig

    metric = math_metric(
        gold_extraction_target=(LatexExtractionConfig(),),
        pred_extraction_target=(ExprExtractionConfig(), LatexExtractionConfig()),
    )
    return lambda response, gold: metric([f"\\boxed{{{gold}}}"], [response])[0] > 0.5


def math_verify() -> Callable[[str, str], bool]:
    """math-verify as its own documentation calls it, the gold between dollar signs."""
    from math_verify import parse, verify

    return lambda response, gold: bool(verify(parse(f"${gold}$"), parse(response)))


GRADERS: dict[str, tuple[str, Callable[[], Callable[[str, str], bool]]]] = {
    "uec-vlm": ("uec_vlm", ours),
    "mathruler (EasyR1, verl geo3k)": ("mathruler", mathruler),
    "TRL accuracy_reward": ("trl", trl),
    "verl math_verify": ("math_verify", verl_math_verify),
    "math-verify": ("math_verify", math_verify),
}


def serve(name: str) -> None:
    """The process of one grader: a JSON pair per line in, [verdict, seconds] out."""
    import logging
    import os

    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.disable(logging.CRITICAL)
    grade = GRADERS[name][1]()
    replies.write("[true, 0.0]\n")
    for line in sys.stdin:
        response, gold = json.loads(line)
        start = time.perf_counter()
        try:
            verdict = bool(grade(response, gold))
        except Exception:  # a grader that raises pays nothing
            verdict = False
        replies.write(json.dumps([verdict, time.perf_counter() - start]) + "\n")


class Grader:
    """A grader in a process that is killed and started again when it hangs."""

    def __init__(self, name: str, limit: float) -> None:
        """Start nothing yet."""
        self.name, self.limit = name, limit
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, response: str, gold: str) -> tuple[bool, float] | None:
        """The verdict and the seconds it took; None for a hang."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--serve", self.name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            if self._read(300.0) is None:
                raise SystemExit(f"{self.name} does not start")
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps([response, gold]) + "\n").encode())
        self.process.stdin.flush()
        return self._read(self.limit)

    def _read(self, limit: float) -> tuple[bool, float] | None:
        assert self.process is not None and self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(limit):
                self.close()
                return None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            return None
        verdict, seconds = json.loads(line)
        return verdict, seconds

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def is_installed(module: str) -> bool:
    """Whether a module can be imported, found out without importing it."""
    from importlib.util import find_spec

    return find_spec(module) is not None


# -------------------------------------------------------------------------------------------------------------- the run


def measure(name: str, problems: list[Problem], limit: float) -> Score:
    """One grader over all responses."""
    score, grader = Score(), Grader(name, limit)
    for problem in problems:
        for form, response in forms(problem):
            found = grader(THINK + response, problem.gold)
            score.refused[form] = score.refused.get(form, 0) + (found is None or not found[0])
            if found is not None:
                score.seconds.append(found[1])
        for choice in problem.wrong:
            found = grader(f"{THINK}\\boxed{{{choice}}}", problem.gold)
            score.paid += found is not None and found[0]
    for response in HOSTILE:
        score.hung += grader(response, "8.5") is None
    grader.close()
    return score


def table(scores: dict[str, Score], problems: list[Problem]) -> str:
    """The result as a Markdown table."""
    sizes: dict[str, int] = {}
    for problem in problems:
        for form, _ in forms(problem):
            sizes[form] = sizes.get(form, 0) + 1
    lines = [f"| right answers refused | n | {' | '.join(scores)} |", "|---" * (len(scores) + 2) + "|"]
    for form, size in sizes.items():
        lines.append(f"| {form} | {size} | {' | '.join(str(s.refused[form]) for s in scores.values())} |")
    wrong = sum(len(problem.wrong) for problem in problems)
    lines.append(f"| **wrong choices paid** | {wrong} | {' | '.join(str(s.paid) for s in scores.values())} |")
    lines.append(
        f"| **no verdict** on hostile answers | {len(HOSTILE)} | {' | '.join(str(s.hung) for s in scores.values())} |"
    )
    medians = " | ".join(f"{1000 * statistics.median(s.seconds):.2f}" for s in scores.values())
    lines.append(f"| median time, ms | | {medians} |")
    tails = " | ".join(f"{1000 * sorted(s.seconds)[int(0.99 * len(s.seconds))]:.2f}" for s in scores.values())
    lines.append(f"| 99th percentile, ms | | {tails} |")
    return "\n".join(lines)


def main() -> None:
    """Parse the arguments, run every installed grader, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="Geometry3K: an InterGPS folder, or Parquet of data_prep")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds until an answer counts as a hang (20)")
    parser.add_argument("--only", action="append", choices=list(GRADERS), help="only this grader; may be repeated")
    parser.add_argument("--serve", choices=list(GRADERS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    if arguments.source is None:
        parser.error("--source is needed")
    problems = problems_in(arguments.source)
    names = [name for name, (module, _) in GRADERS.items() if is_installed(module)]
    names = [name for name in names if not arguments.only or name in arguments.only]
    scores = {name: measure(name, problems, arguments.limit) for name in names}
    text = f"{len(problems)} problems, golds as stored\n\n{table(scores, problems)}"
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
