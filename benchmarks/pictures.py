"""The pictures of a run's page in the README and the documentation, taken with a real browser.

    python -m benchmarks.pictures runs/quickstart         # writes docs/img/page_*.webp and entropy_by_source.webp

Needs the extra `test` and a Chromium (`apt-get install chromium`). The page is opened from its file, without a network.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from uec_vlm.reports import load_run, write_page

IMAGES = Path(__file__).parents[1] / "docs" / "img"
LIMIT = 200_000
"""Bytes that a picture may have."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def health(page: Any) -> bytes:
    """Title, verdict, key figures, and the first curves."""
    _settle(page)
    return bytes(page.screenshot())


def rollout(page: Any) -> bytes:
    """The browser of rollouts at a prompt that exploration solved, tokens coloured by entropy."""
    _settle(page)
    for name in ("solved", "kept"):
        if page.is_enabled(f"[data-filter={name}]"):
            page.click(f"[data-filter={name}]")
    page.wait_for_selector("#detail .model")
    return bytes(page.locator(".browser").screenshot())


def entropy(page: Any) -> bytes:
    """The curve of entropy by source."""
    _settle(page)
    return bytes(page.locator("[data-figure=entropy]").screenshot())


# Name -> width and height of the window, theme, pixels per point, what is taken.
SHOTS: dict[str, tuple[int, int, str, float, Callable[[Any], bytes]]] = {
    "page_health": (1180, 1000, "light", 1.25, health),
    "page_rollout": (1180, 700, "light", 1.25, rollout),
    "page_phone": (390, 844, "dark", 1.5, health),
    "entropy_by_source": (560, 800, "light", 1.75, entropy),
}


def take(run: Path, out: Path) -> list[Path]:
    """Draw the page of a run and write its pictures as WebP into `out`."""
    from playwright.sync_api import sync_playwright

    chromium = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
    if chromium is None:
        raise SystemExit("no Chromium is installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = write_page(load_run(run), Path(folder) / "page.html")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=120_000)
        written = []
        for name, (width, height, theme, scale, shot) in SHOTS.items():
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=theme, device_scale_factor=scale,
                offline=True, reduced_motion="reduce",
            )  # fmt: skip
            page.set_default_timeout(120_000)
            page.goto(file.as_uri())
            written.append(_webp(shot(page), out / f"{name}.webp"))
            page.close()
        browser.close()
    return written


def _settle(page: Any) -> None:
    """Wait until the rollouts are unpacked and the charts in view are drawn."""
    page.wait_for_selector("html[data-ready=yes]")
    page.wait_for_selector(".chart .main-svg")
    page.wait_for_timeout(500)


def _webp(png: bytes, path: Path) -> Path:
    """The best quality that stays below `LIMIT`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in (90, 80, 70, 55, 40):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "WEBP", quality=quality, method=6)
        if len(buffer.getvalue()) < LIMIT:
            break
    path.write_bytes(buffer.getvalue())
    return path


def main() -> None:
    """See the head of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder with dumped rollouts")
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args()
    for path in take(given.run, given.out):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
