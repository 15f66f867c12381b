"""`load_encoder`: which forms exist, and what loading the package costs."""

import subprocess
import sys

import pytest

from app.embedding import load_encoder
from app.errors import InputError, UnavailableError


@pytest.mark.parametrize("spec", ["", "clip", "caption:", "clip:ViT-B-32", "Vectors:a.npz", ":x"])
def test_an_unknown_form_names_those_that_exist(spec: str) -> None:
    with pytest.raises(InputError) as raised:
        load_encoder(spec)
    assert raised.value.message == f"unknown encoder {spec!r}"
    for form in ("caption:all-MiniLM-L6-v2", "open_clip:ARCH:PRETRAINED", "vectors:PATH"):
        assert form in raised.value.hint


def test_importing_the_package_imports_no_heavy_library() -> None:
    code = (
        "import sys, app.embedding;"
        "print({'torch', 'torchvision', 'transformers', 'open_clip'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(InputError, match="unknown device 'tpux'"):
        load_encoder("caption:all-MiniLM-L6-v2", device="tpux")
    with pytest.raises(InputError, match="unknown device 'meta'"):
        load_encoder("caption:all-MiniLM-L6-v2", device="meta")


def test_a_gpu_that_is_not_there_is_no_silent_cpu() -> None:
    with pytest.raises(UnavailableError, match="device 'cuda:99' is not there"):
        load_encoder("caption:all-MiniLM-L6-v2", device="cuda:99")
