"""Encoders of requests name files, by themselves or by a config: none elsewhere is read."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from app.embedding import load_encoder
from app.embedding.spec import files_of
from app.errors import InputError
from app.ingestions.service import confine_encoder
from app.settings import get_settings
from tests.app.small_clip import CONFIG, write_small_clip


@pytest.mark.parametrize(
    ("spec", "files"),
    [
        ("caption:all-MiniLM-L6-v2", []),
        ("open_clip:ViT-B-32:openai", []),
        ("vectors:words.csv", ["words.csv"]),
        ("open_clip:ViT-B-32:secret.pt", ["secret.pt"]),
        ("open_clip:ViT-B-32:SECRET.PTH", ["SECRET.PTH"]),
        ("open_clip:model.json:laion2b", ["model.json"]),
        ("open_clip:model.json:secret.safetensors", ["model.json", "secret.safetensors"]),
        ("open_clip:/m/a.json:/odd:name/w.pt", ["/m/a.json", "/odd:name/w.pt"]),
        (r"open_clip:ViT-B-32:..\w.bin", [r"..\w.bin"]),
        ("open_clip:ViT-B-32:/etc/shadow", ["/etc/shadow"]),
    ],
)
def test_every_file_of_a_request_is_confined(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, files: list[str]
) -> None:
    root = tmp_path / "incoming"
    root.mkdir()
    monkeypatch.setenv("SDC_INGEST_ROOTS", json.dumps([str(root)]))
    get_settings.cache_clear()
    assert files_of(spec) == files
    if not files:
        confine_encoder({"encoder": spec})
        return
    with pytest.raises(InputError) as caught:
        confine_encoder({"encoder": spec})
    assert caught.value.message == f"{files[0]}: no folder that requests may read"


@pytest.mark.parametrize(
    ("part", "value", "told"),
    [
        ("text_cfg", {"hf_tokenizer_name": "{folder}"}, "no name of a hub's"),
        ("text_cfg", {"hf_tokenizer_name": "local"}, "no name of a hub's"),
        ("text_cfg", {"hf_model_name": "../elsewhere"}, "no name of a hub's"),
        ("vision_cfg", {"timm_model_name": "local-dir:/elsewhere"}, "no name of a hub's"),
        (
            "text_cfg",
            {"hf_tokenizer_name": "some/one", "tokenizer_kwargs": {"trust_remote_code": True}},
            "tokenizer_kwargs has trust_remote_code",
        ),
        (
            "text_cfg",
            {"tokenizer_kwargs": {"bpe_path": "/etc/passwd"}},
            "tokenizer_kwargs has bpe_path",
        ),
    ],
)
def test_a_model_config_names_no_files_and_runs_no_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    value: dict[str, Any],
    told: str,
) -> None:
    write_small_clip(tmp_path)
    planted = tmp_path / "local"
    planted.mkdir()
    (planted / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (planted / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["mine.Mine", None]}})
    )
    monkeypatch.chdir(tmp_path)
    value = {
        key: each.format(folder=planted) if isinstance(each, str) else each
        for key, each in value.items()
    }
    config = CONFIG | {part: CONFIG[part] | value}
    (tmp_path / "bad.json").write_text(json.dumps(config))
    before = set(sys.modules)
    with pytest.raises(InputError, match=told) as caught:
        load_encoder(f"open_clip:{tmp_path / 'bad.json'}:{tmp_path / 'w.safetensors'}")
    assert caught.value.message.startswith(f"model config {tmp_path / 'bad.json'}: ")
    assert not (tmp_path / "ran").exists()
    assert not {name for name in set(sys.modules) - before if name.startswith("transformers")}
