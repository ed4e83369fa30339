"""Where audio, trial lists and genders are found, and what is refused."""

import urllib.error

import pytest
from voxceleb1_layout import (
    META_FILES,
    find_gender_table,
    find_trials,
    find_utterances,
    read_genders,
)

SPEAKERS = ["id10001", "id10002", "id10270", "id10271"]
TRIALS = (
    "1 id10270/s0/00001.wav id10270/s1/00001.wav\n"
    "0 id10270/s0/00001.wav id10271/s1/00002.wav\n"
)


def touch_speakers(folder, speakers, suffix=".wav"):
    """Two sessions of two utterances each; nobody reads them here."""
    for speaker in speakers:
        for session in ("s0", "s1"):
            (folder / speaker / session).mkdir(parents=True)
            for name in ("00001", "00002"):
                (folder / speaker / session / (name + suffix)).touch()


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "VoxCeleb1"
    touch_speakers(folder / "wav", SPEAKERS)
    (folder / "veri_test2.txt").write_text(TRIALS)
    return folder


@pytest.fixture
def offline(monkeypatch):
    def urlopen(url, timeout):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)


# Audio


@pytest.mark.parametrize(
    ("dev", "test"),
    [
        ("wav", "wav"),
        ("dev/wav", "test/wav"),
        ("vox1_dev_wav/wav", "vox1_test_wav/wav"),
        ("vox1_dev_wav/dev/wav", "vox1_test_wav/test/wav"),
        ("vox1_dev_wav/wav", "wav"),
    ],
)
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_layouts_give_the_same_utterances(corpus, tmp_path, dev, test, suffix):
    root = tmp_path / "other"
    touch_speakers(root / dev, SPEAKERS[:2], suffix)
    touch_speakers(root / test, SPEAKERS[2:], suffix)
    utterances = find_utterances(root)
    assert list(utterances) == list(find_utterances(corpus))
    assert list(utterances) == sorted(utterances)
    path = utterances["id10270/s1/00002"]
    assert path == str(root / test / ("id10270/s1/00002" + suffix))


def test_relative_data_folder(corpus, monkeypatch):
    monkeypatch.chdir(corpus.parent)
    assert find_utterances("VoxCeleb1") == find_utterances(corpus)


def test_link_to_the_same_folder_is_no_duplicate(corpus):
    (corpus / "dev").mkdir()
    (corpus / "dev" / "wav").symlink_to(corpus / "wav")
    assert len(find_utterances(corpus)) == 16


def test_session_named_wav_is_no_second_folder(corpus):
    (corpus / "wav/id10001/s0").rename(corpus / "wav/id10001/wav")
    assert "id10001/wav/00001" in find_utterances(corpus)


@pytest.mark.parametrize(
    "other", ["wav/id10001/s0/00001.flac", "dev/wav/id10001/s0/00001.wav"]
)
def test_utterance_found_twice_names_both(corpus, other):
    (corpus / other).parent.mkdir(parents=True, exist_ok=True)
    (corpus / other).touch()
    with pytest.raises(
        ValueError, match="id10001/s0/00001 is there twice"
    ) as e:
        find_utterances(corpus)
    assert str(corpus / "wav/id10001/s0/00001.wav") in str(e.value)
    assert str(corpus / other) in str(e.value)


def test_file_outside_a_session_is_named(corpus):
    (corpus / "wav/id10001/00001.wav").touch()
    with pytest.raises(ValueError, match=r"id10001/00001.wav is not <speaker>"):
        find_utterances(corpus)


def test_missing_data_folder_is_named_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = f"no data_folder {tmp_path}/VoxCeleb1; expected one of"
    with pytest.raises(FileNotFoundError, match=message):
        find_utterances("VoxCeleb1")


def test_folder_without_audio_says_where_it_looked(tmp_path):
    with pytest.raises(FileNotFoundError, match="looked in") as caught:
        find_utterances(tmp_path)
    for text in (f"{tmp_path}/wav\n", f"{tmp_path}/*/wav\n", "dev/wav/id1000"):
        assert text in str(caught.value)


# Trial lists


def test_cleaned_list_is_preferred_and_found_in_meta(tmp_path, offline):
    (tmp_path / "meta").mkdir()
    for name in ("meta/veri_test.txt", "veri_test.txt", "meta/veri_test2.txt"):
        (tmp_path / name).write_text(TRIALS)
        assert find_trials(tmp_path, tmp_path / "save") == tmp_path / name


def test_explicit_list_by_path_or_by_name(tmp_path, offline, monkeypatch):
    data, other = tmp_path / "data", tmp_path / "mine.txt"
    data.mkdir()
    for path in (data / "hard.txt", other, data / "veri_test.txt"):
        path.write_text(TRIALS)
    assert find_trials(data, tmp_path, "hard.txt") == data / "hard.txt"
    assert find_trials(data, tmp_path, other) == other
    monkeypatch.chdir(tmp_path)
    assert find_trials("data", "save", "./mine.txt") == other


@pytest.mark.parametrize("trials", ["hard.txt", "lists/veri_test2.txt"])
def test_missing_explicit_list_is_an_error(corpus, tmp_path, offline, trials):
    with pytest.raises(FileNotFoundError, match=f"trials={trials}, looked"):
        find_trials(corpus, tmp_path / "save", trials)


def test_offline_error_says_what_to_put_where(corpus, tmp_path, offline):
    (corpus / "veri_test2.txt").unlink()
    with pytest.raises(FileNotFoundError, match="no route to host") as caught:
        find_trials(corpus, tmp_path / "save")
    url = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/veri_test2.txt"
    assert f"download {url} to {corpus}/veri_test2.txt" in str(caught.value)
    assert not (tmp_path / "save").exists()


class Response:
    def __init__(self, content):
        self.content = content

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def read(self):
        return self.content


def test_list_is_fetched_once_and_kept(corpus, tmp_path, monkeypatch):
    (corpus / "veri_test2.txt").unlink()
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return Response(TRIALS.encode())

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    for _ in range(2):
        path = find_trials(corpus, tmp_path / "save")
        assert path == tmp_path / "save" / "veri_test2.txt"
        assert path.read_text() == TRIALS
    assert len(asked) == 1
    assert list((tmp_path / "save").iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("O", "veri_test.txt"),
        ("O-clean", "veri_test2.txt"),
        ("H-clean", "list_test_hard2.txt"),
    ],
)
def test_a_list_is_known_by_the_name_that_papers_use(
    tmp_path, monkeypatch, name, file
):
    """Found in the data, else fetched."""
    asked = []

    def urlopen(url, timeout):
        asked.append(url.rpartition("/")[2])
        return Response(TRIALS.encode())

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    data = tmp_path / "data"
    (data / "meta").mkdir(parents=True)
    (data / "veri_test3.txt").write_text(TRIALS)
    assert find_trials(data, tmp_path, name) == tmp_path / file
    assert asked == [file]
    (data / "meta" / file).write_text(TRIALS)
    assert find_trials(data, tmp_path, name) == data / "meta" / file
    assert len(asked) == 1


def test_page_instead_of_a_list_is_not_kept(corpus, tmp_path, monkeypatch):
    (corpus / "veri_test2.txt").unlink()
    page = Response(b"<html>Please log in</html>\n")
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: page)
    with pytest.raises(ValueError, match="something else than a trial list"):
        find_trials(corpus, tmp_path / "save")
    assert not list((tmp_path / "save").iterdir())


# Genders


@pytest.mark.parametrize("name", META_FILES)
def test_table_of_genders_is_found_or_missing(corpus, name):
    assert find_gender_table(corpus) is None
    (corpus / name).parent.mkdir(exist_ok=True)
    (corpus / name).touch()
    assert find_gender_table(corpus) == corpus / name


def test_genders_are_read_with_tabs_or_commas(tmp_path):
    path = tmp_path / "vox1_meta.csv"
    table = "VoxCeleb1 ID ,Gender ,Set\nid10001,m,dev\nid10002, F,\nid10003,,"
    for delimiter in ",\t":
        path.write_text(table.replace(",", delimiter))
        assert read_genders(path) == {"id10001": "m", "id10002": "f"}


def test_bad_gender_tables_are_named_with_their_line(tmp_path):
    path = tmp_path / "vox1_meta.csv"
    path.write_text("VoxCeleb1 ID,Gender\nid10001,m\nid10002,x\n")
    with pytest.raises(ValueError, match=r"vox1_meta\.csv:3: gender 'x'"):
        read_genders(path)
    path.write_text("speaker,sex\n")
    with pytest.raises(ValueError, match=r"vox1_meta\.csv:1: no columns"):
        read_genders(path)
