"""What the catalog holds."""

from sqlalchemy.orm import Session

from app.datasets import repository
from app.datasets.schemas import DatasetAnswer, DatasetList


def list_datasets(session: Session) -> DatasetList:
    """All datasets, published or not, by name."""
    return DatasetList(
        datasets=[
            DatasetAnswer(
                dataset=row.Dataset.slug,
                title=row.Dataset.title,
                layout=row.Dataset.layout,
                source_uri=row.Dataset.source_uri,
                licence=row.Dataset.licence,
                citation=row.Dataset.citation,
                subjects=row.subjects or [],
                atlases=row.atlases or [],
                stimuli=row.stimuli,
                run=row.Dataset.current_run_id,
                encoder=row.encoder,
                method=row.method,
                ingested_at=row.Dataset.ingested_at,
            )
            for row in repository.list_datasets(session)
        ]
    )
