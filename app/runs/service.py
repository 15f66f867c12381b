"""Which run answers a question."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.database.models import Dataset, Encoder, Run
from app.errors import InputError, NotFoundError
from app.keys.repository import add_audit
from app.runs import repository
from app.runs.schemas import RunAnswer, RunList
from app.runs.stored import FOUND_NOTHING, REPORT
from app.texts import known_names


@dataclass(frozen=True)
class ChosenRun:
    """A run that a question is put to, with its dataset and the encoder of its vectors."""

    run: Run
    dataset: Dataset
    encoder: Encoder

    @property
    def current(self) -> bool:
        """Whether the dataset's answers come from this run."""
        return self.dataset.current_run_id == self.run.id

    @property
    def names(self) -> dict[str, Any]:
        """The fields of an `OfRun`."""
        return {
            "dataset": self.dataset.slug,
            "run": self.run.id,
            "encoder": self.encoder.name,
            "method": self.run.method,
        }

    @property
    def provenance(self) -> dict[str, Any]:
        """Where what is handed out comes from."""
        return self.names | {
            "code_version": self.run.code_version,
            "licence": self.dataset.licence,
            "citation": self.dataset.citation,
        }


def choose_run(session: Session, dataset: str | None = None, run: int | None = None) -> ChosenRun:
    """The run that answers: the one asked for, else the current run of the dataset.

    Parameters
    ----------
    session : Session
    dataset : str, optional
        The dataset's name; not needed where only one has a current run.
    run : int, optional
        An older run's id.

    Raises
    ------
    NotFoundError
        There is no such dataset or run, or nothing has been published.
    InputError
        Several datasets have a current run and none is named, or the run is another dataset's.
    """
    if run is not None:
        return _named_run(session, run, dataset)
    chosen = require_dataset(session, dataset or _only_dataset(session))
    found = repository.find_run(session, chosen.current_run_id) if chosen.current_run_id else None
    if found is None:
        raise _no_current_run(session, chosen)
    return ChosenRun(*found)


def _no_current_run(session: Session, dataset: Dataset) -> NotFoundError:
    """What is wrong with a dataset that no run answers for, and what to do about it."""
    newest = repository.newest_run(session, dataset.id)
    if newest is None:
        return NotFoundError(
            f"the dataset {dataset.slug} has no published run", hint=f"run: sdc run {dataset.slug}"
        )
    what = "found nothing" if newest.metrics.get(FOUND_NOTHING) else "is not current"
    return NotFoundError(
        f"the dataset {dataset.slug} has no current run: its last run {what}",
        hint=f"see `sdc runs {newest.id}`; ask it all the same with --run {newest.id}, or let it "
        f"answer: sdc runs --promote {newest.id}",
    )


def choose_run_for(
    session: Session, dataset: str | None, run: int | None, subject: str | None
) -> ChosenRun:
    """The run that answers, and that has a participant where one is named.

    Raises
    ------
    NotFoundError, InputError
        As `choose_run`, or the dataset has no such participant.
    """
    chosen = choose_run(session, dataset, run)
    if subject is not None:
        require_subject(session, chosen.dataset, subject)
    return chosen


def choose_runs(
    session: Session, dataset: str | None = None, run: int | None = None
) -> list[ChosenRun]:
    """The runs that answer: those of `choose_run`, and the current ones of all where none is named.

    Raises
    ------
    NotFoundError
        As `choose_run`.
    InputError
        The run is another dataset's, or none is named and the vectors are of several encoders.
    """
    if dataset is not None or run is not None:
        return [choose_run(session, dataset, run)]
    slugs = repository.dataset_slugs(session, published=True)
    if len(slugs) <= 1:
        return [choose_run(session)]
    runs = [choose_run(session, slug) for slug in slugs]
    if len({each.encoder.id for each in runs}) > 1:
        raise InputError(
            "the datasets' vectors are of several encoders, and cannot be compared",
            hint="name a dataset: "
            + ", ".join(f"{each.dataset.slug} ({each.encoder.name})" for each in runs),
        )
    return runs


def require_dataset(session: Session, slug: str) -> Dataset:
    """The dataset of this name.

    Raises
    ------
    NotFoundError
        There is none; the hint lists those that exist.
    """
    dataset = repository.find_dataset(session, slug)
    if dataset is None:
        known = ", ".join(repository.dataset_slugs(session))
        raise NotFoundError(
            f"no dataset {slug!r} is in the catalog",
            hint=f"known: {known}" if known else "ingest one: sdc ingest PATH",
        )
    return dataset


def require_subject(session: Session, dataset: Dataset, label: str) -> None:
    """Refuse a participant that the dataset does not have.

    Raises
    ------
    NotFoundError
        The hint lists those that it has.
    """
    known = repository.subject_labels(session, dataset.id)
    if label not in known:
        raise NotFoundError(
            f"the dataset {dataset.slug} has no subject {label!r}",
            hint=known_names(known, label),
        )


def list_runs(session: Session, dataset: str | None = None) -> RunList:
    """All published runs, or those of one dataset; newest first.

    Raises
    ------
    NotFoundError
        There is no such dataset.
    """
    if dataset is not None:
        require_dataset(session, dataset)
    return RunList(
        runs=[
            RunAnswer(
                run=row.Run.id,
                dataset=row.slug,
                current=bool(row.current),
                encoder=row.encoder,
                method=row.Run.method,
                components=row.components,
                shared=row.shared,
                not_measured=row.not_measured,
                reproducible=row.Run.reproducible,
                seed=row.Run.seed,
                device=row.Run.device,
                code_version=row.Run.code_version,
                published_at=row.Run.published_at,
                # It is told of one run at a time, as it is now.
                metrics={name: each for name, each in row.Run.metrics.items() if name != REPORT},
            )
            for row in repository.list_runs(session, dataset)
        ]
    )


def require_run(session: Session, run: int) -> ChosenRun:
    """A run by its id.

    Raises
    ------
    NotFoundError
        There is none.
    """
    return _named_run(session, run, None)


def promote_run(session: Session, run: int, actor: str) -> RunAnswer:
    """Let a run answer for its dataset; the caller commits.

    Raises
    ------
    NotFoundError
        There is no such run.
    """
    chosen = _named_run(session, run, None)
    before = chosen.dataset.current_run_id
    if before != run:
        chosen.dataset.current_run_id = run
        session.flush()
        add_audit(session, actor, "promote run", str(run), {"before": before})
    return next(each for each in list_runs(session, chosen.dataset.slug).runs if each.run == run)


def _named_run(session: Session, run: int, dataset: str | None) -> ChosenRun:
    if dataset is not None:
        require_dataset(session, dataset)
    # PostgreSQL's integers end here, and no run can have an id beyond.
    found = repository.find_run(session, run) if 0 < run < 2**31 else None
    if found is None:
        raise NotFoundError(f"there is no run {run}", hint="see `sdc runs`")
    chosen = ChosenRun(*found)
    if dataset is not None and chosen.dataset.slug != dataset:
        raise InputError(
            f"run {run} is of the dataset {chosen.dataset.slug}, not of {dataset}",
            hint="name one of them alone",
        )
    return chosen


def _only_dataset(session: Session) -> str:
    published = repository.dataset_slugs(session, published=True)
    if not published:
        # What is wrong with the one that has a run is told of it.
        if len(tried := repository.datasets_with_runs(session)) == 1:
            return tried[0]
        if tried:
            raise NotFoundError(
                f"no dataset has a current run, of {', '.join(tried)}",
                hint="see `sdc runs`; ask one all the same with --run RUN",
            )
        raise NotFoundError(
            "nothing has been published yet",
            hint="run `sdc demo`, or `sdc ingest PATH` and `sdc run DATASET`",
        )
    if len(published) > 1:
        raise InputError(
            "several datasets can answer, and none is named",
            hint=f"name one with --dataset: {', '.join(published)}",
        )
    return published[0]
