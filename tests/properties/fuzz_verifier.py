#!/usr/bin/env python
"""Coverage-guided fuzzing of the verifier: `pip install atheris`, then run this file.

    python tests/properties/fuzz_verifier.py -max_total_time=600 -rss_limit_mb=1024 -timeout=5

Every input gets a documented reason, within half a second of processor time and without an exception.
"""

import sys
import time

import atheris

with atheris.instrument_imports(include=["uec_vlm.verifier"]):
    from uec_vlm.verifier.golds import answer_value, normalise_answer
    from uec_vlm.verifier.grading import Item, decide
    from uec_vlm.verifier.policy import REASONS

GOLDS = ["5", r"2\sqrt{221}", r"36\pi", "x+1", "(3, 4)", "[0,5)", "3 < x < 11", r"\pm 5", "3:4", "12 cm", "Yes", "B"]
CHOICES = ["5", r"2\sqrt{3}", r"\pi", "A"]
LIMIT_S = 0.5


def one_input(data: bytes) -> None:
    """Judge one text in a box and as it is, against a gold that is chosen or made by the fuzzer."""
    source = atheris.FuzzedDataProvider(data)
    own_gold = source.ConsumeBool()
    gold = source.ConsumeUnicode(30) if own_gold else GOLDS[source.ConsumeIntInRange(0, len(GOLDS) - 1)]
    choices = CHOICES if source.ConsumeBool() else None
    text = source.ConsumeUnicode(sys.maxsize)
    start = time.process_time()
    for response in (text, f"\\boxed{{{text}}}"):
        outcome = decide(Item(response, gold, choices))
        if outcome.reason not in REASONS:
            raise AssertionError(outcome.reason)
    if own_gold:
        normalise_answer(gold)
        answer_value(gold)
    if time.process_time() - start > LIMIT_S:
        raise AssertionError(f"took {time.process_time() - start:.2f} s")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
