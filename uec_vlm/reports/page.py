"""One self-contained page of a run: health, figures, curves, a difficulty map, a browser of rollouts.

It needs no network and no server, and a content policy in it forbids both; what a model wrote is packed data that the
page's script shows as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from uec_vlm.dumps import COLUMNS, read_dumps
from uec_vlm.reports import tables
from uec_vlm.reports.alarms import find_alarms
from uec_vlm.reports.figures import difficulty_map, figures
from uec_vlm.reports.packing import pack
from uec_vlm.reports.run import Run
from uec_vlm.reports.statistics import Estimate, estimate

BUDGET = 20 * 2**20
"""Bytes of packed rollouts and pictures in a page; with the charts' library it stays below 30 MB."""

# The curves that are always in view; the others are folded on a phone.
_FIRST = ("accuracy", "passk", "controls", "entropy", "hard", "trained")

_COLUMNS = tuple(column.name for column in COLUMNS if column.name != "policy_version")


def write_page(run: Run, out: Path, *, budget: int = BUDGET) -> Path:
    """Writes the page of a run; returns its path. budget: bytes of rollouts and pictures in it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render_page(run, budget=budget), encoding="utf-8")
    return out


def render_page(run: Run, *, budget: int = BUDGET, live: bool = False) -> str:
    """The page as HTML. live: it asks the server that gave it whether there is something new."""
    folder = run.folder.path / "rollouts"
    packed = pack(_rollouts(folder), folder, budget=budget)
    maps = {split: difficulty_map(run, split) for split in ("validation", "test", "train")}
    return render(
        "run.html.j2",
        {
            **{key: as_json(figure) for key, figure in figures(run).items()},
            **{f"map_{split}": as_json(figure) for split, figure in maps.items() if figure.data},
        },
        live=live,
        first=_FIRST,
        run=run,
        alarms=find_alarms(run),
        facts=_facts(run),
        stats=_stats(run),
        splits=[split for split, figure in maps.items() if figure.data],
        evaluations=_evaluation_rows(run),
        packed=packed,
        config=yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True),
        environment=json.dumps(run.environment, indent=2, ensure_ascii=False),
    )


def render(template: str, drawn: Mapping[str, Any], *, live: bool = False, **values: Any) -> str:
    """A template of this folder with the charts' library, script and style in it, under a content policy of its own."""
    scripts = [Markup(_library()), Markup(_asset("page.js"))]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        f"connect-src {_self(live)}; base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            policy=policy,
            scripts=scripts,
            style=Markup(_asset("page.css")),
            figures=Markup(harmless(drawn)),
            keys=list(drawn),
            live=live,
            made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
            **values,
        )
    )


def as_json(figure: go.Figure) -> dict[str, Any]:
    """A figure as plain JSON: traces and layout."""
    made: dict[str, Any] = json.loads(figure.to_json())
    return {"data": made["data"], "layout": {k: v for k, v in made["layout"].items() if k != "template"}}


def harmless(value: Any) -> str:
    """JSON that can stand inside a script element: no character of it can end the element or begin another."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _rollouts(folder: Path) -> list[dict[str, Any]]:
    return read_dumps(folder, columns=_COLUMNS) if folder.is_dir() else []


def _facts(run: Run) -> list[tuple[str, str]]:
    """The line below the title."""
    prompts = run.setting("rollout", "prompts_per_step")
    completions = run.setting("rollout", "completions_per_prompt")
    facts = [
        ("algorithm", run.config.get("algorithm") or "custom objective"),
        ("model", run.setting("model", "path", default="unknown")),
        ("step", f"{run.last_step} of {run.planned_steps}"),
        ("batch", f"{prompts} prompts × {completions} completions" if prompts else ""),
        ("seed", str(run.seed)),
        ("commit", str(run.environment.get("commit") or "")[:12]),
    ]
    return [(name, str(value)) for name, value in facts if value]


def _stats(run: Run) -> list[dict[str, str]]:
    """The key figures: a label, a number, and a line that says what it means."""
    stats = []
    for split in ("test", "validation"):
        rows = run.of_split(split)
        if not rows:
            continue
        last = estimate(tables.accuracies(rows[-1]))
        note = f"95 % {_interval(last)}"
        if len(rows) > 1:
            gain = tables.gain(rows[0], rows[-1])
            note = f"{gain.mean:+.3f} {_interval(gain)} since step {rows[0]['step']}"
        stats.append({"label": f"{split} pass@1", "value": f"{last.mean:.3f}", "note": note})
    stats += [*_reliance(run), *_format(run), *_exploration(run)]
    taken = tables.cost(run)
    stats.append(
        {
            "label": "cost",
            "value": _short(taken["sampled_tokens"]),
            "note": f"tokens sampled, {taken['optimizer_steps']:.0f} optimizer steps, {_duration(taken['seconds'])}",
        }
    )
    return stats


def _reliance(run: Run) -> list[dict[str, str]]:
    table = tables.controls(run)
    if table.empty or not (table["control"] == "shuffled").any():
        return []
    shuffled = table[table["control"] == "shuffled"]
    split = "test" if (shuffled["split"] == "test").any() else "validation"
    last = shuffled[shuffled["split"] == split].iloc[-1]
    note = f"{split}: {last['true']:.3f} with the picture, {last['accuracy']:.3f} with another's"
    return [{"label": "gain by the picture", "value": f"{last['gain']:+.3f}", "note": note}]


def _format(run: Run) -> list[dict[str, str]]:
    gain = tables.format_share(run, "test" if len(run.of_split("test")) > 1 else "validation")
    if gain is None:
        return []
    note = f"of the gain of {gain.total:+.3f}; {gain.within:+.3f} is better answers"
    return [{"label": "gain by format", "value": f"{gain.by_format:+.3f}", "note": note}]


def _exploration(run: Run) -> list[dict[str, str]]:
    explored = tables.exploration(run)
    if not explored["explored_prompts"]:
        return []
    note = f"of {explored['explored_prompts']:.0f} explored"
    if explored["solved"]:
        note += f", {_short(explored['tokens_per_solved'])} tokens each"
    return [{"label": "hard prompts solved", "value": f"{explored['solved']:.0f}", "note": note}]


def _evaluation_rows(run: Run) -> list[list[str]]:
    rows = []
    for row in run.evaluations:
        points = tables.pass_at(row)
        most = max(points)
        interval = estimate(tables.accuracies(row))
        completions = row["samples"] * len(row["ids"])
        rows.append(
            [
                row["split"], str(row["step"]), f"{len(row['ids'])} × {row['samples']}", f"{interval.mean:.3f}",
                _interval(interval), f"{points[most]:.3f} (k = {most})", f"{sum(row['formatted']) / completions:.3f}",
            ]
        )  # fmt: skip
    return rows


def _interval(value: Estimate) -> str:
    return f"[{value.low:.3f}, {value.high:.3f}]"


def _short(number: float) -> str:
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.0f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _self(live: bool) -> str:
    return "'self'" if live else "'none'"


@lru_cache(maxsize=1)
def _library() -> str:
    """The charts' library, as it stands inside a script element."""
    text: str = get_plotlyjs()
    return text.replace("</script", "<\\/script")


def _asset(name: str) -> str:
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("uec_vlm.reports", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


__all__ = ["BUDGET", "as_json", "render", "render_page", "write_page"]
