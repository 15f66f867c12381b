"""open_clip encoders, on a small model of random weights that goes through the real library."""

import json
import logging
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.embedding import Encoder, load_encoder, require_fetchable
from app.embedding import open_clip as module
from app.embedding.spec import OPEN_CLIP
from app.embedding.torchvision_operators import ensure_torchvision
from app.errors import InputError, UnavailableError
from tests.app.small_clip import CONFIG, small_model, write_small_clip

ensure_torchvision()
import open_clip  # noqa: E402

TEXTS = ["a photo of a face", "two trains, side by side", "Käse"]


def pictures(count: int) -> list[np.ndarray]:
    chance = np.random.default_rng(1)
    shapes = [(40, 60, 3), (32, 32, 3), (100, 20, 3), (7, 9, 3)]
    return [
        chance.integers(0, 256, size=shapes[index % 4]).astype(np.uint8) for index in range(count)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small clip")
    write_small_clip(folder)
    state = small_model().state_dict()
    torch.save(state, folder / "w.pt")
    torch.save({"epoch": 3, "state_dict": state}, folder / "epoch.pt")
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load_encoder(f"open_clip:{folder / 'small.json'}:{folder / 'w.safetensors'}")


def normalised(vectors: torch.Tensor) -> np.ndarray:
    return (vectors / vectors.norm(dim=1, keepdim=True)).detach().numpy()


def test_it_says_what_it_is(encoder: Encoder, folder: Path) -> None:
    assert encoder.dimension == 32
    assert encoder.sees_images is True
    assert encoder.name == f"open_clip:small:w@{encoder.checksum[:8]}"
    assert encoder.spec == f"open_clip:{folder / 'small.json'}:{folder / 'w.safetensors'}"


def test_texts_are_what_the_text_tower_says(encoder: Encoder) -> None:
    expected = normalised(small_model().encode_text(open_clip.tokenize(TEXTS)))
    got = encoder.encode_texts(TEXTS)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 0.01


def test_images_are_what_the_image_tower_says_of_the_preprocessed_picture(
    encoder: Encoder,
) -> None:
    from PIL import Image

    transform = open_clip.image_transform(
        32, is_train=False, mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD
    )
    images = pictures(5)
    pixels = torch.stack([transform(Image.fromarray(image)) for image in images])
    expected = normalised(small_model().encode_image(pixels))
    got = encoder.encode_images(iter(images))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 0.01


def test_batches_change_nothing_and_are_taken_one_at_a_time(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(11)
    whole = encoder.encode_images(images)
    texts = [f"{number} dogs" for number in range(11)]
    whole_texts = encoder.encode_texts(texts)
    monkeypatch.setattr(module, "BATCH", 4)
    taken: list[int] = []

    def stream() -> Iterator[np.ndarray]:
        for index, image in enumerate(images):
            taken.append(index)
            yield image if index != 9 else np.zeros((2, 2), np.uint8)

    with pytest.raises(InputError, match=r"image 9 is uint8 \(2, 2\)"):
        encoder.encode_images(stream())
    assert taken == list(range(11))
    np.testing.assert_allclose(encoder.encode_images(images), whole, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(texts), whole_texts, atol=1e-5)


def test_a_stimulus_is_its_picture(encoder: Encoder) -> None:
    images = pictures(3)
    np.testing.assert_allclose(
        encoder.encode_stimuli([["a"], [], ["b", "c"]], images),
        encoder.encode_images(images),
        atol=1e-6,
    )
    with pytest.raises(InputError, match="there are none"):
        encoder.encode_stimuli([["a"]], None)
    with pytest.raises(InputError, match="3 pictures for 2 stimuli"):
        encoder.encode_stimuli([["a"], ["b"]], images)


def test_nothing_encodes_to_no_rows(encoder: Encoder) -> None:
    assert encoder.encode_texts([]).shape == (0, 32)
    assert encoder.encode_images([]).shape == (0, 32)
    with pytest.raises(InputError, match="text 0 is empty"):
        encoder.encode_texts([" "])


@pytest.mark.parametrize("file", ["w.pt", "epoch.pt"])
def test_the_same_weights_are_the_same_encoder(encoder: Encoder, folder: Path, file: str) -> None:
    other = load_encoder(f"open_clip:{folder / 'small.json'}:{folder / file}")
    assert other.checksum == encoder.checksum
    np.testing.assert_allclose(other.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)


def test_other_weights_are_another_encoder(encoder: Encoder, folder: Path, tmp_path: Path) -> None:
    state = small_model().state_dict()
    state["logit_scale"] = state["logit_scale"] + 1e-3
    torch.save(state, tmp_path / "w.pt")
    other = load_encoder(f"open_clip:{folder / 'small.json'}:{tmp_path / 'w.pt'}")
    assert other.checksum != encoder.checksum
    assert other.name != encoder.name


def test_a_config_of_a_known_stem_replaces_nothing(folder: Path, tmp_path: Path) -> None:
    before = open_clip.get_model_config("ViT-B-32")
    (tmp_path / "ViT-B-32.json").write_text(json.dumps(CONFIG))
    encoder = load_encoder(f"open_clip:{tmp_path / 'ViT-B-32.json'}:{folder / 'w.pt'}")
    assert encoder.dimension == 32
    assert open_clip.get_model_config("ViT-B-32") == before


def test_the_preprocessing_in_an_open_clip_config_is_followed(
    encoder: Encoder, folder: Path
) -> None:
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"}
    path = folder / "open_clip_config.json"
    path.write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": preprocess}))
    other = load_encoder(f"open_clip:{path}:{folder / 'w.pt'}")
    image = np.full((32, 32, 3), 200, np.uint8)
    pixels = torch.full((1, 3, 32, 32), (200 / 255 - 0.5) / 0.5)
    expected = normalised(small_model().encode_image(pixels))
    np.testing.assert_allclose(other.encode_images([image]), expected, atol=1e-5)
    assert np.abs(encoder.encode_images([image]) - expected).max() > 1e-3


def test_a_tag_brings_its_preprocessing_and_quick_gelu(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered = module._register("small", CONFIG)
    tag = {
        "file": str(folder / "w.pt"),
        "quick_gelu": True,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, registered, {"made": tag})
    encoder = load_encoder(f"open_clip:{folder / 'small.json'}:made")
    assert encoder.name == encoder.spec == f"open_clip:{folder / 'small.json'}:made"
    model = small_model({**CONFIG, "quick_gelu": True})
    expected = normalised(model.encode_text(open_clip.tokenize(TEXTS)))
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected, atol=1e-5)
    plain = normalised(small_model().encode_text(open_clip.tokenize(TEXTS)))
    assert np.abs(expected - plain).max() > 1e-3
    pixels = torch.full((1, 3, 32, 32), (200 / 255 - 0.5) / 0.5)
    np.testing.assert_allclose(
        encoder.encode_images([np.full((32, 32, 3), 200, np.uint8)]),
        normalised(model.encode_image(pixels)),
        atol=1e-5,
    )


def test_openai_weights_are_known_to_want_quick_gelu() -> None:
    assert open_clip.get_pretrained_cfg("ViT-B-32", "openai")["quick_gelu"] is True


def test_a_tag_that_cannot_be_downloaded_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnavailableError) as raised:
        load_encoder("open_clip:ViT-B-32:openai")
    assert raised.value.message.startswith(
        "the weights ViT-B-32:openai cannot be downloaded: Failed to download file"
    )
    assert "\n" not in raised.value.message
    assert "local checkpoint" in raised.value.hint


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        ("ViT-B-32", "incomplete encoder 'open_clip:ViT-B-32'", "open_clip:ARCH:PRETRAINED"),
        ("ViT-B-32:", "incomplete encoder", "open_clip:ARCH:PRETRAINED"),
        ("ViT-B-33:openai", "open_clip has no model 'ViT-B-33'", "ViT-B-32"),
        ("hf-hub:org/model", "open_clip has no model 'hf-hub'", ""),
        (
            "ViT-B-32:nothing",
            "nothing is neither a file nor a tag of ViT-B-32",
            "laion2b_s34b_b79k",
        ),
        ("none.json:w.pt", "model config none.json cannot be read", "JSON"),
    ],
)
def test_what_does_not_exist_is_named(spec: str, message: str, hint: str) -> None:
    with pytest.raises(InputError) as raised:
        load_encoder(f"open_clip:{spec}")
    assert message in raised.value.message
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("arch", "pretrained", "match"),
    [
        ("ViT-B-32", "w.pt", ("ViT-B-32", "w.pt")),
        (r"C:\models\a.json", r"D:\w.pt", (r"C:\models\a.json", r"D:\w.pt")),
        ("/m/a.json", "/odd:name/w.pt", ("/m/a.json", "/odd:name/w.pt")),
    ],
)
def test_paths_may_hold_a_drive(arch: str, pretrained: str, match: tuple[str, str]) -> None:
    found = OPEN_CLIP.fullmatch(f"{arch}:{pretrained}")
    assert found is not None
    assert found.groups() == match


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "has no embed_dim"),
        ('{"model_cfg": 3}', "has no embed_dim"),
        ('{"embed_dim": 32, "vision_cfg": {}}', "has no text_cfg"),
        (json.dumps({**CONFIG, "vision_cfg": {"depth": 2}}), "no model can be built"),
        (json.dumps({**CONFIG, "colour": "red"}), "no model can be built"),
    ],
)
def test_config_faults_are_named(folder: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        load_encoder(f"open_clip:{tmp_path / 'bad.json'}:{folder / 'w.pt'}")
    assert "bad" in raised.value.message
    assert "\n" not in raised.value.message


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(suffix=st.sampled_from([".pt", ".safetensors"]), share=st.floats(0, 0.999))
def test_a_truncated_checkpoint_is_one_clear_error(folder: Path, suffix: str, share: float) -> None:
    content = (folder / f"w{suffix}").read_bytes()
    path = folder / f"cut{suffix}"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError) as raised:
        load_encoder(f"open_clip:{folder / 'small.json'}:{path}")
    assert raised.value.message.startswith(f"checkpoint {path} does not load into small: ")
    assert "\n" not in str(raised.value)


def test_the_weights_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    wider = {**CONFIG, "embed_dim": 48}
    (tmp_path / "wider.json").write_text(json.dumps(wider))
    with pytest.raises(InputError, match=r"w\.pt does not load into wider") as raised:
        load_encoder(f"open_clip:{tmp_path / 'wider.json'}:{folder / 'w.pt'}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [{}, [], {"a": 1}, torch.zeros(3)])
def test_a_checkpoint_of_other_things_is_refused(folder: Path, tmp_path: Path, content) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt does not load into small"):
        load_encoder(f"open_clip:{folder / 'small.json'}:{tmp_path / 'w.pt'}")


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("way", ["torch", "pickle"])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_a_pickle_with_code_is_refused_and_not_run(
    folder: Path, tmp_path: Path, way: str, suffix: str
) -> None:
    path, trace = tmp_path / f"w{suffix}", tmp_path / "trace"
    content = {**small_model().state_dict(), "trap": Trap(trace)}
    if way == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=f"w{suffix} does not load into small"):
        load_encoder(f"open_clip:{folder / 'small.json'}:{path}")
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".pkl", ".json"])
def test_other_suffixes_are_refused_unread(folder: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.touch()
    with pytest.raises(InputError, match=f"w{suffix} is no checkpoint"):
        load_encoder(f"open_clip:{folder / 'small.json'}:{path}")


def test_loading_leaves_logging_and_the_seed_alone(folder: Path) -> None:
    handlers = list(logging.getLogger().handlers)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_encoder(f"open_clip:{folder / 'small.json'}:{folder / 'w.pt'}")
    assert torch.rand(1) == expected
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger().isEnabledFor(logging.ERROR)


def test_it_is_silent_in_a_fresh_process(folder: Path) -> None:
    code = (
        "import logging, sys\n"
        "from app.embedding import load_encoder\n"
        "from app.errors import InputError\n"
        "load_encoder(sys.argv[1] + 'w.pt').encode_texts(['a cat'])\n"
        "try: load_encoder(sys.argv[1] + 'none.pt')\n"
        "except InputError: pass\n"
        "assert logging.getLogger().handlers == []\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"open_clip:{folder / 'small.json'}:{folder}/"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, with nothing in it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def answer_as(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], object]) -> list[str]:
    """Let the hub answer so; the repositories that it was asked for."""
    from huggingface_hub import HfApi

    asked: list[str] = []

    def model_info(self: HfApi, repo_id: str, **_: object) -> object:
        asked.append(repo_id)
        return answer()

    monkeypatch.setattr(HfApi, "model_info", model_info)
    return asked


def test_weights_that_the_hub_has_can_be_fetched(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer_as(monkeypatch, lambda: None)
    require_fetchable("open_clip:ViT-B-32:openai")
    assert asked == ["timm/vit_base_patch32_clip_224.openai"]


def test_weights_that_nobody_gives_are_asked_for_once(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OSError("no route to host\nand more")

    asked = answer_as(monkeypatch, refuse)
    with pytest.raises(UnavailableError) as raised:
        require_fetchable("open_clip:ViT-B-32:openai")
    assert raised.value.message == (
        "the weights ViT-B-32:openai cannot be fetched: no route to host"
    )
    assert "local checkpoint" in raised.value.hint
    assert len(asked) == 1


def test_a_hub_that_never_answers_is_not_waited_for(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = Event()
    answer_as(monkeypatch, lambda: never.wait(60))
    with pytest.raises(UnavailableError, match=r"cannot be fetched: no answer within 0\.1 s"):
        require_fetchable("open_clip:ViT-B-32:openai", patience_s=0.1)
    never.set()


def test_weights_that_are_here_or_are_not_the_hubs_are_not_asked_for(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answer_as(monkeypatch, lambda: None)
    for spec in (
        *("caption:all-MiniLM-L6-v2", "vectors:x.csv", "open_clip:ViT-B-32"),
        *("open_clip:ViT-B-32:/models/w.pt", "open_clip:Nothing:openai"),
    ):
        require_fetchable(spec)
    commit = "0" * 40
    repository = empty_cache / "models--timm--vit_base_patch32_clip_224.openai"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    weights = repository / "snapshots" / commit / "open_clip_model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    require_fetchable("open_clip:ViT-B-32:openai")
    assert asked == []
