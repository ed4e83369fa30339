"""Embeddings of any files, as a .npz."""

import numpy as np
import pytest
import torch
import verify
from extraction import load_model
from recipe_commands import HPARAMS, run_verify

from custom_modules.audio import read_audio
from custom_modules.scoring import read_trials, utterance_id


def extract(corpus, trained, folder, *overrides):
    """Run the command; the report's file does not come into being."""
    with pytest.raises(FileNotFoundError, match=r"report\.json"):
        run_verify(
            *(corpus, trained / "model", folder / "verification"),
            f"--extract_to={folder / 'new' / 'embeddings.npz'}",
            *overrides,
        )
    with np.load(folder / "new" / "embeddings.npz") as arrays:
        return dict(arrays)


def test_the_trials_utterances_are_embedded(corpus, trained, tmp_path):
    found = extract(corpus, trained, tmp_path)
    trials = read_trials(corpus / "meta" / "veri_test2.txt")
    utt_ids = {utterance_id(name) for name in (*trials.enrol, *trials.test)}
    assert found["utt_ids"].tolist() == sorted(utt_ids)
    model, _ = load_model(trained / "model", "hyperparams.yaml")
    for utt_id, embedding in zip(*found.values(), strict=True):
        wav = read_audio(corpus / "wav" / f"{utt_id}.wav", 16000)
        expected = model.encode_batch(wav.unsqueeze(0)).flatten()
        np.testing.assert_allclose(embedding, expected, atol=1e-4)


def test_a_list_of_files_is_embedded(corpus, trained, tmp_path, write_wav):
    paths = [write_wav("a.wav", 1.0)[0], write_wav("b c.wav", 0.7, 48000, 2)[0]]
    listed = tmp_path / "list.txt"
    listed.write_text(f"{paths[0]}\n\n{paths[1]}\n{paths[0]}\n")
    found = extract(corpus, trained, tmp_path, f"--audio_list={listed}")
    assert found["utt_ids"].tolist() == list(map(str, paths))
    assert found["embeddings"].dtype == np.float32
    assert np.isfinite(found["embeddings"]).all()
    model, _ = load_model(trained / "model", "hyperparams.yaml")
    wav = read_audio(paths[1], 16000).unsqueeze(0)
    expected = model.encode_batch(wav).flatten()
    assert torch.allclose(
        torch.from_numpy(found["embeddings"][1]), expected, atol=1e-4
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"list\.txt is empty"),
        ("text.wav\n", r"1 files of .*list\.txt cannot be used"),
        ("\nnowhere.wav\n", r"list\.txt:2: there is no file .*nowhere\.wav"),
        (None, r"list\.txt: cannot be read"),
    ],
)
def test_a_bad_list_is_named(
    corpus, trained, tmp_path, monkeypatch, content, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.wav").write_text("no audio")
    if content is not None:
        (tmp_path / "list.txt").write_text(content)
    with pytest.raises(ValueError, match=message):
        verify.main(
            [
                str(HPARAMS / "verify.yaml"),
                f"--model_folder={trained / 'model'}",
                "--audio_list=list.txt",
                "--extract_to=out/embeddings.npz",
                "--cache_folder=null",
            ]
        )
    assert not (tmp_path / "out").exists()
