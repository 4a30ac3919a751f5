"""Text-only problems of eight kinds, each with four rewordings: what a leak without a picture looks like.

`synonyms` keeps the sentences and changes words; `question first` turns the order round; `rewritten` says it in a
sentence of its own; `renamed` takes the synonyms with other people, things and places. The numbers stay the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from uec_vlm.records import Sample

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Gina", "Hugo", "Iris", "Jonas")
THINGS = ("apples", "marbles", "stamps", "coins", "pencils", "shells", "books", "tickets", "cards", "roses")
PLACES = ("market", "school", "harbour", "library", "garden", "station", "museum", "bakery", "theatre", "farm")
REWORDINGS = ("synonyms", "question first", "rewritten", "renamed")

# The problem, then `synonyms`, `question first` and `rewritten`.
KINDS: tuple[tuple[str, str, str, str], ...] = (
    (
        "{name} brings {a} {thing} to the {place} and gives {b} of them to {other}. Then {name} packs the "
        "rest into {c} boxes with equally many {thing} each. How many {thing} lie in one box?",
        "{name} carries {a} {thing} to the {place} and hands {b} of them to {other}. After that, {name} puts "
        "all remaining ones into {c} boxes which hold the same number of {thing} each. Determine the number "
        "of {thing} in a single box.",
        "How many {thing} lie in each box, if {name} came to the {place} with {a} {thing}, gave {b} to "
        "{other} and divided the rest equally among {c} boxes?",
        "At the {place}, {other} receives {b} {thing} out of the {a} that belong to {name}; what is left "
        "fills {c} equal boxes. Find the content of a box.",
    ),
    (
        "A train leaves the {place} at a speed of {a} km per hour and another follows {c} hours later at {b} "
        "km per hour more. After how many hours does the second train catch the first?",
        "A train departs from the {place} at a speed of {a} km per hour, and a second one follows {c} hours "
        "later, travelling {b} km per hour faster. How many hours pass until the second train reaches the "
        "first?",
        "How many hours does a train need to catch another that left the {place} {c} hours earlier at {a} km "
        "per hour, if it drives {b} km per hour faster?",
        "Two trains start at the {place}, the slower one {c} hours before the other. Its speed is {a} km per "
        "hour, and the other gains {b} km on it per hour. When do they meet?",
    ),
    (
        "{name} buys {c} {thing} for {a} cents each at the {place} and pays with {b} euros. How much change "
        "does {name} get?",
        "{name} purchases {c} {thing} costing {a} cents each in the {place} and pays with {b} euros. What "
        "change is given back to {name}?",
        "How much change does {name} get, who pays {b} euros at the {place} for {c} {thing} of {a} cents each?",
        "{c} {thing} cost {a} cents apiece. {name} lays {b} euros on the counter of the {place}; compute what"
        " is returned.",
    ),
    (
        "An empty tank in the {place} holds {a} litres. A pipe fills in {b} litres a minute while {c} litres "
        "a minute leak out. After how many minutes is the tank full?",
        "A tank in the {place} has a capacity of {a} litres and is empty. A pipe pours in {b} litres a "
        "minute, and {c} litres a minute are lost through a leak. How many minutes does it take until the "
        "tank is full?",
        "After how many minutes is a tank of {a} litres in the {place} full, if {b} litres a minute flow in "
        "and {c} litres a minute leak out?",
        "Water enters a tank at {b} litres a minute and escapes at {c} litres a minute. At the start nothing "
        "is in it, and {a} litres fit in. Determine the time to fill the tank of the {place}.",
    ),
    (
        "Let $f(x) = {c}x^2 + {b}x - {a}$ for all real numbers $x$. What is the value of $f({c})$?",
        "Consider $f(x) = {c}x^2 + {b}x - {a}$ with real $x$. Determine the value of $f({c})$.",
        "What is the value of $f({c})$, where $f(x) = {c}x^2 + {b}x - {a}$ for real numbers $x$?",
        "Evaluate the polynomial ${c}x^2 + {b}x - {a}$ at $x = {c}$.",
    ),
    (
        "The first term of an arithmetic sequence is {a} and its common difference is {b}. What is the sum of"
        " the first {c} terms?",
        "An arithmetic sequence has first term {a} and common difference {b}. Compute the sum of its first {c} terms.",
        "What is the sum of the first {c} terms of the arithmetic sequence that begins with {a} and has "
        "common difference {b}?",
        "An arithmetic progression starts at {a}; each member exceeds the one before by {b}. Add up {c} members.",
    ),
    (
        "A rectangular garden is {a} metres long and {b} metres wide. Around it runs a path of {c} metres "
        "width. What is the area of the path in square metres?",
        "A garden has the shape of a rectangle, {a} metres long and {b} metres wide. It is surrounded by a "
        "path {c} metres wide. Calculate the area of the path in square metres.",
        "What is the area in square metres of a path of {c} metres width around a rectangular garden that is "
        "{a} metres long and {b} metres wide?",
        "A path {c} metres wide encloses a {a} by {b} metres rectangle of grass. How many square metres does "
        "the path cover?",
    ),
    (
        "{name} reads {a} pages of a book on the first day and {b} pages more on every following day. After "
        "{c} days the book is finished. How many pages does the book have?",
        "{name} reads {a} pages of a book on the first day and on each day after it {b} pages more. The book "
        "is finished after {c} days. Determine the number of pages of the book.",
        "How many pages has a book that {name} finishes in {c} days, reading {a} pages on the first day and "
        "{b} pages more on every following day?",
        "On day one {name} manages {a} pages, and daily progress grows by {b} pages. It takes {c} days to "
        "reach the end of the book; find its length.",
    ),
)


def word_problem(number: int) -> Sample:
    """A text-only problem; its kind, names, things and numbers depend on `number`."""
    return Sample(f"text-{number}", "made", _kind(number)[0].format(**_parts(number)), str(number))


def _reworded(how: str) -> Callable[[Sample, random.Random], Sample]:
    """How a problem of `word_problem` is reworded; what is told of it stays, but for `renamed`."""

    def reword(sample: Sample, rng: random.Random) -> Sample:
        number = int(sample.id.removeprefix("text-"))
        parts = _parts(number)
        if how == "renamed":
            parts |= {"name": rng.choice(NAMES), "thing": rng.choice(THINGS), "place": rng.choice(PLACES)}
        text = _kind(number)[1 + REWORDINGS.index(how) % 3].format(**parts)
        return Sample(sample.id, sample.source, text, sample.answer)

    return reword


def _kind(number: int) -> tuple[str, str, str, str]:
    return KINDS[number % len(KINDS)]


def _parts(number: int) -> dict[str, object]:
    rng = random.Random(number)
    name, other = rng.sample(NAMES, 2)
    words = {"name": name, "other": other, "thing": rng.choice(THINGS), "place": rng.choice(PLACES)}
    return {**words, "a": rng.randint(41, 99), "b": rng.randint(10, 40), "c": rng.randint(2, 9)}


TEXT_PLANTS: Mapping[str, Callable[[Sample, random.Random], Sample]] = {
    f"text only, {how}": _reworded(how) for how in REWORDINGS
}
"""How the audit calls the plant -> the reworded problem of a `word_problem`."""
