"""Compiled code on disk: whole or absent, and never too much of it."""

import os

import pytest
from fem_core.support import compiled


def test_code_comes_back_as_it_was_saved(tmp_path):
    path = tmp_path / "folder" / "one-1.bin"
    assert compiled.load(path, bytes) is None
    compiled.save(path, b"code", "one-*.bin")
    assert compiled.load(path, bytes.decode) == "code"


@pytest.mark.parametrize("damage", [lambda whole: whole[:10], lambda whole: b"", lambda whole: whole[:-1] + b"?"])
def test_damaged_code_is_a_warning(tmp_path, damage, caplog):
    path = tmp_path / "one-1.bin"
    compiled.save(path, b"code", "one-*.bin")
    path.write_bytes(damage(path.read_bytes()))
    assert compiled.load(path, bytes) is None
    assert f"{path} can't be used, so it is compiled again: it is damaged" in caplog.text


def test_code_that_cannot_be_used_is_a_warning(tmp_path, caplog):
    path = tmp_path / "one-1.bin"
    compiled.save(path, b"\xff", "one-*.bin")
    assert compiled.load(path, lambda code: code.decode()) is None
    assert "can't be used" in caplog.text


def test_the_oldest_entries_go_and_others_stay(tmp_path):
    (tmp_path / "two-1.bin").touch()
    for number in range(compiled._KEPT + 2):
        path = tmp_path / f"one-{number}.bin"
        compiled.save(path, b"code", "one-*.bin")
        os.utime(path, (number, number))
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"two-1.bin", *(f"one-{number}.bin" for number in range(2, compiled._KEPT + 2))}
