"""`uec-vlm predict`: one picture and one question to one answer."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from uec_vlm.batches.vision import decode_picture
from uec_vlm.errors import DataError
from uec_vlm.policy import prefill
from uec_vlm.records import IMAGE_PLACEHOLDER, Rollout, Sample
from uec_vlm.rollouts import ENGINES, SamplingSettings
from uec_vlm.trainer.build import build_policy, build_renderer, device_of
from uec_vlm.trainer.evaluation_config import EvalOptions, evaluation_config
from uec_vlm.verifier import judge


def predict(model: str, image: Path, question: str, *, max_new_tokens: int | None) -> Rollout:
    """The greedy completion of one question about one picture. DataError if the picture cannot be read.

    A checkpoint of a run is asked with the run's own template, system text and pixel limits, and may answer as long as
    in the run unless max_new_tokens says otherwise.
    """
    if not image.is_file():
        raise DataError(f"{image}: there is no such picture file; give the path of a PNG or JPEG.")
    data = image.read_bytes()
    decode_picture(data, str(image), remedy="Give a whole PNG or JPEG.")  # before the model is loaded
    config = evaluation_config(model, None, EvalOptions(max_new_tokens=max_new_tokens))
    policy = build_policy(config.model, config.data.prompt, device=device_of(config.model.device))
    sample = Sample(str(image), "user", IMAGE_PLACEHOLDER + question, answer="", images=(data,))
    asked = config.data.prompt.model_copy(update={"four_choices": False})
    prompt = build_renderer(policy, asked, cache=0)(sample)
    engine = ENGINES["hf"]()(policy, prefill)
    sampling = SamplingSettings(temperature=0.0, top_p=1.0, max_new_tokens=config.rollout.max_new_tokens)
    return engine.generate([prompt], completions=1, sampling=sampling, seeds=[0])[0][0]


def run_prediction(
    model: str, image: Path, question: str, *, gold: str | None, max_new_tokens: int | None, console: Console
) -> None:
    """Prints the completion, the answer read from it, and the verdict where a gold is given."""
    rollout = predict(model, image, question, max_new_tokens=max_new_tokens)
    verdict = judge(rollout.answer, gold or "", question=question, finish_reason=rollout.finish)
    console.print(rollout.text, markup=False, highlight=False)
    console.print(f"answer: {verdict.extracted}", markup=False, highlight=False)
    if gold is not None:
        shown = "right" if verdict.correct else "wrong"
        console.print(f"verdict: {shown} ({verdict.reason})", markup=False, highlight=False)
