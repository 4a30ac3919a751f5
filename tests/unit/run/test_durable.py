"""A folder is whole or not there, at whatever moment its writer is killed; what was altered is named."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from uec_vlm.durable import MANIFEST, append_line, fault_of, tidy, whole_folder, write_text


def _write(target: Path, content: str) -> None:
    with whole_folder(target) as folder:
        (folder / "state").mkdir()
        (folder / "state" / "a.json").write_text(content)
        (folder / "weights").write_bytes(content.encode() * 1000)


def test_a_folder_is_whole_and_what_is_altered_is_named(tmp_path: Path) -> None:
    target = tmp_path / "step_1"
    _write(target, "x")
    assert fault_of(target) is None
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]
    (target / "weights").write_bytes(b"y" * 1000)
    assert fault_of(target) == "weights is not what was written (SHA-256 differs)"
    (target / "weights").write_bytes(b"x" * 999)
    assert fault_of(target) == "weights has 999 bytes, not 1000"
    (target / "weights").unlink()
    assert fault_of(target) == "weights is missing"
    _write(target, "z")
    (target / "state" / "more").write_text("")
    assert fault_of(target) == "state/more is not one of its files"
    (target / MANIFEST).write_text((target / MANIFEST).read_text()[:30])
    assert "manifest.json cannot be read" in str(fault_of(target))
    (target / MANIFEST).write_text("[]")
    assert "manifest.json cannot be read" in str(fault_of(target))


def test_weights_in_a_whole_folder_are_for_whoever_may_read_it(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "step_1") as folder:
        (folder / "state").mkdir()
        save_file({"a": torch.zeros(2)}, folder / "state" / "a.safetensors")
    written = tmp_path / "step_1" / "state" / "a.safetensors"
    assert written.stat().st_mode & 0o777 == (tmp_path / "step_1").stat().st_mode & 0o666


def test_a_block_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "step_1"
    _write(target, "old")
    with pytest.raises(RuntimeError, match="in the middle"), whole_folder(target) as folder:
        (folder / "weights").write_text("new")
        raise RuntimeError("in the middle")
    assert fault_of(target) is None
    assert (target / "state" / "a.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]


@pytest.mark.parametrize("call", range(1, 40))
def test_a_kill_before_any_change_on_the_disk_leaves_the_old_or_the_new_folder(call: int, tmp_path: Path) -> None:
    """The writer is killed before its n-th rename, removal, flush or write, for every n."""
    target = tmp_path / "step_1"
    _write(target, "old")
    child = os.fork()
    if child == 0:
        _die_before(call)
        _write(target, "new")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    tidy(tmp_path)
    assert fault_of(target) is None
    assert [path.name for path in tmp_path.iterdir()] == ["step_1"]
    content = (target / "state" / "a.json").read_text()
    if os.WIFSIGNALED(status):
        assert content in ("old", "new")
    else:
        assert content == "new"
        assert call > 15, "the kill came too late to prove anything"


def _die_before(call: int) -> None:
    """Lets this process kill itself before the n-th call that changes a disk."""
    left = [call]

    def dying(function):  # type: ignore[no-untyped-def]
        def wrapped(*args, **kwargs):  # type: ignore[no-untyped-def]
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapped

    for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync"):
        setattr(os, name, dying(getattr(os, name)))
    Path.write_text = dying(Path.write_text)  # type: ignore[method-assign]
    Path.write_bytes = dying(Path.write_bytes)  # type: ignore[method-assign]


def test_a_text_is_replaced_as_a_whole_and_lines_are_appended(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "one")
    write_text(tmp_path / "a", "two")
    append_line(tmp_path / "b", {"step": 1})
    append_line(tmp_path / "b", {"step": 2})
    assert (tmp_path / "a").read_text() == "two"
    assert [json.loads(line)["step"] for line in (tmp_path / "b").read_text().splitlines()] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
