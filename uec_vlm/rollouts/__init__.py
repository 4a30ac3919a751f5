"""Station: prompts in; sampled completions with their behaviour log-probabilities out.

`engine` says what an engine is, `registry` names the known ones. `hf` samples with the model in memory: `prefixes`
keeps what the prompts were read into, `wave` holds completions that are sampled together, `decode` (with `layers`,
`cache` and, on a GPU, `graphs`) makes one token for all of them, `sampling` draws it. `vllm` samples with servers over
HTTP: `vllm_client` speaks to one, `vllm_fleet` to several, `vllm_server` starts one.
"""

from uec_vlm.rollouts.engine import RolloutEngine, SamplingSettings, TimesPhases
from uec_vlm.rollouts.registry import ENGINES

__all__ = ["ENGINES", "RolloutEngine", "SamplingSettings", "TimesPhases"]
