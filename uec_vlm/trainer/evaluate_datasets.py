"""`uec-vlm eval MODEL DATASETS...`: a model on data sets, as training would ask and grade; resumable row by row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

import uec_vlm.verifier
from uec_vlm.batches import load_samples
from uec_vlm.config import RunConfig
from uec_vlm.durable import append_line, sha256_of, sha256_of_all, write_text
from uec_vlm.errors import DataError, PromptError, RunError
from uec_vlm.policy import load_config
from uec_vlm.records import Judged, Prompt, Sample
from uec_vlm.reports.answers import Answers, estimates, markdown, paired_test
from uec_vlm.rollouts import SamplingSettings
from uec_vlm.trainer.build import Bench, build_bench, build_samples, model_folder
from uec_vlm.trainer.evaluation_config import EvalOptions, evaluation_config
from uec_vlm.trainer.seeds import seed_for
from uec_vlm.trainer.usable import refuse_unmeasurable
from uec_vlm.verifier import DEFAULT_POLICY, normalise_answer

_PROMPTS_AT_ONCE = 16
_SPLITS = ("train", "validation", "test")


def open_dataset(name: str, config: RunConfig) -> tuple[Sequence[Sample], str]:
    """The samples of a Parquet file, of the test split of a prepared folder, or of a split of the configuration.

    Returns them with a fingerprint of the data. DataError names what there is.
    """
    if name in _SPLITS:
        source = getattr(config.data, name)
        if source is None:
            raise DataError(
                f"'{name}': the configuration has no such split. Give that of a run with --config, or a Parquet file."
            )
        if source.kind == "geosynth":
            return build_samples(source, name), hashlib.sha256(source.model_dump_json().encode()).hexdigest()
        if source.kind == "mixture":
            raise DataError(f"'{name}': data.{name} is a mixture; name the Parquet files of its parts instead.")
        return build_samples(source, name), sha256_of(Path(source.path))
    path = Path(name)
    held_out = [path / f"{split}.parquet" for split in ("test", "validation")]
    file = next((one for one in held_out if one.is_file()), path)
    if (path / "train.parquet").is_file() and file is path:
        raise DataError(f"'{name}': it holds training problems only; name {path / 'train.parquet'} if they are meant.")
    if not file.is_file():
        raise DataError(
            f"'{name}': neither a Parquet file, nor a folder of `python -m data_prep`, nor one of {list(_SPLITS)}."
        )
    return load_samples(file), sha256_of(file)


def evaluate_datasets(
    model: str, datasets: Sequence[str], *, config: Path | None, options: EvalOptions, console: Console
) -> dict[str, Any]:
    """Ask, grade, write `rows.jsonl`, `result.json` and `result.md`. A restart goes on behind the last whole row."""
    settings = evaluation_config(model, config, options)
    other = read_rows(options.against) if options.against is not None else []  # a wrong path is told before the work
    load_config(model_folder(model))  # so is a wrong model, before a folder is made for it
    sets = {name: open_dataset(name, settings) for name in datasets}
    for name, (samples, _) in sets.items():  # rows of a result are known by their ids
        refuse_unmeasurable(samples, f"'{name}'")
    described = _describe(settings, {name: digest for name, (_, digest) in sets.items()}, options.limit)
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]
    weights = _fingerprint(Path(model_folder(model)))
    out = options.out or Path("evaluations") / f"{Path(model).name}-{digest}-{weights[:6]}"
    head = {"model": model, "weights": weights, "settings_hash": digest, "settings": described}
    done = _open(out, head)
    console.print(f"{out}: {len(done)} problems are there" if done else f"{out}", highlight=False, soft_wrap=True)
    bench: Bench | None = None
    for name, (samples, _) in sets.items():
        count = len(samples) if options.limit is None else min(options.limit, len(samples))
        for start in range(0, count, _PROMPTS_AT_ONCE):
            part = [samples[place] for place in range(start, min(start + _PROMPTS_AT_ONCE, count))]
            missing = [sample for sample in part if (name, sample.id) not in done]
            if missing:
                bench = bench or build_bench(settings, device=_device(settings))
                for row in _ask(bench, missing, name, settings):
                    append_line(out / "rows.jsonl", row)
                    done[name, row["id"]] = row
            console.print(f"{name}: {min(start + _PROMPTS_AT_ONCE, count)} of {count}", highlight=False)
    result = _result(head, list(done.values()), list(sets), options.against, other)
    write_text(out / "result.json", json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    page = markdown(result)
    write_text(out / "result.md", page)
    console.print(page, markup=False, highlight=False, soft_wrap=True)
    return result


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a result: its folder, its `result.json` or its `rows.jsonl`; a torn last line is left out."""
    file = (path if path.is_dir() else path.parent) / "rows.jsonl"
    if not file.is_file():
        raise RunError(f"{path}: there is no rows.jsonl; give the folder or the result.json of an evaluation.")
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            rows.append(json.loads(line))
    return rows


def _describe(config: RunConfig, data: dict[str, str], limit: int | None) -> dict[str, Any]:
    """Everything that decides the questions, the sampling and the grading; the model is not in it."""
    return {
        "prompt": config.data.prompt.model_dump(mode="json"),
        "sampling": {
            "samples": config.evaluate.test_samples,
            "temperature": config.evaluate.temperature,
            "max_new_tokens": config.rollout.max_new_tokens,
            "seed": config.run.seed,
            "engine": config.rollout.engine,
            "mode": "choices" if config.data.prompt.four_choices else "open",
        },
        "grader": grader_digest(),
        "format": config.reward.format,
        "data": data,
        "limit": limit,
    }


def grader_digest() -> str:
    """A hash of the verifier's source and of its policy: two results with the same one were graded alike."""
    digest = hashlib.sha256(repr(DEFAULT_POLICY).encode())
    for file in sorted(Path(uec_vlm.verifier.__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _fingerprint(folder: Path) -> str:
    """A hash of every weight file, whole: adapters leave the first tensors alone. Of the name without a folder."""
    if not folder.is_dir():
        return hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    return sha256_of_all(sorted(folder.glob("*.safetensors")))[:12]


def _open(out: Path, head: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows that are there. RunError if the folder holds an evaluation with other settings or weights."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / "settings.json"
    if not file.is_file():
        write_text(file, json.dumps(head, indent=2, ensure_ascii=False) + "\n")
        return {}
    known = json.loads(file.read_text(encoding="utf-8"))
    for key, said in (("settings_hash", "settings"), ("weights", "weights")):
        if known[key] != head[key]:
            raise RunError(
                f"{out} holds an evaluation with other {said} ({known[key]}, now {head[key]}); choose another --out."
            )
    if not (out / "rows.jsonl").is_file():
        return {}
    rows = read_rows(out)
    write_text(out / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return {(row["dataset"], row["id"]): row for row in rows}


def _ask(bench: Bench, samples: Sequence[Sample], dataset: str, config: RunConfig) -> Iterator[dict[str, Any]]:
    """Rows of these samples: first those that cannot be asked, then the graded ones in order."""
    prompts: list[Prompt] = []
    for sample in samples:
        try:
            prompts.append(bench.render(sample))
        except (PromptError, DataError) as error:
            yield {"dataset": dataset, "id": sample.id, "refused": str(error)}
    if not prompts:
        return
    groups = bench.engine.generate(
        prompts,
        completions=config.evaluate.test_samples,
        sampling=SamplingSettings(
            temperature=config.evaluate.temperature, top_p=1.0, max_new_tokens=config.rollout.max_new_tokens
        ),
        seeds=[seed_for(config.run.seed, "evaluate", dataset, prompt.sample.id) for prompt in prompts],
    )
    for prompt, group in zip(prompts, groups, strict=True):
        yield _row(dataset, prompt.sample, bench.judge(group))


def _row(dataset: str, sample: Sample, judged: Sequence[Judged]) -> dict[str, Any]:
    extracted = [item.verdict.extracted for item in judged]
    return {
        "dataset": dataset,
        "id": sample.id,
        "gold": sample.answer,
        "correct": [bool(item.accuracy) for item in judged],
        "votes": [None if text is None else normalise_answer(text) for text in extracted],
        "reasons": [item.verdict.reason for item in judged],
        "formatted": [bool(item.format) for item in judged],
        "tokens": [len(item.rollout.completion_ids) for item in judged],
        "texts": [item.rollout.answer for item in judged],
    }


def answers_of(rows: Sequence[dict[str, Any]]) -> list[Answers]:
    """The graded rows as records; refused ones are left out."""
    keys = ("correct", "votes", "formatted", "tokens")
    return [
        Answers(row["dataset"], row["id"], **{key: tuple(row[key]) for key in keys})
        for row in rows
        if "refused" not in row
    ]


def _result(
    head: dict[str, Any],
    rows: Sequence[dict[str, Any]],
    datasets: Sequence[str],
    against: Path | None,
    other: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in datasets:
        own = [row for row in rows if row["dataset"] == name]
        graded = answers_of(own)
        if not graded:
            raise DataError(f"'{name}': no problem could be asked. The first reason: {own[0]['refused']}")
        entry: dict[str, Any] = {
            "problems": len(graded),
            "refused": len(own) - len(graded),
            "figures": {key: asdict(value) for key, value in estimates(graded).items()},
        }
        if against is not None:
            entry["against"] = _against(answers_of([row for row in other if row["dataset"] == name]), graded, against)
        found[name] = entry
    return {**head, "datasets": found, **({"against": str(against)} if against is not None else {})}


def _against(before: Sequence[Answers], after: Sequence[Answers], path: Path) -> dict[str, Any]:
    try:
        found = paired_test(before, after)
    except ValueError as error:
        raise RunError(f"--against {path}: {error}; evaluate both on the same data sets.") from error
    return {**asdict(found.difference), "problems": found.problems, "p_value": found.p_value}


def _device(config: RunConfig) -> Any:
    from accelerate import Accelerator

    return Accelerator(cpu=config.model.device == "cpu").device
