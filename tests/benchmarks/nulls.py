"""Cohorts in which nothing is to be found, or only some of it: what the tests are held against."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import ndimage

from flows.demo.anatomy import grow_anatomy

# Full width at half maximum of a Gaussian over its standard deviation.
_FWHM = 2.355
# Smoothness of uneven masks: the components take turns.
SCALES_MM = (4.0, 8.0, 14.0)
# Waves that a random field is made of.
_WAVES = 200


@dataclass(frozen=True, eq=False)
class Brain:
    """The voxels that one participant keeps, and regions among them.

    Attributes
    ----------
    kept : ndarray
        (X, Y, Z) bool; V voxels.
    native, mni : ndarray
        (V, 3) mm.
    regions : dict
        Name -> (V,) bool.
    """

    kept: np.ndarray
    native: np.ndarray
    mni: np.ndarray
    regions: dict[str, np.ndarray]

    def smooth_maps(self, count: int, fwhm: float, rng: np.random.Generator) -> np.ndarray:
        """(V, count) noise of unit variance, smoothed on the grid; `fwhm` in voxels, 0 is white."""
        maps = [
            ndimage.gaussian_filter(
                rng.standard_normal(self.kept.shape, dtype=np.float32), fwhm / _FWHM
            )[self.kept]
            for _ in range(count)
        ]
        return np.stack(maps, axis=1) / np.std(maps, axis=1)

    @cached_property
    def thinned(self) -> "Thinned":
        """Its voxels in MNI space, few enough to draw thousands of cohorts of."""
        rng = np.random.default_rng(len(self.mni))
        return Thinned(self.mni[np.sort(rng.choice(len(self.mni), 800, replace=False))])


class Thinned:
    """Voxels of one participant in MNI space, and random fields on them.

    Parameters
    ----------
    mni : ndarray
        (V, 3) mm.
    """

    def __init__(self, mni: np.ndarray) -> None:
        self.mni = mni
        self._waves: dict[float, np.ndarray] = {}

    def fields(self, count: int, scale_mm: float, rng: np.random.Generator) -> np.ndarray:
        """(V, count) Gaussian random fields of unit variance, correlated over about the scale."""
        if scale_mm not in self._waves:
            wave = np.random.default_rng(0).normal(size=(3, _WAVES)) / scale_mm
            phase = self.mni @ wave
            basis = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) / np.sqrt(_WAVES)
            self._waves[scale_mm] = basis.astype(np.float32)
        basis = self._waves[scale_mm]
        return basis @ rng.standard_normal((basis.shape[1], count), dtype=np.float32)

    def patches(self, centres: np.ndarray, radius_mm: float) -> np.ndarray:
        """(V, K) weights that fall off around one centre (K, 3) mm each."""
        square = ((self.mni[:, None] - centres[None]) ** 2).sum(axis=-1)
        return np.exp(-0.5 * square / radius_mm**2)

    def places(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, 3) mm, random voxels."""
        return self.mni[rng.choice(len(self.mni), count, replace=False)]


def grow_brain(number: int) -> Brain:
    """The demo's brains: patches that keep all their voxels, and scattered ones between them.

    Regions are localiser regions and visual areas of 40 to 160 voxels, on one side and on both,
    the visual areas together (about 650), and two balls of 3 and of 10 voxels anywhere.
    """
    rng = np.random.default_rng([number, 1])
    anatomy = grow_anatomy(number % 4, 4, rng)
    scattered = anatomy.brain & (rng.random(anatomy.brain.shape) < 0.15)
    kept = anatomy.planted.any(axis=0) | (anatomy.visual > 0) | anatomy.distributed | scattered
    native = np.argwhere(kept) @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3]
    atlases = {name: labels[kept] for name, labels in anatomy.atlases.items()}
    regions = {
        "faces, both sides": atlases["floc-faces"] == 1,
        "faces, forward part": atlases["floc-faces"] == 3,
        "bodies, both sides": atlases["floc-bodies"] == 1,
        "places, both sides": atlases["floc-places"] == 2,
        "words, left": atlases["floc-words"] == 3,
        "early visual area": atlases["prf-visualrois"] == 1,
        "early visual areas together": atlases["prf-visualrois"] > 0,
    }
    for size in (3, 10):
        distance = ((native - native[rng.integers(len(native))]) ** 2).sum(axis=1)
        regions[f"ball of {size}"] = distance <= np.sort(distance)[size - 1]
    return Brain(kept, native, anatomy.mni[kept], regions)


def saturated(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Maps as fitted masks are: most voxels at 0, some at 1, and speckled between."""
    speckled = maps + 0.3 * rng.standard_normal(maps.shape)
    cut = rng.uniform(0.5, 1.8, maps.shape[1])
    return np.clip((speckled - cut) * rng.uniform(0.5, 2, maps.shape[1]), 0, 1)


@dataclass(frozen=True)
class Responses:
    """True and decoded responses of K components, and the image of each trial.

    Attributes
    ----------
    z, zhat : ndarray
        (N, K).
    image : ndarray
        (N,).
    """

    z: np.ndarray
    zhat: np.ndarray
    image: np.ndarray


def respond(
    components: int,
    rng: np.random.Generator,
    *,
    images: int = 80,
    signal: np.ndarray | float = 0.0,
    bend: float = 0.0,
) -> Responses:
    """Responses of components that are correlated, as relu(y w) with y on the unit sphere.

    An image is seen one to three times. What is decoded has a part that its repeats share, a
    part of each trial's own, and `signal` times the truth.

    Parameters
    ----------
    components : int
        K.
    images : int
    signal : ndarray or float
        (K,) or one for all.
    bend : float
        Where responses are cut off from below: the higher, the fewer images answer at all.
    """
    rows = _unit(rng.standard_normal((components, 16)) + rng.standard_normal(16))
    image = np.repeat(np.arange(images), rng.integers(1, 4, images))

    def vectors(count: int) -> np.ndarray:
        # As in CLIP space, all have something in common, and directions vary unequally.
        varied = rng.standard_normal((count, 16)) * np.linspace(2, 0.3, 16)
        return _unit(varied + 0.7 * rows.mean(axis=0)) @ rows.T

    truth = vectors(images)[image]
    told = vectors(images)[image] + 0.8 * vectors(len(image)) + signal * truth
    return Responses(np.maximum(truth - bend, 0), np.maximum(told - bend, 0), image)


@dataclass(frozen=True)
class Ordered:
    """Null responses of trials in the order they came in.

    Attributes
    ----------
    vectors : ndarray
        (I, D) of the stimuli.
    image, run : ndarray
        (N,).
    z, zhat : ndarray
        (N, K).
    """

    vectors: np.ndarray
    image: np.ndarray
    run: np.ndarray
    z: np.ndarray
    zhat: np.ndarray


def respond_in_order(
    order: str,
    components: int,
    rng: np.random.Generator,
    *,
    runs: int = 6,
    trials: int = 50,
    smooth: float = 0.8,
) -> Ordered:
    """Predictions that are smooth in time and know nothing of the stimuli.

    Parameters
    ----------
    order : {"random", "topics", "similar", "run topics", "categories"}
        Stimuli shown one to three times in random order; in blocks of 10 of one topic; each like
        the one before (AR(1)); of a topic that the whole run has; or 8 categories in blocks of
        5, in each run in an order of its own.
    components : int
        K, correlated.
    runs, trials : int
        Trials of each run, a multiple of 10.
    smooth : float
        Correlation of predictions, and of stimuli where they are similar, from trial to trial.
    """
    rows = _unit(rng.standard_normal((components, 16)) + rng.standard_normal(16))
    total = runs * trials
    if order == "categories":
        trials, total = 40, runs * 40
        vectors = rng.standard_normal((8, 16))
        image = np.concatenate([np.repeat(rng.permutation(8), 5) for _ in range(runs)])
    elif order == "similar":
        vectors = _smooth_in_time(runs, trials, 16, smooth, rng)
        image = np.arange(total)
    elif order == "random":
        image = rng.permutation(np.repeat(np.arange(total), rng.integers(1, 4, total)))[:total]
        vectors = rng.standard_normal((total, 16))
    else:
        # Twelve topics of as many stimuli as a block has trials.
        size = 10 if order == "topics" else trials
        topic = rng.standard_normal((12, 1, 16))
        vectors = (topic + 0.7 * rng.standard_normal((12, size, 16))).reshape(-1, 16)
        rounds = -(-total // (12 * size))
        blocks = np.concatenate([rng.permutation(12) for _ in range(rounds)])[: total // size]
        image = np.concatenate([block * size + rng.permutation(size) for block in blocks])
    told = _smooth_in_time(runs, trials, 16, smooth, rng)
    run = np.repeat(np.arange(runs), trials)
    z, zhat = (np.maximum(values @ rows.T, 0) for values in (vectors[image], told))
    return Ordered(vectors, image, run, z, zhat)


ToldNull = Literal["any", "sum", "pair"]


@dataclass(frozen=True)
class Told:
    """Vectors of trials as voxels answer to them, and as masks tell them.

    Attributes
    ----------
    components : ndarray
        (K, D) unit rows.
    y, masked, own : ndarray
        (N, D) targets; what a mask tells of them that prefers no direction, and what a mask tells
        that tells the first component best.
    x : ndarray
        (N, V) responses.
    image : ndarray
        (N,) numbered from 0 without a gap.
    """

    components: np.ndarray
    y: np.ndarray
    masked: np.ndarray
    own: np.ndarray
    x: np.ndarray
    image: np.ndarray


def draw_told(
    components: int, rng: np.random.Generator, *, null: ToldNull, images: int = 100
) -> Told:
    """Directions that 600 voxels carry; the last component is nothing but one of them.

    Parameters
    ----------
    components : int
        K.
    rng : Generator
    null : {"any", "sum", "pair"}
        Components are any directions, and so is what each voxel answers to. Or all components but
        the last are planted: voxels of a patch of its own answer to each, 5 to 120 of them
        anywhere, some in several patches; and the last is made of two of the others in equal
        parts, their sum, or with either sign of each.
    images : int
    """
    dimensions, voxels = 32, 600
    rows = _unit(rng.standard_normal((components, dimensions)))
    image = np.repeat(np.arange(images), rng.integers(1, 4, images))
    vectors = _unit(rng.standard_normal((images, dimensions)))
    if null != "any":
        patches = np.zeros((components - 1, voxels))
        for patch in patches:
            size = int(np.exp(rng.uniform(np.log(5), np.log(120))))
            patch[rng.choice(voxels, size, replace=False)] = rng.uniform(0.5, 1.5)
        tuned = patches.T @ rows[:-1]
        both = rng.choice(components - 1, 2, replace=False)
        # In equal parts of what scores vary by.
        parts = rows[both] / (vectors @ rows[both].T).std(axis=0)[:, None]
        signs = np.ones((1, 2)) if null == "sum" else rng.choice([-1.0, 1.0], (1, 2))
        rows[-1] = _unit(signs @ parts)[0]
    else:
        tuned = _unit(rng.standard_normal((voxels, dimensions)))
    y = vectors[image]
    x = y @ tuned.T + 0.3 / np.sqrt(dimensions) * rng.standard_normal((len(image), voxels))
    masked = 0.3 * y + _unit(rng.standard_normal((len(image), dimensions)))
    return Told(rows, y, masked, masked + 2 * np.outer(y @ rows[0], rows[0]), x, image)


def _smooth_in_time(
    runs: int, trials: int, dimensions: int, smooth: float, rng: np.random.Generator
) -> np.ndarray:
    """(runs * trials, D) AR(1) series of unit variance, apart in each run."""
    values = rng.standard_normal((trials, runs, dimensions))
    values[1:] *= np.sqrt(1 - smooth**2)
    for trial in range(1, trials):
        values[trial] += smooth * values[trial - 1]
    return values.transpose(1, 0, 2).reshape(runs * trials, dimensions)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@dataclass(frozen=True)
class MaskKind:
    """How the masks of a cohort are drawn.

    Attributes
    ----------
    participants, components : int
    shared : int
        Of the components, the first, whose place all participants have in common.
    own : {"smooth", "uneven", "patches"}
        The others: smooth maps, each of a size of its own; smooth maps whose size and
        smoothness go by component; or patches of the shared ones' kind, elsewhere in each
        participant.
    where_signal : bool
        All masks lie where there is signal, in the same part of every brain.
    concepts : int
        Where not 0, shared components are mixtures of so many concepts.
    """

    participants: int
    components: int
    shared: int = 0
    own: str = "smooth"
    where_signal: bool = False
    concepts: int = 0


def draw_masks(
    kind: MaskKind, brains: list[Brain], rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Masks (V, K) of each participant, and MNI mm (V, 3).

    Brains differ in grid, tilt and size, places in common jitter by 2 mm an axis, and no voxel
    of one participant is at the place of another's.
    """
    count = kind.components
    cohort = [brains[i].thinned for i in rng.choice(len(brains), kind.participants, replace=False)]
    common = cohort[0].places(max(count, 3), rng)
    scale = np.resize(SCALES_MM, count)
    size = rng.uniform(-1.2, 0.2, count)
    mixing = rng.dirichlet(np.full(max(kind.concepts, 1), 0.5), count)
    masks = []
    for brain in cohort:
        if kind.own == "patches":
            mask = _patches(brain, brain.places(count, rng), rng)
        elif kind.own == "uneven":
            fields = {each: brain.fields(count, each, rng) for each in np.unique(scale)}
            each = np.stack([fields[s][:, k] for k, s in enumerate(scale)], axis=1)
            mask = np.clip(each + size, 0, 1)
        else:
            own_size = rng.uniform(-1, 0.5, count)
            mask = np.clip(brain.fields(count, 8.0, rng) + own_size, 0, 1)
        if kind.shared and kind.concepts:
            mixed = brain.patches(_jittered(common[: kind.concepts], rng), 6.0) @ mixing.T
            speckle = 0.1 * brain.fields(count, 5.0, rng)
            theirs = np.clip(1.6 * mixed + speckle - 0.1, 0, 1)
            mask[:, : kind.shared] = theirs[:, : kind.shared]
        elif kind.shared:
            theirs = _patches(brain, _jittered(common[:count], rng), rng)
            mask[:, : kind.shared] = theirs[:, : kind.shared]
        if kind.where_signal:
            mask = mask * np.clip(brain.patches(common[:2], 18.0).sum(axis=1), 0, 1)[:, None]
        masks.append(mask)
    return masks, [brain.mni for brain in cohort]


def _jittered(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return places + rng.normal(0, 2, places.shape)


def _patches(brain: Thinned, centres: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Masks that saturate around their centres, over a faint texture."""
    texture = 0.15 * brain.fields(len(centres), 5.0, rng)
    return np.clip(1.6 * brain.patches(centres, 5.0) + texture - 0.25, 0, 1)
