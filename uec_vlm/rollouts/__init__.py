"""Station: prompts in; sampled completions with their behaviour log-probabilities out.

`engine.py` says what an engine is, `registry.py` names the known ones; `hf.py` samples with the model in memory,
`vllm.py` with vLLM servers over HTTP.
"""

from uec_vlm.rollouts.engine import RolloutEngine, SamplingSettings, TimesPhases
from uec_vlm.rollouts.registry import ENGINES

__all__ = ["ENGINES", "RolloutEngine", "SamplingSettings", "TimesPhases"]
