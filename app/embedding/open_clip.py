"""Encoders of texts and pictures from the open_clip library."""

import hashlib
import json
import logging
import os
import pickle
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import islice
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from app.embedding.checksum import arrays_checksum
from app.embedding.device import torch_device
from app.embedding.encoder import Image, Vectors, check_image, check_texts, unit_rows
from app.embedding.spec import CHECKPOINTS, MODEL_CONFIG, OPEN_CLIP
from app.embedding.text_reading import SLOT, TextReading, WordTokens, read_words
from app.embedding.torchvision_operators import ensure_torchvision
from app.errors import InputError, UnavailableError

T = TypeVar("T")

BATCH = 64

# What torch and safetensors raise for a file that is cut, foreign or more than tensors.
_UNREADABLE = (
    AttributeError,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    StopIteration,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    SafetensorError,
)

# Where a model config names a model or tokenizer of others: of a hub, never a folder.
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_OF_HUBS = ("hf_model_name", "hf_tokenizer_name", "timm_model_name")
# Others are handed on to what runs code of the hub's, or reads any file.
_TOKENIZER_OPTIONS = frozenset(
    {"clean", "context_length", "language", "reduction_mask", "strip_sep_token", "tokenizer_mode"}
)


class OpenClipEncoder:
    """A CLIP-like model: pictures and texts in one space. Implements `app.embedding.Encoder`.

    Texts longer than the model's context (77 tokens, mostly) are cut, and `read_text` tells of it.
    Pictures go through the
    model's own preprocessing. A model from a public tag is named by its spec; one from a local
    file ``open_clip:ARCH:STEM@CHECKSUM``, the same wherever the file lies.

    Parameters
    ----------
    model : str
        ``ARCH:PRETRAINED``. ARCH is one of open_clip's model names, or the path of a JSON file
        with a model config of open_clip's (bare, or inside an ``open_clip_config.json`` whose
        `preprocess_cfg` is then followed). PRETRAINED is a tag of that model, or the path of a
        local checkpoint: ``.safetensors``, or ``.pt``, ``.pth``, ``.bin`` with tensors alone. A
        local copy of weights trained with QuickGELU (OpenAI's) needs the ARCH that says so, such
        as ``ViT-B-32-quickgelu``; for a tag this is known.
    device : str
        "cpu", "cuda" or "cuda:N".

    Raises
    ------
    InputError
        ARCH or PRETRAINED is unknown, or the checkpoint cannot be read or is another model's.
    UnavailableError
        A download failed.
    """

    sees_images = True

    def __init__(self, model: str, *, device: str = "cpu") -> None:
        match = OPEN_CLIP.fullmatch(model)
        if match is None:
            raise InputError(
                f"incomplete encoder 'open_clip:{model}'",
                hint="the form is open_clip:ARCH:PRETRAINED, such as open_clip:ViT-B-32:openai",
            )
        arch, pretrained = match.groups()
        self._device = torch_device(device)
        ensure_torchvision()
        with _quietly():
            architecture = _find_architecture(arch)
            weights = _find_weights(architecture, pretrained)
            self._model, self._tokenizer, self._preprocess = _build(architecture, weights)
        self._model.eval().to(self._device)
        self.checksum = arrays_checksum(
            {key: value.cpu().numpy() for key, value in self._model.state_dict().items()}
        )
        self.spec = f"open_clip:{model}"
        self.name = (
            self.spec
            if weights.is_public
            else f"open_clip:{architecture.label}:{weights.path.stem}@{self.checksum[:8]}"
        )
        self.dimension: int = architecture.config["embed_dim"]

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: float32 (n, D), unit rows.

        Raises
        ------
        InputError
            A text is empty.
        """
        check_texts(texts)
        rows = []
        for batch in _batches(texts):
            with torch.inference_mode():
                tokens = self._tokenizer(batch).to(self._device)
                rows.append(self._model.encode_text(tokens).float().cpu().numpy())
        return self._stack(rows, "text")

    def read_text(self, text: str, template: str = SLOT) -> TextReading:
        """Tell what is read of a text in a template: its first tokens, and words without any."""
        count, tokens_of = _text_reader(self._tokenizer)
        return read_words(
            text,
            template,
            count=count,
            most_tokens=self._tokenizer.context_length,
            tokens_of=tokens_of,
        )

    def encode_images(self, images: Iterable[Image]) -> Vectors:
        """Encode pictures, uint8 (H, W, 3) each: float32 (n, D), unit rows.

        Pictures are taken from the iterable 64 at a time and never held all at once.

        Raises
        ------
        InputError
            A picture is not uint8 (H, W, 3).
        """
        from PIL import Image as Picture

        rows = []
        for number, batch in enumerate(_batches(images)):
            for index, image in enumerate(batch, start=number * BATCH):
                check_image(image, index)
            with torch.inference_mode():
                pixels = torch.stack([self._preprocess(Picture.fromarray(each)) for each in batch])
                rows.append(self._model.encode_image(pixels.to(self._device)).float().cpu().numpy())
        return self._stack(rows, "image")

    def encode_stimuli(
        self, captions: Sequence[Sequence[str]], images: Iterable[Image] | None
    ) -> Vectors:
        """Encode stimuli by their pictures; `captions` only says how many there are.

        Raises
        ------
        InputError
            There are no pictures, or not as many as stimuli.
        """
        if images is None:
            raise InputError(
                f"{self.name} encodes stimuli by their pictures, and there are none",
                hint="give the pictures, or use an encoder that reads captions",
            )
        vectors = self.encode_images(images)
        if len(vectors) != len(captions):
            raise InputError(
                f"{len(vectors)} pictures for {len(captions)} stimuli",
                hint="give one picture for each stimulus",
            )
        return vectors

    def _stack(self, rows: Sequence[NDArray[np.float32]], what: str) -> Vectors:
        empty = np.empty((0, self.dimension), np.float32)
        return unit_rows(np.concatenate([empty, *rows]), what)


@dataclass(frozen=True)
class _Architecture:
    label: str
    registered: str  # the name open_clip knows it by
    config: dict[str, Any]
    preprocess: dict[str, Any]


@dataclass(frozen=True)
class _Weights:
    path: Path
    is_public: bool
    quick_gelu: bool
    preprocess: dict[str, Any]


def _text_reader(tokenizer: Any) -> tuple[Callable[[str], int], WordTokens]:
    """How a tokenizer of open_clip's cuts a text, uncut: its number of tokens; those of a word."""
    import open_clip

    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        # Made of bytes, it has a token for whatever there is; two stand around every text.
        def parts(word: str) -> list[str | None]:
            return [tokenizer.decoder[each] for each in tokenizer.encode(word)]

        return lambda text: 2 + len(tokenizer.encode(text)), parts
    inner, clean = tokenizer.tokenizer, getattr(tokenizer, "clean_fn", str)
    around = 3 if getattr(tokenizer, "tokenizer_mode", "") == "clips" else None

    def identifiers(text: str, whole: bool) -> list[int]:
        found: list[int] = inner(clean(text), add_special_tokens=whole, verbose=False)["input_ids"]
        return found

    def pieces(word: str) -> list[str | None]:
        ids = identifiers(word, False)
        known = inner.convert_ids_to_tokens(ids)
        return [
            None if i == inner.unk_token_id else each for i, each in zip(ids, known, strict=True)
        ]

    def count(text: str) -> int:
        return len(identifiers(text, around is None)) + (around or 0)

    return count, pieces


def require_fetchable(model: str, *, patience_s: float) -> None:
    """Refuse a model whose weights are not on this machine and cannot be asked for.

    The hub is asked once, where a download tries again and again for a minute. What is not
    fetched from it is not looked at: loading tells of that.

    Parameters
    ----------
    model : str
        As `OpenClipEncoder` takes it.
    patience_s : float
        Seconds after which no answer counts as none.

    Raises
    ------
    UnavailableError
        The hub refuses, or does not answer in time.
    """
    match = OPEN_CLIP.fullmatch(model)
    if match is None:
        return
    ensure_torchvision()
    with _quietly():
        import open_clip

        tag = open_clip.get_pretrained_cfg(*match.groups())
        repository, filename = os.path.split(tag.get("hf_hub", ""))
        if not repository or _is_cached(repository, filename):
            return
        fault = _fault_within(patience_s, partial(_ask_hub, repository, patience_s))
    if fault is not None:
        raise UnavailableError(
            f"the weights {':'.join(match.groups())} cannot be fetched: {fault}",
            hint="mend the network, or give a local checkpoint's path in place of the tag",
        )


def _is_cached(repository: str, filename: str) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    # As `open_clip.download_pretrained` looks for them.
    names = [filename] if filename else [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    return any(isinstance(try_to_load_from_cache(repository, name), str) for name in names)


def _ask_hub(repository: str, patience_s: float) -> None:
    from huggingface_hub import HfApi

    HfApi().model_info(repository, timeout=patience_s)


def _fault_within(patience_s: float, ask: Callable[[], object]) -> str | None:
    """What went wrong when something was asked for, in one line; None where nothing did.

    Asked for in a thread that nobody waits for longer: no timeout of a library's covers all of
    names, proxies and redirections.
    """
    answers: SimpleQueue[str | None] = SimpleQueue()

    def told() -> None:
        try:
            ask()
        # Clients raise errors of several libraries.
        except Exception as error:
            answers.put(_first_line(error))
        else:
            answers.put(None)

    Thread(target=told, daemon=True).start()
    try:
        return answers.get(timeout=patience_s)
    except Empty:
        return f"no answer within {patience_s:g} s"


def _find_architecture(arch: str) -> _Architecture:
    import open_clip

    if not arch.endswith(MODEL_CONFIG):
        config = open_clip.get_model_config(arch) if arch in open_clip.list_models() else None
        if config is None:
            close = get_close_matches(arch, open_clip.list_models(), n=3, cutoff=0.3)
            raise InputError(
                f"open_clip has no model {arch!r}",
                hint=f"the closest are {', '.join(close)}; a model config's path ends in .json",
            )
        return _Architecture(arch, arch, config, {})
    path = Path(arch)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"model config {arch} cannot be read: {error}", hint="give an open_clip JSON config"
        ) from None
    content = content if isinstance(content, dict) else {}
    config = content.get("model_cfg", content)
    for key, kind in (("embed_dim", int), ("vision_cfg", dict), ("text_cfg", dict)):
        if not isinstance(config, dict) or not isinstance(config.get(key), kind):
            raise InputError(
                f"model config {arch} has no {key}",
                hint="it needs embed_dim, vision_cfg and text_cfg, as open_clip's own configs",
            )
    _require_nothing_else(arch, config)
    return _Architecture(
        path.stem, _register(path.stem, config), config, content.get("preprocess_cfg", {})
    )


def _require_nothing_else(arch: str, config: dict[str, Any]) -> None:
    """Refuse a model config that names files of this machine, or code of others to be run.

    Raises
    ------
    InputError
        A name is none of a hub, or a tokenizer is given an option that is not known.
    """
    for part in (config["vision_cfg"], config["text_cfg"]):
        for key in _OF_HUBS:
            name = part.get(key)
            if name and (not _HUB_NAME.fullmatch(str(name)) or Path(str(name)).exists()):
                raise InputError(
                    f"model config {arch}: {key} is {name!r}, no name of a hub's",
                    hint="name a public model; its files are not read from folders",
                )
        options = part.get("tokenizer_kwargs") or {}
        unknown = sorted(set(options) - _TOKENIZER_OPTIONS) if isinstance(options, dict) else []
        if unknown or not isinstance(options, dict):
            raise InputError(
                f"model config {arch}: tokenizer_kwargs has {', '.join(unknown) or 'no names'}",
                hint=f"known are {', '.join(sorted(_TOKENIZER_OPTIONS))}",
            )


def _register(stem: str, config: dict[str, Any]) -> str:
    """Make a config known to open_clip, under a name of its content.

    open_clip keeps configs for the whole process by their file's stem, where a second file of
    the same stem, or one called ViT-B-32.json, would replace the first unseen.
    """
    import open_clip

    text = json.dumps(config, sort_keys=True)
    name = f"{stem}-{hashlib.sha256(text.encode()).hexdigest()}"
    if name not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, f"{name}.json")
            copy.write_text(text, encoding="utf-8")
            open_clip.add_model_config(copy)
    return name


def _find_weights(architecture: _Architecture, pretrained: str) -> _Weights:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(architecture.registered)
    if tag := open_clip.get_pretrained_cfg(architecture.registered, pretrained):
        try:
            path = Path(open_clip.download_pretrained(tag))
        except (OSError, RuntimeError) as error:
            raise UnavailableError(
                f"the weights {architecture.label}:{pretrained} cannot be downloaded:"
                f" {_first_line(error)}",
                hint="mend the network, or give a local checkpoint's path in place of the tag",
            ) from None
        return _Weights(path, True, bool(tag.get("quick_gelu")), tag)
    path = Path(pretrained)
    if not path.is_file():
        raise InputError(
            f"{pretrained} is neither a file nor a tag of {architecture.label}",
            hint=f"its tags: {', '.join(tags) or 'none, give a local checkpoint'}",
        )
    if path.suffix.lower() not in CHECKPOINTS:
        raise InputError(
            f"{pretrained} is no checkpoint", hint=f"its name must end in {', '.join(CHECKPOINTS)}"
        )
    return _Weights(path, False, False, {})


def _build(
    architecture: _Architecture, weights: _Weights
) -> tuple[Any, Any, Callable[[Any], torch.Tensor]]:
    """Build the model, fill it, and find its tokenizer and its preprocessing."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    preprocess = architecture.preprocess | weights.preprocess
    try:
        with torch.random.fork_rng(devices=[]):
            # open_clip only warns where a tag's weights were trained with QuickGELU and the
            # model would be built without, which bends every vector.
            model = open_clip.create_model(
                architecture.registered,
                force_quick_gelu=weights.quick_gelu,
                force_preprocess_cfg=preprocess,
                pretrained_text=False,
            )
        tokenizer = open_clip.get_tokenizer(architecture.registered)
        transform = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    except OSError as error:
        raise UnavailableError(
            f"a part of {architecture.label} cannot be downloaded: {_first_line(error)}",
            hint="mend the network, or use a model whose tokenizer comes with open_clip",
        ) from None
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"no model can be built from the config of {architecture.label}: {_first_line(error)}",
            hint="check the model config",
        ) from None
    try:
        with warnings.catch_warnings():
            # Said of foreign pickles, which are then refused in one line.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            open_clip.load_checkpoint(model, str(weights.path), weights_only=True)
    except _UNREADABLE as error:
        raise InputError(
            f"checkpoint {weights.path} does not load into {architecture.label}:"
            f" {_first_line(error)}",
            hint="it must be a whole file of this model's tensors and nothing else",
        ) from None
    return model, tokenizer, transform


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(":. ")[:200]


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep open_clip off the root logger.

    It logs there what is raised as well, and its first line would give the root logger a handler
    that prints every other library's lines from then on.
    """
    root, handler = logging.getLogger(), logging.NullHandler()
    disabled = logging.Logger.manager.disable
    root.addHandler(handler)
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.removeHandler(handler)
