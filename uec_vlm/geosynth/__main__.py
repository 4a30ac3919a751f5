"""`python -m uec_vlm.geosynth --out DIR --count N`: train, validation and test problems as Parquet.

Example: `python -m uec_vlm.geosynth --out data/geosynth --count 2000 --families right_triangle,chord --levels 1,2`.
`--sheet FILE.png` writes a sheet of the first problems to look at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from uec_vlm.errors import UecError
from uec_vlm.geosynth.families import FAMILIES
from uec_vlm.geosynth.sheet import contact_sheet
from uec_vlm.geosynth.splits import ProblemSet, Split
from uec_vlm.geosynth.write import write_splits

WRITTEN: tuple[Split, ...] = ("train", "validation", "test")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    options = _parser().parse_args(arguments)
    families = options.families.split(",") if options.families else None
    held_out = options.held_out if options.held_out is not None else max(1, options.count // 10)
    try:
        levels = [int(level) if level.isdigit() else level for level in options.levels.split(",")]
        sets: dict[str, ProblemSet] = {
            split: ProblemSet(
                split=split,
                count=options.count if split == "train" else held_out,
                seed=options.seed,
                families=families,
                levels=levels,
                image_size=options.image_size,
            )
            for split in WRITTEN
        }
        manifest = write_splits(sets, options.out)
        if options.sheet:
            shown = min(48, options.count)
            contact_sheet([sets["train"].problem(index) for index in range(shown)]).save(options.sheet)
    except UecError as error:
        print(error, file=sys.stderr)
        return 2
    for name, file in manifest["files"].items():
        print(f"{options.out / name}: {file['rows']} problems")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m uec_vlm.geosynth",
        description="Generate plane-geometry problems with diagrams; the splits share no numbers.",
        epilog=f"Families: {', '.join(FAMILIES)}.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for train, validation and test.parquet")
    parser.add_argument("--count", type=int, required=True, help="number of training problems")
    parser.add_argument("--held-out", type=int, help="validation and test problems each (default: a tenth of --count)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other problems (default: 0)")
    parser.add_argument("--families", help="names separated by commas (default: all)")
    parser.add_argument("--levels", default="1,2,3", help="levels separated by commas (default: 1,2,3)")
    parser.add_argument("--image-size", type=int, default=112, help="side of the pictures in pixels (default: 112)")
    parser.add_argument("--sheet", type=Path, help="also write a sheet of training problems to this PNG file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
