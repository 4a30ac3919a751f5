"""The prompts of the next step are made in a thread while this step's completions are sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from uec_vlm.batches.mixture import where
from uec_vlm.errors import DataError, PromptError
from uec_vlm.records import Prompt, Sample


class PromptReader:
    """Prompts of a set of samples, by place; it is a class because it holds those that are made ahead.

    A prompt that was made ahead is the one that would have been made when asked for; a wrong guess of what comes next
    costs the making and changes nothing. What goes wrong is raised when the prompt is asked for.
    """

    def __init__(self, samples: Sequence[Sample], render: Callable[[Sample], Prompt], *, ahead: bool = True) -> None:
        """Take the samples and the function that makes a prompt. ahead: False makes every prompt when asked for."""
        self.samples = samples
        self._render = render
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompts") if ahead else None
        self._coming: dict[int, Future[Prompt]] = {}
        self._told: set[int] = set()

    def __call__(self, place: int) -> Prompt:
        """Return the prompt of the sample at this place; waits where it is being made."""
        coming = self._coming.pop(place, None)
        if coming is None or coming.cancelled():
            return self._read(place)
        return coming.result()

    def attempt(self, place: int) -> Prompt | str:
        """The prompt, or, in words that name file and row, why there is none (a picture that cannot be decoded)."""
        try:
            return self(place)
        except (DataError, PromptError) as error:
            return f"{where(self.samples, place)}: {error}"

    def told(self, place: int) -> bool:
        """Whether this was asked of the place before: an epoch later the same refusal is no news."""
        known = place in self._told
        self._told.add(place)
        return known

    def expect(self, places: Sequence[int]) -> None:
        """Begin to make these; what was expected before and is not among them is given up."""
        if self._thread is None:
            return
        for place in [place for place in self._coming if place not in places]:
            self._coming.pop(place).cancel()
        for place in places:
            if place not in self._coming:
                self._coming[place] = self._thread.submit(self._read, place)

    def _read(self, place: int) -> Prompt:
        return self._render(self.samples[place])
