from pathlib import Path

import pytest

from app.embedding import Encoder, load_encoder
from flows.demo.cohort import CohortConfig, write_cohort

SMALL = CohortConfig(
    participants=2, images=78, shared=26, repeats=3, trials_per_session=100, captions=2, seed=3
)


@pytest.fixture(scope="session")
def small() -> CohortConfig:
    return SMALL


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return load_encoder("caption:all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory, encoder: Encoder) -> tuple[Path, Path]:
    """Root and truth of a small cohort."""
    folder = tmp_path_factory.mktemp("demo")
    write_cohort(folder / "nsd", folder / "truth", SMALL, encoder)
    return folder / "nsd", folder / "truth"
