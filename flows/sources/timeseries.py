"""From the volumes of a run to the responses of its trials."""

import numpy as np


def drift_basis(n_volumes: int, *, tr: float | None, high_pass: float | None) -> np.ndarray:
    """Orthonormal basis of a run's slow drifts.

    A constant, a line, and with `high_pass` the cosines of the discrete cosine transform up to
    that frequency, the drift model of SPM (`spm_dctmtx`).

    Parameters
    ----------
    tr : float
        Seconds a volume.
    high_pass : float
        Hz.

    Returns
    -------
    np.ndarray
        (n_volumes, regressors) with at most n_volumes columns.
    """
    time = np.arange(n_volumes)
    columns = [np.ones(n_volumes), time - time.mean()]
    if high_pass is not None and tr is not None:
        highest = int(np.floor(2 * n_volumes * tr * high_pass))
        columns += [
            np.cos(np.pi * order * (time + 0.5) / n_volumes)
            for order in range(1, min(highest, n_volumes - 1) + 1)
        ]
    basis, _ = np.linalg.qr(np.stack(columns, axis=1))
    return np.asarray(basis)


def percent_change(
    volumes: np.ndarray, *, tr: float | None = None, high_pass: float | None = None
) -> np.ndarray:
    """Deviations from the drift of one run, in percent of each voxel's mean.

    Parameters
    ----------
    volumes : np.ndarray
        (T, V), all volumes of the run.

    Returns
    -------
    np.ndarray
        float64 (T, V); NaN where a voxel's mean is zero or one of its values is NaN.
    """
    values = volumes.astype(np.float64)
    basis = drift_basis(len(values), tr=tr, high_pass=high_pass)
    residual = values - basis @ (basis.T @ values)
    mean = values.mean(axis=0)
    return np.asarray(100 * residual / np.where(mean == 0, np.nan, mean))


def window_means(values: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Means over windows of rows.

    Parameters
    ----------
    values : np.ndarray
        (T, V).
    start, stop : np.ndarray
        (N,) int, rows [start, stop) of each window, at least one.

    Returns
    -------
    np.ndarray
        float32 (N, V).
    """
    means = np.empty((len(start), values.shape[1]), np.float32)
    for row, (first, last) in enumerate(zip(start, stop, strict=True)):
        means[row] = values[first:last].mean(axis=0)
    return means
