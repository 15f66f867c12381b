"""Betas of the kept voxels, put together from the store's sessions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.store import Artefact, ArtefactStore
from flows.science.statistics import group_means


def load_responses(
    store: ArtefactStore, artefacts: dict[str, Any], folds: list[str], fold: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A participant's responses to one fold's stimuli, single trials in order of acquisition.

    Parameters
    ----------
    store : ArtefactStore
    artefacts : dict
        The subject's references, as ingestion wrote them.
    folds : list of str
        Fold of each of the dataset's I stimuli, in the order of their keys.
    fold : str
        The fold to load.

    Returns
    -------
    x : ndarray
        (N, V) float32 z-scored betas. One session of all voxels is in memory beside them.
    image : ndarray
        (N,) which stimulus each trial showed, an index into `folds`.
    """
    voxels = _voxels(store, artefacts)
    kept, image = voxels["kept"], voxels["image"]
    wanted = np.array(folds)[image] == fold
    x = np.empty((int(wanted.sum()), len(kept)), dtype=np.float32)
    start = row = 0
    for session in artefacts["sessions"]:
        with store.open(Artefact.model_validate(session)) as arrays:
            betas = arrays.get_tensor("betas")
        trials = np.flatnonzero(wanted[start : start + betas.shape[1]])
        x[row : row + len(trials)] = betas[np.ix_(kept, trials)].T
        start += betas.shape[1]
        row += len(trials)
    return x, image[wanted]


def load_mean_responses(
    store: ArtefactStore, artefacts: dict[str, Any], folds: list[str], fold: str
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """A participant's mean responses to each of one fold's stimuli.

    Parameters
    ----------
    store, artefacts, folds, fold
        As `load_responses` takes them.

    Returns
    -------
    x : ndarray
        (I, V).
    image : ndarray
        (I,) the stimuli that were shown, ascending.
    """
    x, image = load_responses(store, artefacts, folds, fold)
    shown, of = np.unique(image, return_inverse=True)
    return group_means(x, of.ravel()), shown


def load_trial_sessions(
    store: ArtefactStore, artefacts: dict[str, Any], folds: list[str], fold: str
) -> NDArray[np.int64]:
    """The sessions of a participant's trials of one fold, aligned with `load_responses`.

    Parameters
    ----------
    store, artefacts, folds, fold
        As `load_responses` takes them.

    Returns
    -------
    ndarray
        (N,) number of each trial's session as the source has it, rising; of artefacts that older
        ingestions wrote, the sessions counted from 1.
    """
    voxels = _voxels(store, artefacts)
    wanted = np.array(folds)[voxels["image"]] == fold
    session = voxels.get("session")
    if session is None:
        session = np.concatenate(
            [
                np.full(_trials_of(store, betas), number)
                for number, betas in enumerate(artefacts["sessions"], start=1)
            ]
        )
    return np.asarray(session[wanted], dtype=np.int64)


def load_trial_positions(
    store: ArtefactStore, artefacts: dict[str, Any], folds: list[str], fold: str
) -> NDArray[np.int64]:
    """(N,) place of each trial of a fold among all of the participant's, in order of acquisition.

    Parameters
    ----------
    store, artefacts, folds, fold
        As `load_responses` takes them, whose trials these are.
    """
    return np.flatnonzero(np.array(folds)[_voxels(store, artefacts)["image"]] == fold)


def _voxels(store: ArtefactStore, artefacts: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return store.get(Artefact.model_validate(artefacts["voxels"]))


def _trials_of(store: ArtefactStore, betas: dict[str, Any]) -> int:
    with store.open(Artefact.model_validate(betas)) as arrays:
        return int(arrays.get_slice("betas").get_shape()[1])
