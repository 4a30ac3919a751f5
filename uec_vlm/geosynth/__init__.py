"""The embedded default: plane-geometry problems with drawn diagrams, as many as wanted, the same for the same seed.

In: a family, a level and a seed. Out: a `GeoProblem` with question, exact answer, choices, solution, picture and the
place of every label in it; `to_sample` makes the record of it that the other stations read. Nothing is downloaded.

    problem.py    the finished problem, how it is made; captions      splits.py     train, practice, validation, test
    families.py   the registry                                        sheet.py      many problems on one picture
    scene.py      what a family hands over                            exact.py      fractions, surds, multiples of pi
    wording.py    which numbers stand in the text; choices            layout.py     turning, scaling, fitting
    places.py     free places for labels                              glyphs.py     characters
    draw.py       pixels                                              write.py      Parquet; __main__.py the command
    algebra.py    expressions in x                                    relations.py  two angles, equal or summing
    triangles.py, right_triangles.py, angles.py, circles.py, ...      the families by theme
"""

from uec_vlm.geosynth.families import FAMILIES
from uec_vlm.geosynth.problem import GeoProblem, Label, describe, make_problem, sample_problems, to_sample
from uec_vlm.geosynth.scene import Family
from uec_vlm.geosynth.splits import ProblemSet

__all__ = [
    "FAMILIES",
    "Family",
    "GeoProblem",
    "Label",
    "ProblemSet",
    "describe",
    "make_problem",
    "sample_problems",
    "to_sample",
]
