"""Writing that is interrupted changes nothing."""

import pytest
from whole_files import replacing


def write_half(path):
    with replacing(path) as partial:
        partial.write_text("half of")
        raise KeyboardInterrupt


@pytest.mark.parametrize("old", [None, "old"])
def test_an_interrupt_leaves_what_was_there(tmp_path, old):
    path = tmp_path / "list.txt"
    if old is not None:
        path.write_text(old)
    before = {file: file.read_text() for file in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert {file: file.read_text() for file in tmp_path.iterdir()} == before
