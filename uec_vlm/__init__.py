"""Reinforcement-learning fine-tuning of vision-language models with unified entropy control (UEC-RL).

Data flows one way round a circle, and the folders are the stations of that circle:

    data_prep --parquet--> batches --Prompt--> rollouts --Rollout--> verifier --Verdict--> objective
                                                  ^                                           |
                                               weights                                advantages, kept
                                                  |                                           v
                                                policy <--loss-- objective <--TrainBatch-- batches

`trainer` turns the circle and writes a run folder; `reports` reads run folders and nothing else. Every noun that
crosses a boundary is in `uec_vlm.records`. Importing this package loads none of the heavy libraries.
"""

__version__ = "0.1.0"
