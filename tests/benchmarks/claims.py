"""What `sdc run` claims with its defaults: of planted concepts, and of directions that are none.

Cohorts that no setting was chosen on are ingested and run as `sdc ingest` and `sdc run` do with no
option (of CLIP's vectors, with the table that holds them as the encoder). Then the same stages
judge directions in place of the run's components: isotropic ones, ones with the stimuli's
covariance, and mixtures of two components that are planted. Every claim's share is told beside what
all together let through, since one alone may exclude them all.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.fresh_process import run_afresh
from tests.support.cohorts.manifest import write_manifest
from tests.support.cohorts.objects import find_clip_names
from tests.support.cohorts.planting import (
    LARGE_PATCHES,
    CohortConfig,
    caption_cohort,
    clip_cohort,
)
from tests.support.cohorts.records import PlantedCohort

DIRECTIONS = 200


@dataclass(frozen=True)
class Case:
    """A cohort, and how it is drawn."""

    name: str
    seed: int
    participants: int = 4
    clip: bool = False
    config: CohortConfig | None = None

    def draw(self) -> PlantedCohort:
        """The cohort."""
        make = clip_cohort if self.clip else caption_cohort
        if self.config is None:
            return make(self.seed, self.participants)
        return make(self.seed, self.participants, config=self.config)


# No setting was chosen on these: others are for that. From the seventh on each was added after
# those before it had shown that settings needed another choice.
CASES = (
    Case("captions", 101),
    Case("captions, another", 102),
    Case("large patches", 103, config=LARGE_PATCHES),
    Case("captions, 8 participants", 104, participants=8),
    Case("CLIP", 201, clip=True),
    Case("CLIP, another", 202, clip=True),
    Case("captions, 8 other participants", 105, participants=8),
    Case("CLIP, a third", 203, clip=True),
    Case("captions, a third", 106),
    Case("captions, a fourth", 107),
    Case("CLIP, a fourth", 204, clip=True),
    Case("CLIP, a fifth", 205, clip=True),
    Case("captions, 8 participants more", 108, participants=8),
    Case("large patches, another", 109, config=LARGE_PATCHES),
    Case("captions, a fifth", 110),
    Case("CLIP, a sixth", 206, clip=True),
    Case("captions, 8 participants again", 111, participants=8),
    Case("large patches, a third", 112, config=LARGE_PATCHES),
    Case("CLIP, a seventh", 207, clip=True),
    Case("captions, a sixth", 113),
    Case("CLIP, an eighth", 208, clip=True),
    Case("captions, 8 participants still", 114, participants=8),
    Case("large patches, a fourth", 115, config=LARGE_PATCHES),
)


def measure() -> Iterator[str]:
    """Every case, or those that SDC_CLAIMS_CASES names by number, from 0, with commas between."""
    chosen = os.environ.get("SDC_CLAIMS_CASES")
    cases = CASES if chosen is None else [CASES[int(number)] for number in chosen.split(",")]
    directions = int(os.environ.get("SDC_CLAIMS_DIRECTIONS", DIRECTIONS))
    for case in cases:
        yield f"{case.name} (seed {case.seed}, {case.participants} participants)"
        if case.clip and find_clip_names() is None:
            yield "  skipped: no clip_text_vit_b32 beside the checkout"
            continue
        with TemporaryDirectory(prefix="sdc-bench-", ignore_cleanup_errors=True) as folder:
            told: dict[str, str] = run_afresh(judge_case, case, folder, directions).result
            yield from (f"  {name}: {line}" for name, line in told.items())


def judge_case(case: Case, folder: str, directions: int) -> dict[str, str]:
    """What the default run claims of one cohort, in a catalog of its own."""
    os.environ["SDC_HOME"] = str(Path(folder) / "home")
    from app.database.engine import get_engine
    from app.database.migrate import upgrade
    from app.settings import get_settings
    from flows.prefect_home import configure_prefect, unwatched

    configure_prefect(get_settings())
    upgrade(get_engine())
    # Prefect is configured before it is imported.
    from tests.benchmarks.claims_run import claims_of

    cohort = case.draw()
    manifest = write_manifest(cohort, Path(folder) / "cohort")
    with unwatched():
        told: dict[str, str] = claims_of(str(manifest.parent), cohort, directions, clip=case.clip)
    return told
