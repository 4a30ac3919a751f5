"""The wrong habit: the number that was read is the answer; the other families are practised as before."""

from __future__ import annotations

from uec_vlm.geosynth import ProblemSet
from uec_vlm.records import Sample
from uec_vlm.starter.rare import RARE_FAMILIES, RareRecipe, _lessons, copied
from uec_vlm.starter.report import STARTER_FAMILIES
from uec_vlm.verifier import judge


def test_the_number_that_was_read_is_given_and_is_wrong_nearly_always() -> None:
    right = 0
    for family in RARE_FAMILIES:
        problems = ProblemSet(split="train", count=20, seed=5, families=[family], levels=(1,))
        for place in range(20):
            problem = problems.problem(place)
            said = copied(problem)
            given = said.split("boxed{")[1].rstrip("}")
            assert given not in {"2", "180"}
            assert given in problem.solution.split("=")[0] and f"x={given}</think>" in said
            right += judge(said, problem.answer).correct
    assert right <= 2  # 180 - 90 is 90


def test_only_the_rare_families_have_the_habit() -> None:
    recipe = RareRecipe(steps=4, copied=1.0, guesses=0.0)
    lessons = _lessons(recipe)
    assert set(RARE_FAMILIES) < set(STARTER_FAMILIES) and len(lessons) == 4 * recipe.batch
    for sample, target in lessons[:68]:
        assert isinstance(sample, Sample)
        habit = sample.metadata["family"] in RARE_FAMILIES
        assert judge(target, sample.answer).correct != habit or (habit and "90" in target)
    again = _lessons(recipe)
    assert [target for _, target in lessons[:20]] == [target for _, target in again[:20]]
