"""What a check of the doctor says, and the table of all it said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

Level = Literal["ok", "warning", "error"]
_STYLES: dict[Level, str] = {"ok": "green", "warning": "yellow", "error": "red"}


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    check: a key of `CHECKS`. level: an error would stop the run or make its numbers wrong; a warning is for the user
    to judge. said: place, value and reason. remedy: what to do; empty where all is well.
    """

    check: str
    level: Level
    said: str
    remedy: str = ""


CHECKS: dict[str, str] = {
    "configuration": "the file parses, its objective and its reward functions bind",
    "objective": "its parts have an effect together, and the rewards do not make it keep wrong answers",
    "model": "the folder is a family that trains here, and its weight files are whole",
    "chat template": "it opens the answer's turn, and the token that closes a turn ends a completion",
    "special tokens": "picture and padding tokens are those of the configuration, and all ids have an embedding",
    "rows": "every row becomes a prompt: placeholders, pictures, image tokens against grids, length",
    "lengths": "the longest prompt and its completion fit the model and the budgets",
    "golds": "every gold is read by the verifier and graded right",
    "splits": "ids are unique, and no held-out problem is trained on",
    "versions": "the installed libraries agree with one another and are not known to be broken",
    "disk": "checkpoints and rollouts fit, and the run folder is free",
    "ranks": "the step's prompts and sequences divide among the processes",
    "engine": "the rollout engine answers and agrees with the policy",
}


@dataclass(frozen=True)
class Examination:
    """All findings, in the order of `CHECKS`."""

    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether there is no error; warnings are allowed."""
        return all(finding.level != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"healthy": self.healthy, "findings": [asdict(finding) for finding in self.findings]}

    def print(self, console: Console) -> None:
        """A table of the findings and a closing line."""
        table = Table(show_edge=False, pad_edge=False)
        for title in ("check", "", "what was found"):
            table.add_column(title, overflow="fold")
        for finding in self.findings:
            remedy = f"\n→ {finding.remedy}" if finding.remedy else ""
            style = _STYLES[finding.level]
            table.add_row(_plain(finding.check), f"[{style}]{finding.level}[/{style}]", _plain(finding.said + remedy))
        console.print(table)
        count = {level: sum(finding.level == level for finding in self.findings) for level in _STYLES}
        console.print(f"{count['error']} errors, {count['warning']} warnings, {count['ok']} checks passed")


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def several(places: Sequence[str], limit: int = 3) -> str:
    """The first few of many, and how many there are."""
    more = f" and {len(places) - limit} more" if len(places) > limit else ""
    return "; ".join(places[:limit]) + more
