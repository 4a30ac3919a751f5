"""One forward for scores and update: the scores of a step's rollouts keep their graph, and the update begins with it.

That is exact where the first optimizer step of an update trains on what was scored, by the same weights: then the
update's own forward would give the same numbers again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from uec_vlm.policy.forward import backbone_of
from uec_vlm.records import Rollout, TokenScores
from uec_vlm.trainer.circle import Circle

# Going back through completions that are not trained on costs two thirds of what a forward and a backward of the
# others cost: with fewer than this share of them, a forward of their own is cheaper.
_WORTH = 0.7


class KeptForward:
    """A forward of one micro-batch with its graph; a class because it lets go of it at the first question."""

    def __init__(self, rollouts: Sequence[Rollout], scores: TokenScores) -> None:
        """Take the scores; row b is that of rollouts[b]."""
        self._rows: dict[int, int] = {id(rollout): row for row, rollout in enumerate(rollouts)}
        self._rollouts = tuple(rollouts)  # keeps the identities taken
        self._scores: TokenScores | None = scores

    def take(self, rollouts: Sequence[Rollout]) -> TokenScores | None:
        """The scores of these rollouts with their gradient; None where they are not (nearly) all that was scored.

        The graph can be used once: whatever the answer, it is not held any longer.
        """
        scores, self._scores = self._scores, None
        rows = [self._rows.get(id(rollout)) for rollout in rollouts]
        if scores is None or None in rows or len(rows) < _WORTH * len(self._rollouts):
            return None
        width = max(len(rollout.completion_ids) for rollout in rollouts)
        return TokenScores(*(values[cast(Any, rows), :width] for values in _parts(scores)))


def keeps_forward(circle: Circle) -> bool:
    """Whether the scores of a step's rollouts should keep their graph for its update.

    One process without an engine, one optimizer step for all rollouts, nothing that is sampled or chosen in between,
    and a model whose training mode computes as its evaluation mode does.
    """
    objective, settings = circle.objective, circle.settings
    between = objective.explores or objective.accumulate or objective.dynamic_sampling is not None
    whole = settings.sequences >= settings.prompts * settings.completions
    plain = circle.learner.kind == "one" and circle.ranks.world == 1
    simple = plain and whole and objective.keeps_everything and not between
    return settings.share_forward and simple and _same_in_training(circle)


def _same_in_training(circle: Circle) -> bool:
    """No gradient checkpointing, which would compute anew, and no dropout."""
    model = circle.policy.model
    text = getattr(backbone_of(model), "language_model", backbone_of(model))
    drops = any(getattr(module, "p", 0.0) for module in model.modules() if type(module).__name__ == "Dropout")
    dropped = getattr(getattr(text, "config", None), "attention_dropout", 0.0)
    checkpointed = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    return not (drops or dropped or checkpointed)


def _parts(scores: TokenScores) -> tuple[Any, Any, Any]:
    return scores.logprobs, scores.entropy, scores.moment
