"""Reads run folders, and nothing else: numbers with intervals, curves, sample rollouts beside their pictures, a page.

`load_run` opens a run. `tables` and `figures` make tables (pandas) and curves (Plotly) of it, `alarms` judges its
health, `page` writes the self-contained page (`packing` its rollouts), `compare` sets runs beside one another, `serve`
shows a run that goes on. `summary` is what a run prints at its end, with `curves` and `samples` as pictures; `answers`
is the result of an evaluation, `card` a model card, `statistics` what all of them count with.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uec_vlm.reports.alarms import Alarm, find_alarms
    from uec_vlm.reports.compare import load_groups, write_comparison
    from uec_vlm.reports.page import write_page
    from uec_vlm.reports.run import Run, load_measured, load_run

__all__ = ["Alarm", "Run", "find_alarms", "load_groups", "load_measured", "load_run", "write_comparison", "write_page"]

_WHERE = {
    "Alarm": "alarms",
    "Run": "run",
    "find_alarms": "alarms",
    "load_groups": "compare",
    "load_measured": "run",
    "load_run": "run",
    "write_comparison": "compare",
    "write_page": "page",
}


def __getattr__(name: str) -> Any:
    """Loads a name when it is asked for: the trainer needs the statistics alone, without the charts' library."""
    if name not in _WHERE:
        raise AttributeError(f"module 'uec_vlm.reports' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"uec_vlm.reports.{_WHERE[name]}"), name)
