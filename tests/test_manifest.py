"""A manifest gives what was written, and says which line is no row."""

import pickle
import tracemalloc

import pytest
from manifest import Manifest, Row

HEADER = "ID,duration,wav,spk_id\n"
ROWS = [
    Row("id1/a/1", 1.25, "/data/wav/id1/a/1.wav", "id1"),
    Row("id2/b/1", 8.0, '/data/wav/id2/b, "c"/1.wav', "id2"),
    Row("idé/c/1", 0.5, "/data/wav/idé/c/1.flac", "idé"),
]
LINES = [
    "id1/a/1,1.25,$data_root/wav/id1/a/1.wav,id1\n",
    'id2/b/1,8.0,"$data_root/wav/id2/b, ""c""/1.wav",id2\n',
    "idé/c/1,0.5,$data_root/wav/idé/c/1.flac,idé\n",
]


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "train.csv"
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.mark.parametrize("end", ["", "\n"], ids=["cut", "whole"])
def test_rows_are_those_of_the_file(write, end):
    """Commas, quotation marks and letters beyond ASCII included."""
    text = (HEADER + "".join(LINES)).rstrip("\n") + end
    manifest = Manifest(write(text), "/data")
    assert len(manifest) == 3
    assert list(manifest) == ROWS
    assert manifest[2] == ROWS[2]
    for outside in (-1, 3):
        with pytest.raises(IndexError, match="has 3 rows"):
            manifest[outside]


def test_windows_line_ends_change_nothing(write):
    path = write("")
    path.write_bytes((HEADER + "".join(LINES)).replace("\n", "\r\n").encode())
    assert list(Manifest(path, "/data")) == ROWS


@pytest.mark.parametrize(
    "wrong",
    [
        "id3/a/1,1.25,$data_root/wav/id3/a/1.wav\n",  # a column too few
        "id3/a/1,1.25,$data_root/wav/id3/a/1.wav,id3,m\n",
        "id3/a/1,long,$data_root/wav/id3/a/1.wav,id3\n",
        "id3/a/1,0.0,$data_root/wav/id3/a/1.wav,id3\n",
        "id3/a/1,nan,$data_root/wav/id3/a/1.wav,id3\n",
        "id3/a/1,1.25,,id3\n",
        '"id3/a/1,1.25,$data_root/wav/id3/a/1.wav,id3\n',
        "\n",
    ],
)
def test_a_line_that_is_no_row_is_named(write, wrong):
    manifest = Manifest(write(HEADER + LINES[0] + wrong + LINES[2]), "/data")
    with pytest.raises(ValueError, match=r"train\.csv:3: no row .*made anew"):
        list(manifest)
    assert manifest[2] == ROWS[2]  # the others can be read


def test_a_long_value_is_cut_in_the_message(write):
    text = LINES[0].replace("1.25", "9" * 9999 + "s")
    with pytest.raises(ValueError, match=r"train\.csv:2: no row") as error:
        list(Manifest(write(HEADER + text), "/data"))
    assert len(str(error.value)) < 1000


def test_bytes_that_are_no_text_are_named(write):
    path = write(HEADER)
    path.write_bytes(path.read_bytes() + b"id\xff/a/1,1.0,a.wav,id1\n")
    with pytest.raises(ValueError, match=r"train\.csv:2: no row"):
        list(Manifest(path, "/data"))


@pytest.mark.parametrize("text", ["", HEADER, "ID,wav\na,b\n", "404\n404\n"])
def test_a_file_that_is_no_manifest_is_refused(write, text):
    with pytest.raises(ValueError, match=r"train\.csv:1: no manifest"):
        Manifest(write(text), "/data")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"dev\.csv: cannot be read"):
        Manifest(tmp_path / "dev.csv", "/data")


def test_memory_is_the_file_and_eight_bytes_a_row(write):
    """What 1.2 million utterances cost is 1.2 million times that."""
    path = write(HEADER + "".join(LINES[:1] * 10_000))
    tracemalloc.start()
    manifest = Manifest(path, "/data")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(manifest) == 10_000
    assert size < path.stat().st_size + 8 * 10_000 + 10_000


def test_it_can_be_sent_to_a_worker(write):
    manifest = Manifest(write(HEADER + LINES[0]), "/data")
    assert pickle.loads(pickle.dumps(manifest))[0] == ROWS[0]
