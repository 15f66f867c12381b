"""Search among 1,000,000 voxels' vectors: 8 participants of 125,000 voxels each."""

from collections.abc import Iterator

from tests.benchmarks import voxel_search

VOXELS = 125_000


def measure() -> Iterator[str]:
    """As `voxel_search`, at seven times its size; it takes long, most of it to make the indexes."""
    yield from voxel_search.measure(VOXELS)
