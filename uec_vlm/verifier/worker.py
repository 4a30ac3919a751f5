"""The process that runs the slow comparisons: one JSON request per line in, one JSON answer per line out.

It holds no state between requests, may use a bounded amount of memory, and ends when its input is closed. It is started
and killed by `pool`, never imported by anything else.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

MEMORY_BYTES = 2 * 2**30


def main() -> None:
    """Answer requests until the input ends. A request is [gold, answer]; the answer true, false or null (unknown)."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)  # whatever a library prints must not become a reply
    os.dup2(sink, 2)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from uec_vlm.verifier import symbolic
    from uec_vlm.verifier.wire import decode

    symbolic.warm_up()
    replies.write('"ready"\n')
    for line in sys.stdin:
        gold, answer = json.loads(line)
        try:
            verdict: bool | None = symbolic.same(decode(gold), decode(answer))
        except Exception:  # sympy raises of every kind; "unknown" is an honest answer to all of them
            verdict = None
        replies.write(json.dumps(verdict) + "\n")
