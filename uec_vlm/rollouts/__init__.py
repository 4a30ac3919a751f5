"""Station: prompts in; sampled completions with their behaviour log-probabilities out.

`engine.py` says what an engine is and names the known ones; `hf.py` samples with the model in memory,
`vllm.py` with vLLM servers over HTTP.
"""

from uec_vlm.rollouts.engine import ENGINES, RolloutEngine, SamplingSettings, TimesPhases

__all__ = ["ENGINES", "RolloutEngine", "SamplingSettings", "TimesPhases"]
