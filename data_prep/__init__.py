"""Stage 0: a data set as its authors publish it in; Parquet files in the project's one schema, and a manifest, out.

    python -m data_prep geometry3k --source SOURCE --out DIR

A source (`sources`, `zips`, `hub`) yields raw rows in a fixed order; the data set's `convert` makes a `Sample` of each;
`prepare` checks it, and `write` streams it to `DIR/{train,validation,test}.parquet`. One row is in memory at a time
beside the current row group. Every row that was repaired or refused stands in `DIR/manifest.json`, by name and with
the reason. To add a data set: one file with `convert`, and one entry in `registry.DATASETS`.
"""
