"""Which encoder can embed a dataset's stimuli, where none is named or the named one fails."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.embedding import require_fetchable
from app.errors import ConflictError, InputError, UnavailableError
from app.settings import get_settings
from flows.catalog import DatasetTables
from flows.progress import report
from flows.sources import open_source
from flows.sources.base import Source

AUTO = "auto"
OF_PICTURES = "open_clip:ViT-B-32:openai"
OF_CAPTIONS = "caption:all-MiniLM-L6-v2"
PRECOMPUTED = "encoder=vectors:PATH"
# Pictures that are looked at: where one is missing, mostly all are.
_PROBES = 5

Picture = Callable[[str], NDArray[np.uint8] | None]


def choose_encoder(dataset: DatasetTables, asked: str = AUTO) -> tuple[str, str]:
    """An encoder that can embed a dataset's stimuli.

    The published one, of pictures, where the source has them (some are looked at) and its weights
    can be loaded; else that of captions, where every stimulus has one. Weights that have to be
    downloaded are asked for once, and not waited for where nobody answers.

    Parameters
    ----------
    dataset : DatasetTables
    asked : str
        What `RunConfig.encoder` says; all but ``"auto"`` is taken as it is, and not loaded.

    Returns
    -------
    spec : str
        As `app.embedding.load_encoder` takes it.
    reason : str
        Why it was chosen, in one line.

    Raises
    ------
    InputError
        Neither can be used; the hint says what each would need.
    """
    if asked != AUTO:
        return asked, "as configured"
    stage = "choosing the encoder"
    report(stage, 0, 1)
    lacking = _no_pictures_of(dataset) or _no_weights(OF_PICTURES)
    if lacking is None:
        spec, reason = OF_PICTURES, "the stimuli have pictures, and its weights can be loaded"
    elif (bare := _no_captions(dataset.keys, dataset.captions)) is None:
        spec, reason = OF_CAPTIONS, f"{lacking}; every stimulus has captions"
    else:
        raise InputError(
            f"no encoder can embed the stimuli of {dataset.slug}: {OF_PICTURES}: {lacking}; "
            f"{OF_CAPTIONS}: {bare}",
            hint=f"give {OF_PICTURES} a picture of every stimulus, and a network or a local "
            f"checkpoint for its weights; or {OF_CAPTIONS} a caption of every stimulus; or name "
            "another: --set encoder=vectors:PATH",
        )
    report(stage, 1, 1, f"{spec} ({reason})")
    return spec, reason


@dataclass(frozen=True)
class ForeseenEncoder:
    """What a run would choose, before anything is loaded.

    Attributes
    ----------
    spec : str or None
        The encoder, as far as it is certain: None where weights decide, or where there is none.
    told : str
        One line: which, and why.
    option : str
        What ``--set`` of the run has to say; empty where nothing is needed.
    needs : str
        What has to be at hand, or what to do without it; empty where nothing is needed.
    """

    spec: str | None
    told: str
    option: str = ""
    needs: str = ""


def foresee_encoder(source: Source) -> ForeseenEncoder:
    """What `choose_encoder` would choose for a source, without loading anything."""
    stimuli = source.stimuli()
    keys, captions = [each.key for each in stimuli], [each.captions for each in stimuli]
    lacking, bare = _no_pictures(keys, source.image), _no_captions(keys, captions)
    if lacking is None and bare is None:
        told = f"{OF_PICTURES} where its weights can be loaded, {OF_CAPTIONS} otherwise"
        return ForeseenEncoder(None, told)
    if lacking is None:
        told = f"{OF_PICTURES} where its weights can be loaded, there is no other: {bare}"
        needs = (
            "needs a network, or its weights on this machine; without, give every stimulus a "
            f"caption, or the run --set {PRECOMPUTED}"
        )
        return ForeseenEncoder(None, told, needs=needs)
    if bare is None:
        return ForeseenEncoder(
            OF_CAPTIONS, f"{OF_CAPTIONS} ({lacking}; every stimulus has captions)"
        )
    return ForeseenEncoder(
        None,
        f"none: {lacking}, and {bare}; --set {PRECOMPUTED} takes precomputed vectors",
        option=PRECOMPUTED,
        needs="PATH is a table with a vector of every stimulus; or give every stimulus a picture, "
        "or a caption",
    )


@contextmanager
def naming_alternative(dataset: DatasetTables, encoder: str) -> Iterator[None]:
    """Where an encoder fails in the block, its error names another that this dataset allows."""
    try:
        yield
    except (InputError, ConflictError, UnavailableError) as error:
        other = _alternative(dataset, encoder)
        if other is None:
            raise
        hint = f"{error.hint}; {other}" if error.hint else other
        # Whether it is worth another try is judged by the cause.
        raise type(error)(error.message, hint=hint) from error.__cause__


def _alternative(dataset: DatasetTables, encoder: str) -> str | None:
    kind, _, _ = encoder.partition(":")
    if kind != "caption" and _no_captions(dataset.keys, dataset.captions) is None:
        return f"{OF_CAPTIONS} needs no download, and every stimulus has captions"
    if kind != "open_clip" and _no_pictures_of(dataset) is None:
        return f"{OF_PICTURES} embeds pictures, which the stimuli have"
    return None


def _no_pictures_of(dataset: DatasetTables) -> str | None:
    try:
        source = open_source(dataset.source_uri, **dataset.configuration["source"])
    except InputError as error:
        return error.message
    return _no_pictures(dataset.keys, source.image)


def _no_pictures(keys: Sequence[str], picture: Picture) -> str | None:
    """Why pictures cannot be embedded; None where those looked at are there."""
    for index in np.unique(np.linspace(0, len(keys) - 1, _PROBES).astype(int)):
        try:
            if picture(keys[index]) is None:
                return f"stimulus {keys[index]} has no picture"
        except InputError as error:
            return error.message
    return None


def _no_captions(keys: Sequence[str], captions: Sequence[Sequence[str]]) -> str | None:
    """Why captions cannot be embedded; None where every stimulus has one."""
    bare = [key for key, told in zip(keys, captions, strict=True) if not told]
    if not bare:
        return None
    return f"{len(bare)} of {len(keys)} stimuli have no caption (the first: {bare[0]})"


def _no_weights(encoder: str) -> str | None:
    """Why an encoder cannot be loaded; None where it can, and is then remembered."""
    # Prefect takes seconds to import, and who only looks at a source needs none of it.
    from flows.stages import encoder_at

    try:
        require_fetchable(encoder)
        encoder_at(encoder, get_settings().device)
    except (InputError, UnavailableError) as error:
        return error.message
    return None
