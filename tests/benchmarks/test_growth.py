import re

import pytest

from tests.benchmarks.growth import DEMO, measure
from tests.benchmarks.stored_participant import ParticipantSize


def test_the_demos_size_is_where_growth_starts() -> None:
    assert (3 * DEMO.images, DEMO.voxels) == (3600, 3900)


@pytest.mark.slow
def test_each_size_is_told_with_its_ratios() -> None:
    small = ParticipantSize(
        in_mask=130,
        voxels=100,
        images=150,
        fold=50,
        trials_per_session=100,
        dimension=48,
        components=40,
        regions=2,
    )
    title, heads, *rows = measure(small, times=(2,))
    assert "450 trials of 100 voxels" in title
    assert heads.endswith("train, reduce, mask")
    assert [row.partition(":")[0].strip() for row in rows] == [
        "as above",
        "2 x trials",
        "2 x voxels",
    ]
    for row in rows[1:]:
        longer, larger = re.search(r"time x ([\d.]+), memory x ([\d.]+)", row).groups()
        assert float(longer) > 0
        assert 0.5 < float(larger) < 2
