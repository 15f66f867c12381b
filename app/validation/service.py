"""Holding the concepts that words find against the regions that localisers found.

What is measured is computed for every component before any prompt is read; here a category's
component is chosen by its prompt alone, and told how it lies.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from app.concepts.claims import claims_of, no_claims
from app.concepts.repository import masks_by_subject, nearest_to_vector
from app.database.models import Component, ComponentSubject, Dataset, Encoder, Run, Validation
from app.embedding import Encoder as Model
from app.errors import ConflictError, InputError, NotFoundError
from app.masks.response import response_of
from app.regions import repository as regions
from app.runs.service import ChosenRun, choose_run, require_subject
from app.terms.prompts import clean_text, prompt_direction
from app.texts import known_names
from app.validation import repository
from app.validation.repository import MaskView
from app.validation.schemas import CategoryResult, RegionResult, SubjectResult, ValidationAnswer

CHOICE = (
    "each category's concept is the one nearest to its prompt, by text alone, as `sdc search` "
    "finds it: neither regions nor t-maps had a say"
)
STORED_FAMILY = (
    "Benjamini-Hochberg over all categories x participants of the run; of single regions, over "
    "all categories x regions x participants"
)
ASKED_FAMILY = (
    "Benjamini-Hochberg over all participants of this prompt and atlas; of single regions, over "
    "all regions x participants"
)


@dataclass(frozen=True)
class Measurement:
    """How a component's mask lies on an atlas (no region) or on a region of one participant."""

    subject_id: int
    subject: str
    region_id: int | None = None
    region: str | None = None
    auc: float | None = None
    dice: float | None = None
    p_value: float | None = None
    q_value: float | None = None
    n_voxels: int | None = None
    n_region: int | None = None
    map: str | None = None
    rho: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Validated:
    """A category, the component that its prompt found, and how that lies.

    Attributes
    ----------
    reason : str or None
        Why the prompt found no component; then there are no measurements.
    """

    category: str
    prompt: str
    atlas: str
    component: Component | None = None
    similarity: float | None = None
    reason: str | None = None
    measurements: list[Measurement] = field(default_factory=list)


def validate(
    session: Session,
    *,
    dataset: str | None = None,
    run: int | None = None,
    subject: str | None = None,
    atlas: str | None = None,
    prompt: str | None = None,
) -> ValidationAnswer:
    """How a run's concepts lie on the localisers, or what a prompt finds on an atlas.

    A prompt without a vector is embedded and stored; the caller commits.

    Parameters
    ----------
    session : Session
    dataset : str, optional
        Needed where several datasets have a current run.
    run : int, optional
        An older run's id, instead of the dataset's current one.
    subject : str, optional
        Tell of this participant alone; q values stay those of all.
    atlas : str, optional
        Tell of this atlas alone.
    prompt : str, optional
        Hold what this finds against `atlas`, instead of the categories that the run was made
        with.

    Raises
    ------
    InputError
        A prompt that cannot be used, or several datasets could answer.
    ConflictError
        A prompt without an atlas.
    NotFoundError
        There is no such dataset, run, participant or atlas; the data have no localiser regions;
        or a table of vectors does not hold the prompt.
    ConflictError, UnavailableError
        As `app.search.service.search`.
    """
    chosen = choose_run(session, dataset, run)
    if subject is not None:
        require_subject(session, chosen.dataset, subject)
    if atlas is not None:
        _require_atlas(session, chosen, atlas)
    if prompt is not None:
        text = clean_text(prompt)
        if atlas is None:
            known = ", ".join(_atlases(session, chosen.dataset, chosen.run))
            raise ConflictError(
                "a prompt is given, and no atlas to hold it against",
                hint=f"add --atlas: {known}" if known else "the dataset has no regions",
            )
        _require_measured(session, chosen)
        found = correct([measure(session, chosen.run, chosen.encoder, atlas, text, atlas)])
    else:
        found = [each for each in _stored(session, chosen) if atlas in (None, each.atlas)]
        if not found and atlas is not None:
            raise NotFoundError(
                f"no category of run {chosen.run.id} is held against the atlas {atlas}",
                hint=f"ask for one: --prompt TEXT --atlas {atlas}",
            )
    masks = masks_by_subject(session, [each.component.id for each in found if each.component])
    return ValidationAnswer(
        **chosen.names,
        choice=CHOICE,
        q_family=STORED_FAMILY if prompt is None else ASKED_FAMILY,
        categories=[_told(each, masks, subject) for each in found],
    )


def mask_views(session: Session, answer: ValidationAnswer) -> dict[tuple[str, str], MaskView]:
    """What there is to draw of an answer, by category and participant."""
    subjects = {label: id_ for id_, label in repository.run_subjects(session, answer.run).items()}
    return {
        (category.category, each.subject): repository.mask_view(
            session, category.component, subjects[each.subject], category.atlas
        )
        for category in answer.categories
        if category.component is not None
        for each in category.subjects
    }


def validate_run(
    session: Session,
    run: Run,
    encoder: Encoder,
    probes: Iterable[tuple[str, str, str]],
    *,
    model: Model | None = None,
) -> list[Validated]:
    """Measure the categories of a run that is being published, and store what is found.

    Parameters
    ----------
    session : Session
        Holds the run's components and their overlaps; the caller commits.
    run : Run
    encoder : Encoder
        Row of the run's encoder.
    probes : iterable of (category, prompt, atlas)
        Those whose atlas the dataset does not have are passed over.
    model : Encoder, optional
        The encoder itself, where the caller has it loaded.

    Returns
    -------
    list of Validated
        A prompt that has no vector, as of a table that does not hold it, is there with the reason
        and unmeasured: all else that the run found is worth publishing.
    """
    dataset = session.get_one(Dataset, run.dataset_id)
    known = _atlases(session, dataset, run)
    found = []
    for category, prompt, atlas in probes:
        if atlas not in known:
            continue
        try:
            found.append(measure(session, run, encoder, category, prompt, atlas, model=model))
        except (InputError, NotFoundError) as error:
            found.append(Validated(category, prompt, atlas, reason=error.message))
    found = correct(found)
    for one in found:
        repository.add_results(session, _rows(run, one))
    return found


def measure(
    session: Session,
    run: Run,
    encoder: Encoder,
    category: str,
    prompt: str,
    atlas: str,
    *,
    model: Model | None = None,
) -> Validated:
    """Choose the component nearest to a prompt, and tell how its masks lie on an atlas.

    Raises
    ------
    NotFoundError
        The encoder is a table and has no such prompt.
    """
    direction = prompt_direction(session, encoder, prompt, model=model)
    ((component, similarity),) = nearest_to_vector(session, run.id, direction, 1)
    unions = repository.atlas_overlaps(session, component.id, atlas)
    faults = repository.mask_faults(session, component.id)
    sizes = repository.region_sizes(session, run.dataset_id, atlas)
    subjects = repository.run_subjects(session, run.id)
    measurements = []
    for subject, label in subjects.items():
        union = unions.get(subject)
        if union is None:
            reason = faults.get(subject, f"{label} has neither regions nor a t-map of {atlas}")
            measurements.append(Measurement(subject, label, reason=reason))
            continue
        measurements.append(
            Measurement(
                subject,
                label,
                auc=union.auc,
                dice=union.dice,
                p_value=union.p_value,
                n_voxels=union.n_voxels,
                n_region=union.n_region,
                map=union.map,
                rho=union.rho,
                reason=None if union.n_region else f"no voxel kept of {label} lies in {atlas}",
            )
        )
    for overlap, name in repository.region_overlaps(session, component.id, atlas):
        measurements.append(
            Measurement(
                overlap.subject_id,
                subjects[overlap.subject_id],
                region_id=overlap.region_id,
                region=name,
                auc=overlap.auc,
                dice=overlap.dice,
                p_value=overlap.p_value,
                n_voxels=overlap.n_voxels,
                n_region=sizes[overlap.subject_id, overlap.region_id],
            )
        )
    return Validated(
        category, prompt, atlas, component, float(similarity), measurements=measurements
    )


def correct(found: Sequence[Validated]) -> list[Validated]:
    """Give all that was measured its q: one family of unions, and one of single regions."""
    from scipy.stats import false_discovery_control

    def corrected(single: bool) -> Iterator[float]:
        p = [
            each.p_value
            for one in found
            for each in one.measurements
            if (each.region_id is not None) == single and each.p_value is not None
        ]
        return iter(false_discovery_control(p).tolist() if p else [])

    q = {single: corrected(single) for single in (False, True)}
    return [
        replace(
            one,
            measurements=[
                each
                if each.p_value is None
                else replace(each, q_value=next(q[each.region_id is not None]))
                for each in one.measurements
            ],
        )
        for one in found
    ]


def _stored(session: Session, chosen: ChosenRun) -> list[Validated]:
    found: dict[str, Validated] = {}
    for row, component, subject, region in repository.stored_results(session, chosen.run.id):
        one = found.setdefault(
            row.category,
            Validated(
                *(row.category, row.prompt, row.atlas, component, row.similarity),
                reason=row.reason if row.subject_id is None else None,
            ),
        )
        if row.subject_id is not None and subject is not None:
            one.measurements.append(
                Measurement(
                    row.subject_id,
                    subject,
                    row.region_id,
                    region,
                    auc=row.auc,
                    dice=row.dice,
                    p_value=row.p_value,
                    q_value=row.q_value,
                    n_voxels=row.n_voxels,
                    n_region=row.n_region,
                    map=row.map,
                    rho=row.rho,
                    reason=row.reason,
                )
            )
    if found:
        return list(found.values())
    _require_measured(session, chosen)
    known = ", ".join(_atlases(session, chosen.dataset, chosen.run))
    raise NotFoundError(
        f"no localiser regions in this dataset: {chosen.dataset.slug} has the atlases {known}",
        hint="hold a prompt against one of them: --prompt TEXT --atlas ATLAS",
    )


def _rows(run: Run, one: Validated) -> list[Validation]:
    common = {
        "run_id": run.id,
        "category": one.category,
        "prompt": one.prompt,
        "atlas": one.atlas,
        "component_id": one.component.id if one.component else None,
        "similarity": one.similarity,
    }
    if one.component is None:
        return [Validation(**common, reason=one.reason)]
    return [
        Validation(
            **common,
            **_numbers(each, ("rho", "map", "reason", "subject_id", "region_id")),
        )
        for each in one.measurements
    ]


def _require_measured(session: Session, chosen: ChosenRun) -> None:
    """Refuse a run that was held against nothing."""
    if repository.measured_atlases(session, chosen.run.id):
        return
    if not regions.atlases(session, chosen.dataset.id):
        raise NotFoundError(
            f"no localiser regions in this dataset: {chosen.dataset.slug} has no regions at all",
            hint="ingest it with regions",
        )
    raise NotFoundError(
        f"no mask of run {chosen.run.id} was held against regions",
        hint=f"run again: sdc run {chosen.dataset.slug}",
    )


def _require_atlas(session: Session, chosen: ChosenRun, atlas: str) -> None:
    known = _atlases(session, chosen.dataset, chosen.run)
    if atlas not in known:
        raise NotFoundError(
            f"the dataset {chosen.dataset.slug} has no atlas {atlas!r}",
            hint=known_names(known, atlas) if known else "it has no regions",
        )


def _atlases(session: Session, dataset: Dataset, run: Run) -> list[str]:
    """Atlases of regions, and those that stand for a t-map alone."""
    return sorted(
        {*regions.atlases(session, dataset.id), *repository.measured_atlases(session, run.id)}
    )


def _told(
    one: Validated, masks: Mapping[int, Mapping[str, ComponentSubject]], subject: str | None
) -> CategoryResult:
    told = [each for each in one.measurements if subject in (None, each.subject)]
    component = one.component
    of_subject = masks.get(component.id, {}) if component else {}
    claims = claims_of(component) if component else no_claims(one.reason)
    return CategoryResult(
        category=one.category,
        prompt=one.prompt,
        atlas=one.atlas,
        component=component.id if component else None,
        label=component.label if component else None,
        **claims,
        similarity=one.similarity,
        subjects=[
            SubjectResult(
                **_numbers(each, ("rho", "map", "reason")),
                subject=each.subject,
                decodes=mask.decodes if (mask := of_subject.get(each.subject)) else None,
                responds=response_of(mask.response_sign) if mask else None,
                regions=[
                    RegionResult(**_numbers(part), region=part.region)
                    for part in told
                    if part.subject_id == each.subject_id and part.region is not None
                ],
            )
            for each in told
            if each.region_id is None
        ],
    )


def _numbers(each: Measurement, more: Sequence[str] = ()) -> dict[str, object]:
    names = ("auc", "dice", "p_value", "q_value", "n_voxels", "n_region", *more)
    return {name: getattr(each, name) for name in names}
