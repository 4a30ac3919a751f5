"""Turns the circle: samples in, a run folder out. Composes the stations and computes nothing itself.

- The loop: `loop` (one turn per step), with its stages in `collect`, `judging`, `observe` and `update`; `scoring` and
  `forward_kept` are its forwards, `circle` is what it is given, `state` and `trajectories` what it carries on.
- Building: `build` makes a circle from a configuration, `engines` and `first_engine` an engine outside the process,
  `launch` and `combinations` what accelerate was asked for; `learner` is the policy under it.
- Commands: `run` (train), `sft_command`, `evaluate_command`, `evaluate_datasets`, `predict`, `export`.
- Evaluation: `evaluate`, `controls`, `untouched`, `evaluation_config`.
- A run that goes on: `resume`, `inputs`, `checkpoints`, `moments`, `shards`, `seeds`.
- Several processes: `ranks`, `exchange`, `blank`.
- Around a step: `trackers`, `progress`, `dump`, `timing`, `profiling`, `stopping`, `memory`, `fixed_order`.
"""
