"""What the catalog and its store hold, looked up when it is asked for."""

import time
from collections.abc import Iterator
from functools import lru_cache
from typing import get_args

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.registry import Collector

from app.errors import CatalogError
from app.failures import as_catalog_error
from app.ingestions.repository import count_states
from app.ingestions.schemas import State
from app.observing import repository
from app.reading import reading_session
from app.settings import get_settings
from app.store import ArtefactStore

# Seconds that the store's size is remembered: a large store takes long to be walked.
_STORE_AGE_S = 300


class CatalogMetrics(Collector):
    """Rows, runs, stage times and the store's size; no name of a dataset, which may be embargoed.

    Where the database or the store cannot be asked, ``sdc_database_up`` or ``sdc_store_up`` is 0
    and the rest of theirs is left out: whoever watches has to see the others all the same.
    """

    def collect(self) -> Iterator[Metric]:
        """Metrics, as Prometheus' client asks for them."""
        database = GaugeMetricFamily("sdc_database_up", "Whether the database can be asked.")
        try:
            told = list(_of_database())
        except Exception as error:
            if as_catalog_error(error) is None:
                raise
            told = []
        database.add_metric([], float(bool(told)))
        yield database
        yield from told
        store = GaugeMetricFamily("sdc_store_up", "Whether the artefact store can be listed.")
        try:
            size = _store_bytes(get_settings().store_url, int(time.monotonic() // _STORE_AGE_S))
        except (CatalogError, OSError):
            size = None
        store.add_metric([], float(size is not None))
        yield store
        if size is not None:
            yield GaugeMetricFamily("sdc_store_bytes", "Size of the artefact store.", value=size)


def _of_database() -> Iterator[Metric]:
    with reading_session() as session:
        rows = GaugeMetricFamily("sdc_rows", "Estimated rows of each table.", labels=("table",))
        for table, count in repository.estimated_rows(session).items():
            rows.add_metric([table], count)
        yield rows
        current = repository.count_current(session)
        yield GaugeMetricFamily("sdc_current_runs", "Datasets with a current run.", value=current)
        queue = GaugeMetricFamily("sdc_ingestions", "Ingestions asked for.", labels=("state",))
        counts = count_states(session)
        for state in get_args(State):
            queue.add_metric([state], counts.get(state, 0))
        yield queue
        stages = SummaryMetricFamily(
            "sdc_stage_seconds", "Stages of all runs that are kept.", labels=("stage",)
        )
        for stage, seconds, runs in repository.stage_seconds(session):
            stages.add_metric([stage], runs, seconds)
        yield stages


@lru_cache(maxsize=1)
def _store_bytes(url: str, _age: int) -> int:
    return ArtefactStore(url).size()
