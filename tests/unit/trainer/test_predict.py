"""`uec-vlm predict`: a picture that cannot be read is named before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.run_folders import picture
from uec_vlm.errors import DataError
from uec_vlm.trainer.predict import predict


@pytest.mark.parametrize(("data", "reason"), [(b"no picture", "of no known format"), (picture(1)[:150], ".+")])
def test_a_broken_picture_is_named_by_its_path(data: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.png"
    file.write_bytes(data)
    with pytest.raises(DataError) as told:
        predict("./no model", file, "Find x.", max_new_tokens=None)
    assert told.match(rf"^{file}: the picture cannot be decoded \({reason}\)\. Give a whole PNG or JPEG\.$")
    assert "0x" not in str(told.value)


def test_a_picture_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: there is no such picture file"):
        predict("./no model", tmp_path / "none.png", "Find x.", max_new_tokens=None)
