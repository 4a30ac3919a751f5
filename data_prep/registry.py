"""The data sets that can be prepared, by name."""

from __future__ import annotations

from data_prep import geometry3k, geometry3k_formalgeo
from data_prep.common import DatasetSpec
from data_prep.hub import open_parquet
from data_prep.sources import open_intergps

DATASETS: dict[str, DatasetSpec] = {
    "geometry3k": DatasetSpec(
        convert=geometry3k.convert,
        sources=(open_intergps, open_parquet),
        layouts=(
            "a folder with train/, val/, test/ of <id>/data.json and <id>/img_diagram.png (Inter-GPS), or one of these",
            "train.zip, val.zip, test.zip as published, a folder with them or one of them",
            "the Hub id hiyouga/geometry3k (hiyouga/geometry3k@COMMIT pins a revision), or a folder with a copy of its "
            "Parquet files train-*.parquet, validation-*.parquet, test-*.parquet",
        ),
        licence="MIT (lupantech/InterGPS)",
        citation="Pan Lu, Ran Gong, Shibiao Jiang, Liang Qiu, Siyuan Huang, Xiaodan Liang, Song-Chun Zhu: Inter-GPS: "
        "Interpretable Geometry Problem Solving with Formal Language and Symbolic Reasoning. ACL 2021.",
        purpose="training and evaluation: plane geometry with a diagram; open answers or four choices",
        hub_id="hiyouga/geometry3k",
    ),
    "geometry3k_formalgeo": DatasetSpec(
        convert=geometry3k_formalgeo.convert,
        sources=(geometry3k_formalgeo.open_formalgeo,),
        layouts=("a folder with rows.jsonl (FormalGeo7k's annotation of Geometry3K) and its images/",),
        licence="MIT (FormalGeo)",
        citation="Xiaokai Zhang et al.: FormalGeo: An Extensible Formalized Framework for Olympiad Geometric Problem "
        "Solving. arXiv 2310.18021, 2023.",
        purpose="training: Geometry3K problems with exact open answers and no choices",
    ),
}
