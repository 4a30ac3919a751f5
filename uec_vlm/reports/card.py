"""The model card of a checkpoint, from its run folder: data, settings, curves, evaluation, licence, how to load it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCardData

from uec_vlm.reports import tables
from uec_vlm.reports.run import load_run
from uec_vlm.reports.statistics import estimate
from uec_vlm.runlog import RunFolder

_CURVES = {
    "rollout/accuracy": "accuracy of rollouts",
    "rollout/entropy": "entropy, nats",
    "explore/solved": "hard prompts solved",
    "eval/pass@1": "validation pass@1",
}
_WRONG_PICTURES = {"shuffled": "another problem's", "blank": "blank", "none": "none"}
_ROWS = 10


def model_card(run: RunFolder, *, step: int, family: str, sees: bool, adapter: bool) -> str:
    """README.md of `checkpoints/step_<step>` as Markdown with the Hub's header.

    family: of `FAMILIES`. sees: whether it reads pictures. adapter: whether the folder is an adapter's alone.
    """
    config, environment = run.config(), run.environment()
    packages = environment.get("packages", {})
    base = str(config["model"]["path"])
    title = f"{config['run']['name']}, step {step}"
    header = ModelCardData(
        base_model=base if "/" in base and not Path(base).is_dir() else None,
        library_name="peft" if adapter else "transformers",
        license=_base_licence(Path(base)),
        pipeline_tag="image-text-to-text" if sees else "text-generation",
        model_name=title,
        tags=["reinforcement-learning", "uec-rl", family, str(config["algorithm"] or "custom")],
    )
    parts = [
        f"---\n{header.to_yaml()}\n---",
        f"# {title}",
        f"Trained with uec-vlm by reinforcement learning with verifiable rewards: `{config['algorithm'] or 'custom'}`, "
        f"{step} of {config['run']['steps']} steps of {config['rollout']['prompts_per_step']} prompts x "
        f"{config['rollout']['completions_per_prompt']} completions, from `{base}` ({family}), "
        f"seed {config['run']['seed']}.",
        "## Use\n\n" + _use(config, sees=sees, adapter=adapter),
        "## Data\n\n" + _data(config["data"]),
        "## Evaluation\n\n" + _evaluation(run, step),
        *(["## Does it look at the picture?\n\n" + _pictures(run, step)] if sees else []),
        "## Training\n\n" + _curves(run, step),
        "<details><summary>All settings</summary>\n\n```yaml\n"
        + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        + "```\n\n</details>",
        "## Environment\n\n" + ", ".join(f"{name} {version}" for name, version in packages.items())
        + f"; commit {environment.get('commit') or 'unknown'}.",
        "## Licence\n\n" + _licence(base, header.license),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _use(config: Mapping[str, Any], *, sees: bool, adapter: bool) -> str:
    kind = "AutoModelForImageTextToText" if sees else "AutoModelForCausalLM"
    reader = "AutoProcessor" if sees else "AutoTokenizer"
    said = "The folder holds an adapter; peft finds its base model by name.\n\n" if adapter else ""
    code = (
        f"```python\nfrom transformers import {kind}, {reader}\n\n"
        f'model = {kind}.from_pretrained("FOLDER")\nreader = {reader}.from_pretrained("FOLDER")\n```'
    )
    prompt = config["data"]["prompt"]
    template = json.dumps(prompt["template"], ensure_ascii=False)
    limits = f", pictures of {prompt['min_pixels']} to {prompt['max_pixels']} pixels" if sees else ""
    return f"{said}{code}\n\nIt was asked with the template `{template}`{limits}, at temperature " + (
        f"{config['rollout']['temperature']}, up to {config['rollout']['max_new_tokens']} new tokens."
    )


def _data(data: Mapping[str, Any]) -> str:
    lines = ["| split | source | rows | SHA-256 | licence |", "|---|---|---|---|---|"]
    for split in ("train", "validation", "test"):
        for source in _sources(data.get(split)):
            name, rows, digest, licence = _described(source)
            lines.append(f"| {split} | {name} | {rows} | {digest} | {licence} |")
    return "\n".join(lines)


def _sources(source: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """The files and generators of a split; a mixture's parts one by one."""
    if source is not None and source["kind"] == "mixture":
        for part in source["parts"]:
            yield from _sources(part["source"])
    elif source is not None:
        yield source


def _described(source: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Name, rows, hash and licence of one source; of a file, from the manifest that lies beside it."""
    if source["kind"] == "geosynth":
        return f"generated geometry, seed {source['seed']}", str(source["count"]), "made from the seed", "Apache-2.0"
    file = Path(source["path"])
    beside = file.parent / "manifest.json"
    manifest = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    rows = manifest.get("splits", {}).get(file.stem, {}).get("rows_written", "unknown")
    digest = manifest.get("files", {}).get(file.name, {}).get("sha256")
    licence = str(manifest.get("licence", "unknown"))
    return str(manifest.get("dataset", file.name)), str(rows), f"`{digest[:16]}`" if digest else "unknown", licence


def _evaluation(run: RunFolder, step: int) -> str:
    lines = ["| split | step | problems x samples | pass@1, 95 % interval | format |", "|---|---|---|---|---|"]
    for row in run.evaluations():
        if row["step"] not in (0, step):
            continue
        samples, problems = row["samples"], len(row["ids"])
        share = estimate([count / samples for count in row["correct"]])
        form = sum(row["formatted"]) / (samples * problems)
        lines.append(f"| {row['split']} | {row['step']} | {problems} x {samples} | {share} | {form:.3f} |")
    return "\n".join(lines) if len(lines) > 2 else "This step was not evaluated."


def _pictures(run: RunFolder, step: int) -> str:
    """The controls: accuracy on the same problems with a wrong picture."""
    told = tables.controls(load_run(run.path))
    rows = [row for row in told.to_dict("records") if row["step"] in (0, step)]
    if not rows:
        return "Not measured (`evaluate.controls`)."
    lines = ["| split | step | picture | accuracy | with the true one | difference, 95 % interval |", "|---" * 6 + "|"]
    for row in rows:
        interval = f"{row['gain']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        shown = f"{row['accuracy']:.3f} | {row['true']:.3f} | {interval}"
        lines.append(f"| {row['split']} | {row['step']} | {_WRONG_PICTURES[row['control']]} | {shown} |")
    return "\n".join(lines) + "\n\nThe same problems; a model that does not look answers them as well with any picture."


def _curves(run: RunFolder, step: int) -> str:
    rows = [row for row in run.metrics() if row["step"] <= step]
    chosen = rows if len(rows) <= _ROWS else [rows[place * (len(rows) - 1) // (_ROWS - 1)] for place in range(_ROWS)]
    lines = ["| step | " + " | ".join(_CURVES.values()) + " |", "|---" * (len(_CURVES) + 1) + "|"]
    for row in chosen:
        lines.append(f"| {row['step']:.0f} | " + " | ".join(_number(row.get(name)) for name in _CURVES) + " |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _base_licence(base: Path) -> str | None:
    """The licence in the header of the base model's own card, where its folder is at hand."""
    card = base / "README.md"
    if str(base) == "starter":
        return "apache-2.0"
    if not card.is_file():
        return None
    pieces: Sequence[str] = card.read_text(encoding="utf-8").split("---")
    head = yaml.safe_load(pieces[1]) if len(pieces) > 2 else None
    return str(head["license"]) if isinstance(head, dict) and head.get("license") else None


def _licence(base: str, licence: str | None) -> str:
    if licence is not None:
        return f"That of the base model `{base}`: {licence}. The training data have licences of their own, see above."
    return f"That of the base model `{base}`, which is not at hand here; look it up before passing the weights on."
