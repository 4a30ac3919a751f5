"""The worker pool: right answers, hard limits, respawned workers, any thread, forked processes."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from uec_vlm.verifier import Item, judge, judge_many
from uec_vlm.verifier.answers import readings
from uec_vlm.verifier.limits import Work
from uec_vlm.verifier.nodes import Fn, Node, Num, Pow, Rel, Seq, Sym
from uec_vlm.verifier.pool import Pool, WorkerTimeout, shared_pool
from uec_vlm.verifier.settle import settle
from uec_vlm.verifier.wire import decode, encode

# on a machine that others load, a comparison of milliseconds can take longer than its limit
PATIENT_S = 30.0


def read(text: str) -> Node:
    return settle(next(readings(text)), Work())


@pytest.fixture(scope="module")
def pool():
    pool = Pool(1)
    yield pool
    pool.close()


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        (r"1 \le |z| \le 2", r"z \in [-2,-1] \cup [1,2]", True),
        (r"1 \le |z| \le 2", r"z \in [-2,-1] \cup [1,3]", False),
        ("x^2 < 4", "-2 < x < 2", True),
        ("x^2 < 4", r"-2 \le x < 2", False),
        (r"\sin^2 x + y = 1", r"y = \cos^2 x", True),
        (r"\sin^2 x + y = 1", r"y = \cos x", False),
    ],
)
def test_solution_sets_and_equations(pool: Pool, gold: str, answer: str, verdict: bool) -> None:
    assert pool.same(read(gold), read(answer), timeout_s=PATIENT_S) is verdict


def test_what_it_does_not_know_is_unknown(pool: Pool) -> None:
    assert pool.same(read("x < y"), read("y > x"), timeout_s=PATIENT_S) is None


def endless() -> tuple[Node, Node]:
    """An inequality that sympy does not solve in reasonable time."""
    x = Sym("x")
    tower: Node = x
    for _ in range(4):
        tower = Fn("sin", (Pow(tower, Fn("exp", (tower,))),))
    return Rel(("<",), (tower, x)), Seq("interval", (Num(1), Num(2)), "()")


def test_an_endless_comparison_is_killed_and_its_worker_replaced(pool: Pool) -> None:
    assert pool.same(read("x^2 < 4"), read("-2 < x < 2"), timeout_s=PATIENT_S)  # started
    start = time.monotonic()
    with pytest.raises(WorkerTimeout):
        pool.same(*endless(), timeout_s=0.3)
    assert time.monotonic() - start < 5.0
    assert pool.same(read("x^2 < 4"), read("-2 < x < 2"), timeout_s=PATIENT_S)


def test_a_worker_that_is_killed_is_replaced_and_its_comparison_asked_again(pool: Pool) -> None:
    for _ in range(2):
        assert pool.same(read("x^2 < 4"), read("-2 < x < 2"), timeout_s=PATIENT_S)
        worker = pool._idle.get()
        assert worker is not None
        os.kill(worker.process.pid, signal.SIGKILL)
        pool._idle.put(worker)
    assert pool.same(read("x^2 < 4"), read("-2 < x < 2"), timeout_s=PATIENT_S)


def test_it_works_from_any_thread_with_the_same_verdicts() -> None:
    cases = [(r"\boxed{\sqrt{20}}", r"2\sqrt{5}"), (r"\boxed{5}", "6"), (r"\boxed{45°}", "45"), ("nothing", "1")]
    expected = [judge(*case) for case in cases]
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(judge(*case) for case in cases))
    thread.start()
    thread.join()
    assert found == expected


def test_a_forked_child_gets_a_pool_of_its_own() -> None:
    parents = shared_pool()
    child = os.fork()
    if child == 0:
        os._exit(0 if shared_pool() is not parents and shared_pool().process_id == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert shared_pool() is parents


def test_a_worker_loads_neither_torch_nor_the_public_package() -> None:
    code = "import uec_vlm.verifier.worker, uec_vlm.verifier.symbolic, sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "uec_vlm.verifier.symbolic" in loaded
    assert not {"torch", "transformers", "uec_vlm.records", "uec_vlm.verifier.judging"} & set(loaded)


def test_trees_survive_the_wire() -> None:
    for text in (
        r"\frac{1}{2}\sin 30^\circ",
        "(3, 4]",
        r"\{1\} \cup [2,3)",
        "x_1 = 5",
        "12 cm^2",
        r"\triangle ABC",
        "3.50",
    ):
        tree = next(readings(text))
        assert decode(encode(tree)) == tree
    matrix = next(readings(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"))
    assert decode(encode(matrix)) == matrix


def test_many_items_come_back_in_order() -> None:
    items = [Item(f"\\boxed{{{n}}}", str(n % 7)) for n in range(50)]
    assert [verdict.correct for verdict in judge_many(items)] == [n == n % 7 for n in range(50)]
    assert judge_many([]) == []
    assert judge_many([{"response": r"\boxed{B}", "gold": "2", "choices": ["1", "2"]}])[0].reason == "choice"


def test_a_batch_has_a_limit_of_its_own() -> None:
    items = [Item(r"\boxed{x^2 < 4}", "-2 < x < 2")] * 3
    assert [verdict.correct for verdict in judge_many(items, timeout_s=PATIENT_S, batch_timeout_s=90.0)] == [True] * 3
    start = time.monotonic()
    late = judge_many([*items, Item(r"\boxed{5}", "5")], batch_timeout_s=0.0, timeout_s=PATIENT_S)
    assert [verdict.reason for verdict in late] == ["timeout"] * 3 + ["exact"]
    assert time.monotonic() - start < PATIENT_S
