"""The page of a run in a real browser: offline, by mouse and by keys, with hostile text, large, and accessible."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.run_folders import evaluated, make_run, rollout_row
from uec_vlm.reports import load_groups, load_run, write_comparison, write_page

MANY = 10_000
HOSTILE = [
    "<script>window.hacked = 1; alert(1)</script><img src=x onerror='window.hacked = 2'>",
    "</textarea></script><script>window.hacked = 3</script>",
    "right \u202egnorw\u202c \u2066hidden\u2069 \u200bzero \x07 bell",
    "]]> --> ${window.hacked = 4} {{ 7 * 7 }} &lt;b&gt;",
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything: alarms, evaluations, hard prompts that were solved, replays, hostile completions."""
    folder = make_run(
        tmp_path_factory.mktemp("runs") / "<b>run",
        steps=30,
        rollout__entropy=lambda step: 0.4 if step < 10 else 0.02,
    )
    for step in (0, 10, 20, 30):
        evaluated(folder, step, [step // 10, 2, 4, 0], wrong=[0, 1, 0, 0], formatted=4 if step else 3)
    evaluated(folder, 0, [1, 1, 1], split="test")
    evaluated(folder, 30, [3, 2, 4], split="test")
    rows = [rollout_row(n, step=10, correct=n % 2 == 0) for n in range(40)]
    hard = {"step": 10, "group": 100, "id": "hard-one", "prompt_accuracy": 0.0}
    rows += [rollout_row(n, **hard, correct=False, finish="length") for n in range(5)]
    rows += [
        rollout_row(
            n, step=10, group=100, id="hard-one", prompt_accuracy=0.0, source="extra", correct=n == 0, entropies=[]
        )
        for n in range(4)
    ]
    rows += [rollout_row(n, step=10, source="replay", born=4, uses=2, group=None) for n in range(3)]
    rows += [
        rollout_row(900 + n, step=20, id=f"hostile-{n}", text=text, problem=text) for n, text in enumerate(HOSTILE)
    ]
    rows.append(rollout_row(950, step=20, id="hostile-<img src=x onerror=alert(1)>", text="A" * 2**20, pieces=[]))
    for step in (10, 20):
        folder.write_rollouts(step, [row for row in rows if row["step"] == step])
    return write_page(load_run(folder.path), folder.path / "page.html")


def _count(page: Any) -> str:
    page.wait_for_selector("html[data-ready=yes]")
    return str(page.inner_text("#count"))


def _show(page: Any, search: str) -> Any:
    page.fill("#search", search)
    page.locator("#detail h3", has_text=search).wait_for()
    return page


def test_it_opens_from_a_file_and_draws(open_page: Any, page_file: Path) -> None:
    page = open_page(page_file)
    assert _count(page) == "57 rollouts"
    assert page.inner_text("h1") == "<b>run"
    page.wait_for_selector(".chart .main-svg")
    assert "Entropy collapse" in page.inner_text("#health")
    assert "step 12" in page.inner_text("#health")
    assert page.evaluate("document.querySelector('#detail img').naturalWidth") == 112
    label = page.get_attribute("[data-figure=entropy] .plot", "aria-label")
    assert "regular: 0.400 at 1, 0.0200 at 30" in label


def test_filters_narrow_and_combine(open_page: Any, page_file: Path) -> None:
    page = open_page(page_file)
    _count(page)
    for name, expected in (("hard", "9 of"), ("solved", "9 of"), ("replayed", "3 of"), ("truncated", "5 of")):
        page.click(f"[data-filter={name}]")
        assert _count(page).startswith(expected), name
        page.click(f"[data-filter={name}]")
    page.click("[data-filter=hard]")
    page.click("[data-filter=wrong]")
    assert _count(page).startswith("8 of 57")
    page.click("[data-filter=hard]")
    page.click("[data-filter=wrong]")
    page.select_option("#step", "20")
    assert _count(page).startswith("5 of")
    page.fill("#search", "nothing like it")
    assert _count(page).startswith("0 of")
    assert "No rollout passes" in page.inner_text("#detail")


def test_keys_do_what_the_mouse_does(open_page: Any, page_file: Path) -> None:
    page = open_page(page_file)
    _count(page)
    first = page.get_attribute("#list", "aria-activedescendant")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert (first, page.get_attribute("#list", "aria-activedescendant")) == ("row0", "row1")
    page.focus("#list")
    page.keyboard.press("End")
    assert page.get_attribute("#list", "aria-activedescendant") == "row56"
    assert page.get_attribute("#row56", "aria-selected") == "true"
    page.keyboard.press("PageUp")
    page.keyboard.press("Home")
    assert page.get_attribute("#list", "aria-activedescendant") == "row0"
    page.keyboard.press("3")
    assert _count(page).startswith("3 of")
    page.keyboard.press("c")
    assert page.input_value("#colour") == "logprob"
    page.keyboard.press("t")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.keyboard.press("/")
    page.keyboard.type("jk1")
    assert page.input_value("#search") == "jk1", "letters in a field are letters"


def test_every_control_is_reached_by_tab(open_page: Any, page_file: Path) -> None:
    page = open_page(page_file)
    _count(page)
    seen = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.filter || ''"))
    assert {"theme", "list", "step", "colour", "search", "hard", "kept"} <= seen


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_hostile_completion_stays_text(open_page: Any, page_file: Path, number: int) -> None:
    page = _show(open_page(page_file), f"hostile-{number}")
    assert page.inner_text(".model").replace("\n", "") == HOSTILE[number]
    assert page.evaluate("window.hacked") is None
    assert page.locator("#detail script, #detail .model img, textarea").count() == 0


def test_controls_that_turn_text_around_are_shown_by_their_number(open_page: Any, page_file: Path) -> None:
    page = _show(open_page(page_file), "hostile-2")
    shown = page.inner_text(".model")
    for sign in ("U+202E", "U+202C", "U+2066", "U+2069", "U+200B", "U+0007"):
        assert sign in shown
    assert "\u202e" not in page.inner_text("body")


def test_a_megabyte_is_shown_in_parts(open_page: Any, page_file: Path) -> None:
    page = _show(open_page(page_file), "hostile-<img")
    assert len(page.text_content(".model")) == 20_000
    page.click("text=Show more of this completion")
    assert len(page.text_content(".model")) > 200_000


def test_tokens_are_coloured_by_their_entropy_and_the_unscored_are_told(open_page: Any, page_file: Path) -> None:
    page = open_page(page_file)
    _count(page)
    values = page.eval_on_selector_all(
        ".model span[data-v]", "all => all.map(e => [Number(e.dataset.v), e.style.background])"
    )
    assert len(values) == 60
    strongest, weakest = max(values), min(values)
    assert strongest[1] != weakest[1]
    page.hover(".model span[data-v] >> nth=3")
    assert "nats" in page.inner_text(".tip")
    page.click("[data-filter=solved]")
    page.keyboard.press("End")
    page.focus("#list")
    page.keyboard.press("End")
    page.wait_for_selector("text=was not scored")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_is_accessible(open_page: Any, page_file: Path, theme: str, width: int) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = open_page(page_file, theme=theme, width=width, height=844 if width < 500 else 900)
    _count(page)
    page.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
    page.evaluate("document.querySelector('.charts').scrollIntoView()")
    page.wait_for_selector(".chart .main-svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing is wider than the window"
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"]][:3]) for v in found] == []


def test_ten_thousand_rollouts_are_a_small_file_and_few_elements(open_page: Any, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", steps=20)
    for step in range(1, 21):
        folder.write_rollouts(step, [rollout_row(step * 500 + n, step=step, tokens=120) for n in range(MANY // 20)])
    file = write_page(load_run(folder.path), tmp_path / "page.html")
    size = file.stat().st_size / 2**20
    assert size < 30
    (tmp_path / "empty.html").write_text("<!doctype html><title>empty</title>")
    page = open_page(tmp_path / "empty.html")
    clock = page.context.new_cdp_session(page)
    # Seconds of the page's own thread: other programs that share the machine do not count.
    clock.send("Performance.setTimeDomain", {"timeDomain": "threadTicks"})
    clock.send("Performance.enable")
    start = time.perf_counter()
    page.goto(file.as_uri())
    assert _count(page) == "10000 rollouts"
    page.wait_for_selector("#detail img")
    waited = time.perf_counter() - start
    metrics = {one["name"]: one["value"] for one in clock.send("Performance.getMetrics")["metrics"]}
    work = min(metrics["TaskDuration"], metrics.get("ThreadTime", metrics["TaskDuration"]))
    print(f"10 000 rollouts: {size:.1f} MiB, {work:.2f} s of work, open after {waited:.2f} s")
    assert 0 < work < 6  # two on a fast processor
    # How long that takes depends on the machine; that it does not grow with the rollouts does not.
    assert page.evaluate("document.querySelectorAll('*').length") < 3000
    page.focus("#list")
    page.keyboard.press("End")
    page.wait_for_selector("#row9999[aria-selected=true]")
    assert page.locator(".row").count() < 60, "only what is in view is in the page"


def test_what_does_not_fit_is_left_out_and_said(open_page: Any, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", steps=3)
    folder.write_rollouts(1, [rollout_row(n, tokens=400) for n in range(300)])
    file = write_page(load_run(folder.path), tmp_path / "page.html", budget=200_000)
    page = open_page(file)
    shown = int(_count(page).split()[0])
    assert 10 < shown < 300
    assert f"{300 - shown} more are in the run folder" in page.inner_text("#rollouts")


def test_an_empty_run_has_a_page(open_page: Any, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", steps=0)
    page = open_page(write_page(load_run(folder.path), tmp_path / "page.html"))
    text = page.inner_text("main")
    assert "has dumped no rollouts" in text
    assert "No step has been logged yet" in text


def test_the_comparison_opens_and_changes_its_axis(open_page: Any, tmp_path: Path) -> None:
    for algorithm in ("grpo", "uec"):
        for seed in (0, 1):
            run = make_run(tmp_path / f"{algorithm}{seed}", steps=6, seed=seed, algorithm=algorithm)
            for step in (0, 6):
                evaluated(run, step, [1, 2, seed])
    page = open_page(write_comparison(load_groups(sorted(tmp_path.iterdir())), tmp_path / "page.html"), width=390)
    page.wait_for_selector("[data-of-axis=steps] .main-svg")
    page.click("text=equal tokens")
    page.wait_for_selector("[data-of-axis=tokens] .main-svg")
    assert not page.is_visible("[data-of-axis=steps]")
    assert "Paired differences" in page.inner_text("main")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    assert [violation["id"] for violation in axe.Axe().run(page).response["violations"]] == []


def test_the_live_view_reloads_when_the_run_goes_on(browser: Any, tmp_path: Path) -> None:
    import threading

    from tests.support.run_folders import HEALTHY
    from uec_vlm.reports.serve import make_server

    folder = make_run(tmp_path / "run", steps=3)
    server = make_server(folder.path, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    page.set_default_timeout(120_000)
    try:
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        assert "3 of 3" in page.inner_text(".facts")
        page.wait_for_timeout(4000)
        folder.append_metrics(4, HEALTHY)
        page.locator(".facts", has_text="4 of 3").wait_for()
    finally:
        page.close()
        server.shutdown()
        server.server_close()
