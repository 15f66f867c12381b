"""What attacks need: a published catalog, its command line and its API."""

from tests.app.conftest import (  # noqa: F401 - fixtures
    client,
    count_rows,
    own_published,
    own_session,
    own_table,
    published,
    sdc,
    session,
    shared_catalog,
    store,
)
