"""How many planted leaks `data_prep audit` finds, and how many pairs it names that are none.

    python -m benchmarks.audit_leaks [--problems 300] [--seed 0] [--real ../shared/data/geometry3k_raw]

From generated problems (their diagrams resemble one another more than those of most data sets), or from real Geometry3K
folders, a training set and a test set are made that share nothing; then training problems are planted into the test
set: as they are, scaled, re-encoded, reworded with their picture, and reworded without one in four ways
(`benchmarks/rewordings.py`). A false alarm is a pair across the sets that was not planted.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from PIL import Image

from benchmarks.rewordings import TEXT_PLANTS, word_problem
from data_prep.audit_data import audit
from data_prep.common import RawRow
from data_prep.geometry3k import convert
from data_prep.sources import open_intergps
from data_prep.write import split_writer
from uec_vlm.geosynth import ProblemSet
from uec_vlm.records import Sample


def scaled(data: bytes, rng: random.Random) -> bytes:
    """The picture between half and 1.7 times its size, as PNG."""
    image, factor = _opened(data), rng.choice((0.5, 0.7, 1.3, 1.7))
    size = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
    return _encoded(image.resize(size, Image.Resampling.BICUBIC), "PNG")


def reencoded(data: bytes, rng: random.Random) -> bytes:
    """The picture as JPEG of quality 40 to 90."""
    return _encoded(_opened(data), "JPEG", quality=rng.choice((40, 60, 75, 90)))


def _opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data)).convert("RGBA")
    flat = Image.new("RGBA", image.size, "white")
    flat.alpha_composite(image)
    return flat.convert("RGB")


def _encoded(image: Image.Image, form: str, **settings: int) -> bytes:
    file = BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def reworded_question(sample: Sample, rng: random.Random) -> Sample:
    """The same picture under another question text."""
    text = sample.problem.replace("<image>", "").replace("Find", "Compute").replace("What is", "Determine")
    return replace(sample, problem=f"Look at the picture. {text} Round nothing.<image>")


PLANTS: dict[str, Callable[[Sample, random.Random], Sample]] = {
    "exact": lambda sample, rng: sample,
    "scaled": lambda sample, rng: replace(sample, images=tuple(scaled(one, rng) for one in sample.images)),
    "re-encoded": lambda sample, rng: replace(sample, images=tuple(reencoded(one, rng) for one in sample.images)),
    "reworded, with picture": reworded_question,
    **TEXT_PLANTS,
}


@dataclass(frozen=True)
class Score:
    """found, planted: pairs by plant. alarms: pairs across the sets that were not planted, by kind; of `pairs`."""

    found: Counter[str]
    planted: Counter[str]
    alarms: Counter[str]
    pairs: int


def score(pictured: Sequence[Sample], texts: Sequence[Sample], folder: Path, *, seed: int) -> Score:
    """Half of the problems train, half test; a sixth of the training problems are planted into the test set."""
    rng = random.Random(seed)
    kinds = {kind: texts if "text only" in kind else pictured for kind in PLANTS}
    train, test, origin = [], [], {}
    for bank in (pictured, texts):
        shuffled = rng.sample(list(bank), len(bank))
        train += shuffled[: len(bank) // 2]
        test += shuffled[len(bank) // 2 :]
    for kind, bank in kinds.items():
        known = {sample.id for sample in bank}
        for number, sample in enumerate(rng.sample([one for one in train if one.id in known], len(bank) // 24)):
            planted = replace(
                PLANTS[kind](sample, rng), id=f"planted-{kind.replace(', ', '-').replace(' ', '-')}-{number}"
            )
            origin[planted.id] = (sample.id, kind)
            test.append(planted)
    for split, samples in (("train", train), ("test", test)):
        with split_writer(folder / f"{split}.parquet") as writer:
            for sample in samples:
                writer.write(replace(sample, metadata={}))
    result = audit(folder, (), image_tokens=lambda width, height: 1)
    found, alarms = set[str](), Counter[str]()
    for pair in result.pairs:
        one, other = result.rows[pair.one], result.rows[pair.other]
        if one.split == other.split:
            continue
        if origin.get(other.id, ("", ""))[0] == one.id:
            found.add(other.id)
        else:
            alarms[pair.kind] += 1
    planted_kinds = Counter(kind for _, kind in origin.values())
    return Score(Counter(origin[name][1] for name in found), planted_kinds, alarms, len(train) * len(test))


def geometry3k(folder: Path) -> list[Sample]:
    """The real problems of Inter-GPS folders, one for each picture."""
    source = open_intergps(folder)
    assert source is not None, f"{folder}: no Inter-GPS folders"
    rows = [row for split in source.splits for row in source.read(split) if isinstance(row, RawRow)]
    return list({row.images[0]: convert(row).sample for row in rows}.values())


def main() -> None:
    """Print recall by plant, and false alarms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=300, help="generated problems with a picture (default 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--real", type=Path, help="Inter-GPS folders to take the problems with pictures from")
    arguments = parser.parse_args()
    pictured = geometry3k(arguments.real) if arguments.real else generated(arguments.problems, arguments.seed)
    texts = [word_problem(arguments.seed * 10_000 + number) for number in range(arguments.problems)]
    with tempfile.TemporaryDirectory() as folder:
        result = score(pictured, texts, Path(folder), seed=arguments.seed)
    for kind, count in result.planted.items():
        print(f"{kind:24} {result.found[kind]:4} of {count:4} found")
    print(f"false alarms: {dict(result.alarms) or 'none'} of {result.pairs} pairs across the sets")


def generated(count: int, seed: int) -> list[Sample]:
    """Problems of `uec_vlm.geosynth` with their diagrams, one for each picture."""
    problems = ProblemSet(split="train", count=count, seed=seed)
    return list({problem.images[0]: problem for problem in problems}.values())


if __name__ == "__main__":
    main()
