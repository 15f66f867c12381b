"""Search among voxels: whose decoder weights point where a prompt does."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.concepts.service import check_k
from app.database.models import Voxel
from app.embedding.prompts import AS_TYPED
from app.errors import ConflictError, NotFoundError
from app.observing.traces import traced
from app.regions.service import require_region
from app.runs.service import ChosenRun, choose_runs, require_subject
from app.search.matching import match_fields
from app.terms.prompts import check_templates, clean_text, sum_of_directions
from app.voxels import repository
from app.voxels.repository import NearVoxel, Part
from app.voxels.schemas import FoundVoxel, VoxelsAnswer


@traced
def search_voxels(
    session: Session,
    text: str,
    *,
    dataset: str | None = None,
    run: int | None = None,
    subject: str | None = None,
    atlas: str | None = None,
    region: str | None = None,
    k: int = 10,
    templates: Sequence[str] = AS_TYPED,
    plus: Sequence[str] = (),
    minus: Sequence[str] = (),
    negate: bool = False,
) -> VoxelsAnswer:
    """The k voxels whose decoder weights point nearest to a prompt.

    A voxel's vector is its column of the linear decoder's weights, of unit length (METHOD.md d).
    In a region every voxel is compared. A run of more voxels than the setting `index_from` is
    asked through an index otherwise, which finds nearly all of the nearest, and the answer says
    so; of a participant's it compares as many as it takes to have all of the nearest, to four
    standard deviations, over the run's voxels, of what the index does not hold.

    Parameters
    ----------
    session : Session
        The caller commits: a prompt without a vector may be embedded and stored.
    text : str
    dataset : str, optional
        With neither dataset nor run, the current runs of all datasets are asked.
    run : int, optional
        An older run's id.
    subject : str, optional
        Voxels of the participants of this label alone.
    atlas, region : str, optional
        Voxels of this region alone; both or neither.
    k, templates, plus, minus, negate
        As `app.search.service.search`.

    Raises
    ------
    InputError
        Text, k or a template cannot be used, or the datasets' vectors are of several encoders.
    NotFoundError
        There is no such dataset, run, participant or region, or no voxel there has a vector.
    ConflictError
        One of atlas and region is missing, or as `app.search.service.search`.
    UnavailableError
        As `app.search.service.search`.
    """
    check_k(k)
    query, templates = clean_text(text), check_templates(templates)
    added, taken = [clean_text(each) for each in plus], [clean_text(each) for each in minus]
    if (atlas is None) != (region is None):
        raise ConflictError(
            "a region is told by its atlas and its name, and one of them is missing",
            hint="name both, or neither",
        )
    runs = choose_runs(session, dataset, run)
    parts = _parts(session, runs, subject, atlas, region)
    encoder = runs[0].encoder
    answered = sum_of_directions(session, encoder, [query, *added], taken, templates)
    direction = -answered.vector if negate else answered.vector
    found = repository.nearest_voxels(session, parts, direction, k)
    if not found:
        raise NotFoundError(
            "no voxel that was asked for has a vector",
            hint="decoders that are not linear give none, and a region may have no voxels kept",
        )
    stored = repository.find_voxels(session, [(near.subject_id, near.index) for near in found])
    regions = repository.regions_of(session, [voxel.id for voxel, _ in stored.values()])
    chosen = {each.run.id: each for each in runs}
    asked = [chosen[part.run_id] for part in parts]
    whole = {part.run_id for part in parts if part.subject_id is None and part.region_id is None}
    return VoxelsAnswer(
        query=query,
        plus=added,
        minus=taken,
        negated=negate,
        prompt=list(templates),
        encoder=encoder.name,
        datasets=[each.dataset.slug for each in asked],
        runs=[each.run.id for each in asked],
        exact=not whole & repository.indexed_runs(session),
        **match_fields(
            session,
            list({each.run.id: each for each in asked}.values()),
            direction,
            [query, *added, *taken],
        ),
        warnings=answered.warnings,
        voxels=[
            _told(chosen[near.run_id], near, *stored[near.subject_id, near.index], regions)
            for near in found
            # A dataset may have been replaced since.
            if (near.subject_id, near.index) in stored
        ],
    )


def _parts(
    session: Session,
    runs: Sequence[ChosenRun],
    subject: str | None,
    atlas: str | None,
    region: str | None,
) -> list[Part]:
    parts = []
    for chosen in runs:
        dataset = chosen.dataset.id
        person = None if subject is None else repository.find_subject(session, dataset, subject)
        place = None
        if atlas is not None and region is not None:
            place = repository.find_region(session, dataset, atlas, region)
        if (subject is None or person is not None) and (region is None or place is not None):
            parts.append(Part(chosen.run.id, person, place))
    if parts:
        return parts
    if len(runs) > 1:
        asked = [f"subject {subject!r}"] if subject is not None else []
        asked += [f"region {atlas}:{region}"] if region is not None else []
        raise NotFoundError(
            f"no dataset has the {' and the '.join(asked)}",
            hint=f"asked were: {', '.join(each.dataset.slug for each in runs)}",
        )
    if subject is not None:
        require_subject(session, runs[0].dataset, subject)
    if atlas is not None and region is not None:
        require_region(session, runs[0].dataset, atlas, region)
    raise AssertionError("what a dataset has was not found")


def _told(
    chosen: ChosenRun, near: NearVoxel, voxel: Voxel, subject: str, regions: dict[int, list[str]]
) -> FoundVoxel:
    mni = (voxel.mni_x, voxel.mni_y, voxel.mni_z)
    return FoundVoxel(
        id=voxel.id,
        dataset=chosen.dataset.slug,
        run=chosen.run.id,
        method=chosen.run.method,
        subject=subject,
        similarity=near.similarity,
        ijk=(voxel.i, voxel.j, voxel.k),
        native_mm=(voxel.x, voxel.y, voxel.z),
        mni_mm=None if None in mni else mni,
        noise_ceiling=voxel.noise_ceiling,
        regions=regions.get(voxel.id, []),
    )
