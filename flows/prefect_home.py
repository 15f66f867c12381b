"""Where Prefect keeps its state: set before Prefect is imported for the first time."""

import os

from app.database.embedded import PREFECT_DATABASE, start_server
from app.settings import Settings

# Prefect reports usage through two channels, and each has its own switch.
QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def configure_prefect(settings: Settings, *, verbose: bool = False) -> None:
    """Point Prefect at the home folder and at the embedded PostgreSQL, and let it call nobody.

    What the environment already says stands, so that a lab's own Prefect server
    (``PREFECT_API_URL``) or database is used where it is named.

    Parameters
    ----------
    settings : Settings
        Its home holds Prefect's state.
    verbose : bool
        Whether Prefect's own log goes to the terminal.

    Raises
    ------
    UnavailableError
        The embedded server does not start.
    """
    folder = settings.home / "prefect"
    defaults = QUIET | {
        "PREFECT_HOME": str(folder),
        "PREFECT_LOGGING_LEVEL": "INFO" if verbose else "CRITICAL",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "WARNING" if verbose else "CRITICAL",
        # The first start migrates Prefect's own database, up to a minute on a slow disk.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    }
    needs_database = not {"PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL"} & set(
        os.environ
    )
    if needs_database:
        # SQLite, Prefect's default, locks up under concurrent tasks.
        url = start_server(settings.home, PREFECT_DATABASE)
        defaults["PREFECT_API_DATABASE_CONNECTION_URL"] = url.replace(
            "postgresql://", "postgresql+asyncpg://"
        )
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
