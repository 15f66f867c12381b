import numpy as np
import pytest

from flows.science.hemispheres import LEFT, RIGHT, UNKNOWN, hemispheres

RNG = np.random.default_rng(0)
MNI = RNG.uniform(-60, 60, (300, 3))
# In a participant's own space the head lies to one side.
NATIVE = MNI + np.array([90, 0, 0])
NOWHERE = np.full_like(MNI, np.nan)


def test_mni_tells_the_side_whatever_the_own_space_says() -> None:
    side = hemispheres(NATIVE, MNI)
    assert side.dtype == np.int8
    np.testing.assert_array_equal(side, np.where(MNI[:, 0] > 0, RIGHT, LEFT))


def test_a_grid_without_mni_has_no_hemispheres() -> None:
    assert (hemispheres(NATIVE, NOWHERE) == UNKNOWN).all()
    # Nor has one whose origin lies in its midst: it may be a made-up one.
    assert (hemispheres(MNI, NOWHERE) == UNKNOWN).all()


def test_voxels_outside_the_template_are_of_the_side_next_to_them() -> None:
    partly = MNI.copy()
    lacking = RNG.random(len(MNI)) < 0.2
    partly[lacking] = np.nan
    side = hemispheres(NATIVE, partly)
    known = np.flatnonzero(~lacking)
    for voxel in np.flatnonzero(lacking):
        nearest = known[((NATIVE[known] - NATIVE[voxel]) ** 2).sum(axis=1).argmin()]
        assert side[voxel] == side[nearest]


def test_a_mesh_tells_the_side_of_its_vertices() -> None:
    """Inflated meshes lie on both sides of their own origins."""
    mesh = RNG.integers(0, 2, len(MNI))
    for mni in (MNI, NOWHERE):
        np.testing.assert_array_equal(hemispheres(MNI, mni, mesh), np.array([LEFT, RIGHT])[mesh])


def test_what_does_not_match_is_refused() -> None:
    with pytest.raises(ValueError, match="must be"):
        hemispheres(NATIVE[:, :2], MNI[:, :2])
    with pytest.raises(ValueError, match="must be"):
        hemispheres(NATIVE, MNI[1:])
    for mesh in (np.zeros(3, int), np.full(len(MNI), 2)):
        with pytest.raises(ValueError, match="of the left mesh, 0, or the right, 1"):
            hemispheres(NATIVE, MNI, mesh)
