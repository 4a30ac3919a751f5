"""From a scene to a question: what stands in the picture, what in the text, and by which name it is asked."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from uec_vlm.geosynth.exact import Exact
from uec_vlm.geosynth.places import Tag
from uec_vlm.geosynth.scene import Quantity, Scene

# Shares of the wordings; the rest asks for x with all numbers in the picture. The last two begin at level 2.
_WORDED, _NAMED, _MIXED, _NUMBERED = 0.15, 0.17, 0.1, 0.1
_UNKNOWN = "x"
_ROOM_FOR_DEGREES = 200


@dataclass(frozen=True)
class Worded:
    """A question and the labels that the picture must show for it.

    lettered: the points' letters are shown. shown: quantities written in the picture, the unknown's x among them.
    goal: what is asked, in ASCII ("x", "AB", "the area of the circle").
    """

    question: str
    shown: tuple[Quantity, ...]
    lettered: bool
    needs_picture: bool
    goal: str


def word(scene: Scene, *, level: int, rng: random.Random) -> Worded:
    """Word a scene in one of five ways.

    All numbers in the text, so that the picture is not needed; or in the picture, with x asked, or with the asked
    quantity called by its name; or one number in the text; or the angles called 1 and 2.
    """
    roll = rng.random()
    if roll < _WORDED and (scene.worded or scene.context):
        goal = scene.unknown.name if scene.unknown else scene.find
        told = _sentences(scene.context, scene.told)
        question = scene.worded or _sentences(f"{told} If {_listed(scene.given)}, find {goal}.", scene.note)
        return Worded(question, (), True, False, goal)
    roll = rng.random()
    if scene.unknown is None:
        shown, goal, lettered = scene.given, scene.find, scene.letters
    elif roll < _NAMED and _sayable(scene.unknown):
        shown, goal, lettered = scene.given, scene.unknown.name, True
    else:
        shown, goal, lettered = (*scene.given, replace(scene.unknown, text=_UNKNOWN)), _UNKNOWN, scene.letters
    if level > 1 and roll > 1 - _MIXED and len(scene.given) > 1 and _sayable(scene.given[0]):
        question = _sentences(scene.hint, scene.told, f"If {_listed(scene.given[:1])}, find {goal}.", scene.note)
        return Worded(question, tuple(one for one in shown if one is not scene.given[0]), True, True, goal)
    if level > 1 and 1 - _MIXED - _NUMBERED < roll < 1 - _MIXED and _numberable(scene):
        return _numbered(scene)
    return Worded(_sentences(scene.hint, scene.told, _ask(goal, level, rng), scene.note), shown, lettered, True, goal)


def _numberable(scene: Scene) -> bool:
    unknown = scene.unknown
    return unknown is not None and len(scene.given) == 1 and scene.given[0].kind == unknown.kind == "angle"


def _numbered(scene: Scene) -> Worded:
    """The angles are called 1 and 2; the picture says which they are."""
    assert scene.unknown is not None
    shown = (replace(scene.given[0], text="1"), replace(scene.unknown, text="2"))
    goal = "m \\angle 2"
    question = f"If m \\angle 1={scene.given[0].text}, find {goal}."
    return Worded(_sentences(scene.hint, scene.told, question, scene.note), shown, False, True, goal)


def _sentences(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _sayable(quantity: Quantity) -> bool:
    """Its name is made of letters that the picture can show."""
    return bool(re.search("[A-Z]", quantity.name)) and all(name.isupper() for name in quantity.at)


def _ask(goal: str, level: int, rng: random.Random) -> str:
    if goal == _UNKNOWN and level > 1 and rng.random() < 0.25:
        return f"Find the value of {goal}."
    if "\\angle" in goal and level > 1 and rng.random() < 0.25:
        return f"Find the measure of {goal.removeprefix('m ')}."
    return f"Find {goal}."


def _listed(given: Sequence[Quantity]) -> str:
    parts = [f"{quantity.name}={quantity.text}" for quantity in given]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def tags(scene: Scene, worded: Worded, *, image_size: int) -> tuple[Tag, ...]:
    """What the picture shows: the quantities, and letters at the points that carry one."""
    found = []
    for quantity in worded.shown:
        letters = "".join(re.findall("[A-Z]", quantity.name)) if worded.lettered else ""
        role = f"{quantity.noun} {letters}".rstrip()
        found.append(Tag(quantity.kind, quantity.at, _ink(quantity, image_size), quantity.text, role))
    if worded.lettered:
        capitals = [name for name in scene.sketch.points if name.isupper()]
        found += [Tag("vertex", name, name, name, f"vertex {name}") for name in capitals]
    return tuple(found)


def _ink(quantity: Quantity, image_size: int) -> str:
    """What is drawn: where there is room (from 200 pixels) angles get a degree sign, sums brackets besides."""
    if quantity.kind == "side" or image_size < _ROOM_FOR_DEGREES:
        return quantity.text
    return f"{quantity.text}\u00b0" if re.fullmatch(r"[0-9.]*[a-z]?", quantity.text) else f"({quantity.text})\u00b0"


def four_choices(answer: Exact, wrong: Sequence[Exact], rng: random.Random) -> tuple[str, ...]:
    """The answer and three wrong ones in ascending order, as Geometry3K lists them.

    All four are positive and differ by more than one per cent. Plausible mistakes come first; where too few of them
    remain, neighbours of the answer fill up.
    """
    chosen = [answer]
    for candidate in (*wrong, *_neighbours(answer, rng)):
        if candidate.value > 0 and all(_apart(candidate, other) for other in chosen):
            chosen.append(candidate)
        if len(chosen) == 4:
            break
    return tuple(choice.latex for choice in sorted(chosen, key=lambda choice: choice.value))


def _apart(first: Exact, second: Exact) -> bool:
    return abs(first.value - second.value) > 0.01 * max(first.value, second.value)


def _neighbours(answer: Exact, rng: random.Random) -> list[Exact]:
    """Numbers of the answer's own kind: other multiples, for whole numbers also a few more or less."""
    near = [answer.times(2), answer.times(3), answer.times(4), answer.times(5)]
    if answer.fraction.denominator == 1:
        steps = [1, 2, 3, 5, 10] if answer.fraction >= 12 else [1, 2, 3, 4]
        near = [
            Exact(answer.fraction + sign * step, answer.root, answer.pi) for step in steps for sign in (1, -1)
        ] + near
    order = near[:6]
    rng.shuffle(order)
    return order + near[6:]
