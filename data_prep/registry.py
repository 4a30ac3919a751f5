"""The data sets that can be prepared, by name: one file and one line each."""

from __future__ import annotations

from data_prep import (
    clevr_count,
    dapo17k,
    geometry3k,
    geometry3k_formalgeo,
    geoqa_formalgeo,
    geoqa_plus,
    geoqa_r1v,
    gsm8k,
    math12k,
    mathverse,
    mathvision,
    mathvista,
    mmk12,
    multimodal_open_r1,
    virl39k,
    wemath,
)
from data_prep.common import DatasetSpec

DATASETS: dict[str, DatasetSpec] = {
    "geometry3k": geometry3k.SPEC,
    "geometry3k_formalgeo": geometry3k_formalgeo.SPEC,
    "geoqa_r1v": geoqa_r1v.SPEC,
    "geoqa_plus": geoqa_plus.SPEC,
    "geoqa_formalgeo": geoqa_formalgeo.SPEC,
    "mmk12": mmk12.SPEC,
    "virl39k": virl39k.SPEC,
    "multimodal_open_r1": multimodal_open_r1.SPEC,
    "clevr_count": clevr_count.SPEC,
    "mathvista": mathvista.SPEC,
    "mathverse": mathverse.SPEC,
    "mathvision": mathvision.SPEC,
    "wemath": wemath.SPEC,
    "math12k": math12k.SPEC,
    "gsm8k": gsm8k.SPEC,
    "dapo17k": dapo17k.SPEC,
}
