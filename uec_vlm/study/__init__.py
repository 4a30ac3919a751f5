"""A study: algorithms x seeds x learning rates on one problem, as ordinary training runs that are summed up.

`plan.py` reads a study file and lists its cells, `runner.py` runs the cells that are not done yet, `summary.py` makes a
few kilobytes of a finished run, `tables.py` compares arms, `page.py` writes the page. Runs are started as
`uec-vlm train` processes: nothing here loads torch.
"""
