"""The command line: `python -m uec_vlm.starter --out DIR`."""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from uec_vlm.starter.parallel import LOG_FORMAT
from uec_vlm.starter.warm_up import Recipe, build, changed


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds the policy as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m uec_vlm.starter", description="Build the starter policy.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the policy")
    parser.add_argument("--work", type=Path, help="folder for what the stages leave, to resume; default: temporary")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="change numbers of the recipe")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    recipe = changed(Recipe(), options.set)
    if options.work is not None:
        build(options.out, options.work, recipe)
        return
    with tempfile.TemporaryDirectory() as folder:
        build(options.out, Path(folder), recipe)


if __name__ == "__main__":
    main()
