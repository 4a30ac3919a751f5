"""Audit prepared folders: what is repeated, what leaks from training into evaluation, and what the data look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data_prep.duplicates import LARGEST_BUCKET, Pair, find_pairs
from data_prep.fingerprints import Fingerprint, fingerprints
from data_prep.statistics import CountTokens, SplitStatistics
from uec_vlm.errors import ConfigError

CUT = f"of a split only the first {LARGEST_BUCKET} were compared with one another; of different splits all were"
SHOWN_PAIRS = 200
"""Pairs of each kind that the report names; all are counted."""
LEAKAGE = (
    "Across splits: leakage, where one of them is trained on or chooses the checkpoint; what is measured was seen "
    "before, so its number is too high. Take that one's row out of your table and prepare again."
)
PICTURE_ALONE = (
    "A picture that is shared without the text may be two questions about one figure; look at both in audit.html."
)
REPEATED = "Within a split: the problem counts several times. Keep one of its rows."
CLASH = "pairs share text, but not the answer: one gold of them may be wrong. Compare the golds."
NAMED = (
    f"audit.json names the ids of the pairs under `named`, the first {SHOWN_PAIRS} of each kind; no option drops rows."
)


@dataclass(frozen=True)
class DataAudit:
    """rows: of all folders, the audited one first. pairs: of places in `rows`; pairs within `against` are left out.

    cut: groups of alike texts so large that not all rows of a split were compared with one another.
    """

    folder: Path
    against: tuple[Path, ...]
    rows: tuple[Fingerprint, ...]
    pairs: tuple[Pair, ...]
    statistics: dict[str, SplitStatistics]
    cut: int = 0

    def scope(self, pair: Pair) -> str:
        """`train`, for a pair within a split; `train / test` or `train / mathvista:test` for one across."""
        return " / ".join(dict.fromkeys(self._part(self.rows[place]) for place in (pair.one, pair.other)))

    def _part(self, row: Fingerprint) -> str:
        return row.split if row.place == self.folder.name else f"{row.place}:{row.split}"

    def table(self) -> dict[str, Counter[str]]:
        """Scope -> kind -> number of pairs."""
        counts: dict[str, Counter[str]] = {}
        for pair in self.pairs:
            counts.setdefault(self.scope(pair), Counter())[pair.kind] += 1
        return dict(sorted(counts.items()))

    def leaking_rows(self) -> dict[str, int]:
        """Across-scope -> rows of the first part that share with some row of the second."""
        held: dict[str, set[int]] = {}
        for pair in self.pairs:
            if " / " in (scope := self.scope(pair)):
                held.setdefault(scope, set()).add(pair.other)
        return {scope: len(places) for scope, places in sorted(held.items())}

    def as_json(self) -> dict[str, Any]:
        """The whole audit; of each scope and kind at most `SHOWN_PAIRS` pairs are named."""
        named: dict[str, list[dict[str, Any]]] = {}
        for pair in self.pairs:
            listed = named.setdefault(f"{self.scope(pair)}: {pair.kind}", [])
            if len(listed) < SHOWN_PAIRS:
                ids = [self.rows[place].id for place in (pair.one, pair.other)]
                listed.append({"rows": ids, "same_answer": pair.same_answer})
        return {
            "folder": self.folder.name,
            "against": [path.name for path in self.against],
            "pairs": {scope: dict(kinds) for scope, kinds in self.table().items()},
            "rows_of_the_later_part_that_share": self.leaking_rows(),
            "groups_compared_in_part": self.cut,
            "named": named,
            "statistics": {split: one.summary() for split, one in self.statistics.items()},
        }

    def lines(self) -> list[str]:
        """The audit in a few lines for the terminal."""
        told = [f"{self.folder.name}: {sum(one.rows for one in self.statistics.values())} rows"]
        for split, one in self.statistics.items():
            told.append(f"  {split}: {one.rows} rows; answers {dict(one.answers)}; pictures a row {dict(one.pictures)}")
        for scope, kinds in self.table().items():
            told.append(f"  {scope}: " + ", ".join(f"{count} pairs of {kind}" for kind, count in sorted(kinds.items())))
        for scope, count in self.leaking_rows().items():
            told.append(f"  {scope}: {count} rows of the later part share with the earlier one")
        if self.cut:
            told.append(f"  {self.cut} groups of alike texts: {CUT}")
        return [*told, *self._meaning()]

    def _meaning(self) -> list[str]:
        """What the findings mean, and what to do."""
        if not self.pairs:
            return ["  no two rows share a picture or a text"]
        across = [pair for pair in self.pairs if " / " in self.scope(pair)]
        told = []
        if across:
            told.append(LEAKAGE)
        if any(pair.text == "none" for pair in across):
            told.append(PICTURE_ALONE)
        if len(across) < len(self.pairs):
            told.append(REPEATED)
        if clash := sum(pair.text != "none" and not pair.same_answer for pair in self.pairs):
            told.append(f"{clash} {CLASH}")
        return [*told, NAMED]


def audit(
    folder: Path,
    against: Sequence[Path],
    *,
    image_tokens: Callable[[int, int], int],
    tokens: CountTokens | None = None,
) -> DataAudit:
    """Audit `folder`, alone and against other prepared folders. Raises `DataError` where one is not prepared."""
    missing = [name for name in ("imagehash", "jinja2") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"audit needs {' and '.join(missing)}: pip install 'uec-vlm[audit]'")
    names = [path.resolve().name for path in (folder, *against)]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"--against: the folders {names} must have different names, which tell them apart in the report"
        )
    statistics: dict[str, SplitStatistics] = {}
    rows = []
    for row, raw in fingerprints(folder):
        rows.append(row)
        statistics.setdefault(row.split, SplitStatistics()).add(raw, image_tokens=image_tokens, tokens=tokens)
    own = len(rows)
    for path in against:
        rows += [row for row, _ in fingerprints(path)]
    search = find_pairs(rows)
    pairs = tuple(pair for pair in search.pairs if pair.one < own)
    return DataAudit(folder, tuple(against), tuple(rows), pairs, statistics, search.cut)
