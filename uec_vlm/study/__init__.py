"""A study: algorithms x seeds x learning rates on one problem, as ordinary training runs that are summed up.

`plan` reads a study file and lists its cells, `runner` runs the cells that are not done yet, `summary` makes a few
kilobytes of a finished run. `tables` compares arms, `course` along the way, `entropy` by what moves it, `verdict` with
what was expected; `page` writes it all. Runs are started as `uec-vlm train` processes: nothing here loads torch.
"""
