"""The audit as one HTML file that needs nothing beside it: tables, plots and the pictures of some pairs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from data_prep.audit_data import CUT, DataAudit
from data_prep.parquet import parquet_rows
from data_prep.write import write_manifest
from uec_vlm.pictures import as_shown

PICTURED = 12
"""Pairs whose rows are shown in full, across splits first."""
PICTURE_SIDE = 320

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Audit of {{ known.folder }}</title><style>
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}
td.n{text-align:right}figure{margin:1rem 0}img{max-width:100%}
.pair{display:flex;gap:2rem;border-top:1px solid #ccc}
.pair div{flex:1;overflow-wrap:anywhere}.pair img{max-width:20rem}code{background:#f3f3f3}
</style></head><body>
<h1>Audit of {{ known.folder }}</h1>
<p>{% if known.against %}Against {{ known.against | join(", ") }}. {% endif %}A pair is two rows that share a picture
(the exact bytes, or a perceptual hash with at most {{ bits }} of 256 bits different) or a text (the same words, or the
same numbers and at least {{ words }} % common content words for 0 / 1 / 2 / 3 or more numbers).</p>
<h2>Shared rows</h2>
{% if known.pairs %}<table><tr><th>where</th><th>what</th><th>pairs</th></tr>
{% for scope, kinds in known.pairs.items() %}{% for kind, count in kinds.items() %}
<tr><td>{{ scope }}</td><td>{{ kind }}</td><td class="n">{{ count }}</td></tr>{% endfor %}{% endfor %}</table>
{% for scope, count in known.rows_of_the_later_part_that_share.items() %}
<p>{{ scope }}: <b>{{ count }}</b> rows of the later part share with the earlier one.</p>{% endfor %}
{% else %}<p>No two rows share a picture or a text.</p>{% endif %}
{% if known.groups_compared_in_part %}
<p>{{ known.groups_compared_in_part }} groups of alike texts: {{ cut }}.</p>{% endif %}
<h2>Splits</h2>
{% for split, one in known.statistics.items() %}<h3>{{ split }}: {{ one.rows }} rows</h3>
<table><tr><th>answers</th><th>rows</th></tr>{% for kind, count in one.answers.items() %}
<tr><td>{{ kind }}</td><td class="n">{{ count }}</td></tr>{% endfor %}</table>
<table><tr><th>pictures a row</th><th>rows</th></tr>{% for kind, count in one.pictures.items() %}
<tr><td>{{ kind }}</td><td class="n">{{ count }}</td></tr>{% endfor %}</table>
<table><tr><th>measure</th><th>n</th><th>mean</th>{% for at in percentiles %}<th>{{ at }} %</th>{% endfor %}</tr>
{% for name, m in one.measures.items() %}<tr><td>{{ name }}</td><td class="n">{{ m.count }}</td>
<td class="n">{{ "%.1f" | format(m.mean) }}</td>{% for at in percentiles %}
<td class="n">{{ "%.0f" | format(m["p%d" | format(at)]) }}</td>{% endfor %}</tr>{% endfor %}</table>{% endfor %}
<h2>Distributions</h2>
{% for title, data in plots %}
<figure><img alt="{{ title }}" src="data:image/png;base64,{{ data }}"></figure>{% endfor %}
{% if shown %}<h2>Some pairs</h2>{% for scope, kind, same, rows in shown %}
<p><b>{{ scope }}</b>: {{ kind }}, {{ "the same answer" if same else "different answers" }}</p>
<div class="pair">{% for row in rows %}<div><code>{{ row.id }}</code><p>{{ row.problem }}</p>
<p>Answer: {{ row.answer }}</p>{% for data in row.pictures %}<img alt="picture of {{ row.id }}"
src="data:image/png;base64,{{ data }}">{% endfor %}</div>{% endfor %}</div>{% endfor %}{% endif %}
<h2>Named pairs</h2>
{% for title, pairs in known.named.items() %}<details><summary>{{ title }} ({{ pairs | length }} named)</summary><ul>
{% for pair in pairs %}<li><code>{{ pair.rows[0] }}</code>, <code>{{ pair.rows[1] }}</code>{{ "" if pair.same_answer
else ", different answers" }}</li>{% endfor %}</ul></details>{% endfor %}
</body></html>
"""


def write_audit(found: DataAudit, out: Path) -> Path:
    """Write `out/audit.json` and the page `out/audit.html`; returns the page."""
    out.mkdir(parents=True, exist_ok=True)
    known = found.as_json()
    write_manifest(out / "audit.json", json.loads(json.dumps(known)))
    (out / "audit.html").write_text(page(found, known), encoding="utf-8")
    return out / "audit.html"


def page(found: DataAudit, known: dict[str, Any]) -> str:
    """The page; everything that comes from the data is escaped."""
    from jinja2 import Environment, StrictUndefined

    from data_prep.duplicates import SIMILAR_WORDS
    from data_prep.fingerprints import SIMILAR_BITS
    from data_prep.statistics import PERCENTILES

    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(TEMPLATE)
    return template.render(
        known=known,
        bits=SIMILAR_BITS,
        cut=CUT,
        words=" / ".join(f"{100 * share:.0f}" for share in SIMILAR_WORDS),
        percentiles=PERCENTILES,
        plots=list(_plots(found)),
        shown=_shown_pairs(found),
    )


def _plots(found: DataAudit) -> Iterator[tuple[str, str]]:
    """A bar chart of the answers and a histogram of each measure, the splits over one another, as PNG in base64."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    kinds = sorted({kind for one in found.statistics.values() for kind in one.answers})
    width = 0.8 / len(found.statistics)
    for place, (split, one) in enumerate(found.statistics.items()):
        shares = [one.answers[kind] / one.rows for kind in kinds]
        axes.bar([x + place * width for x in range(len(kinds))], shares, width, label=split)
    axes.set_xticks([x + 0.4 - width / 2 for x in range(len(kinds))], kinds)
    axes.set_ylabel("share of rows")
    axes.legend()
    yield "kinds of answers", _png(figure)
    names = dict.fromkeys(name for one in found.statistics.values() for name in one.measures)
    for name in names:
        figure = Figure(figsize=(9, 2.6), layout="constrained")
        axes = figure.subplots()
        parts = {split: one.measures[name] for split, one in found.statistics.items() if name in one.measures}
        axes.hist(list(parts.values()), bins=40, label=list(parts), density=True, histtype="step")
        axes.set_xlabel(name)
        axes.set_ylabel("density")
        axes.legend()
        yield name, _png(figure)


def _png(figure: Any) -> str:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=90, metadata={"Software": None})
    return base64.b64encode(file.getvalue()).decode()


def _shown_pairs(found: DataAudit) -> list[tuple[str, str, bool, list[dict[str, Any]]]]:
    across = [pair for pair in found.pairs if " / " in found.scope(pair)]
    within = [pair for pair in found.pairs if " / " not in found.scope(pair)]
    chosen = [*across, *within][:PICTURED]
    places = {place for pair in chosen for place in (pair.one, pair.other)}
    folders = {path.name: path for path in (found.folder, *found.against)}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for name, folder in folders.items():
        wanted = {found.rows[place].id for place in places if found.rows[place].place == name}
        for file in sorted(folder.glob("*.parquet")) if wanted else ():
            rows.update({(name, row["id"]): row for row in _wanted(file, wanted)})
    return [
        (
            found.scope(pair),
            pair.kind,
            pair.same_answer,
            [_shown(rows[found.rows[place].place, found.rows[place].id]) for place in (pair.one, pair.other)],
        )
        for pair in chosen
    ]


def _wanted(file: Path, ids: set[str]) -> Iterator[dict[str, Any]]:
    yield from (row for row in parquet_rows(file, ["id", "problem", "answer", "images"]) if row["id"] in ids)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its pictures scaled down, as PNG in base64."""
    from PIL import Image

    pictures = []
    for data in row["images"]:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
            small = as_shown(image).convert("RGBA")
            small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        file = BytesIO()
        small.save(file, "PNG")
        pictures.append(base64.b64encode(file.getvalue()).decode())
    return {**row, "pictures": pictures}
