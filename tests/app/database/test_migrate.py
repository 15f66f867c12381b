import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError

from app.database.engine import make_engine
from app.database.migrate import (
    current_revision,
    downgrade,
    head_revision,
    require_current,
    upgrade,
)
from app.database.models import Base
from app.errors import UnavailableError

LEFT = "SELECT count(*) FROM pg_namespace WHERE nspname = 'catalog'"


def test_upgrade_downgrade_to_nothing_upgrade_again(empty_database: str) -> None:
    engine = make_engine(empty_database)
    assert current_revision(engine) is None
    upgrade(engine)
    assert current_revision(engine) == head_revision()
    downgrade(engine)
    with engine.connect() as connection:
        assert connection.scalar(text(LEFT)) == 0
    assert current_revision(engine) is None
    upgrade(engine)
    require_current(engine)
    engine.dispose()


def test_migrations_make_what_the_models_say(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "catalog",
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_another_migration_is_refused_with_the_command_that_mends_it(engine: Engine) -> None:
    downgrade(engine, "0001")
    with pytest.raises(UnavailableError, match="at migration 0001") as caught:
        require_current(engine)
    assert "sdc db upgrade" in caught.value.hint
    assert current_revision(engine) == "0001"


def test_a_newer_migration_asks_for_a_newer_installation(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'f00d'"))
    with pytest.raises(UnavailableError, match="at migration f00d") as caught:
        require_current(engine)
    assert "newer version" in caught.value.hint


def test_unreachable_server_is_one_line_without_the_password() -> None:
    engine = make_engine("postgresql://someone:secret@127.0.0.1:1/nowhere")
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1/nowhere") as caught:
        upgrade(engine)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def server_without_pgvector(empty_database: str) -> Engine:
    """A server whose list of extensions hides pgvector, as one without the package would."""
    engine = create_engine(
        empty_database.replace("postgresql://", "postgresql+psycopg://"),
        connect_args={"options": "-csearch_path=hiding,pg_catalog,public"},
    )
    with engine.begin() as connection:
        connection.execute(text("CREATE SCHEMA hiding"))
        connection.execute(
            text(
                "CREATE VIEW hiding.pg_available_extensions AS "
                "SELECT * FROM pg_catalog.pg_available_extensions WHERE name <> 'vector'"
            )
        )
    return engine


def test_a_server_without_pgvector_is_refused(server_without_pgvector: Engine) -> None:
    with pytest.raises(UnavailableError, match="no pgvector") as caught:
        upgrade(server_without_pgvector)
    assert "0.8.4" in caught.value.hint
    with server_without_pgvector.connect() as connection:
        assert connection.scalar(text(LEFT)) == 0
    server_without_pgvector.dispose()


def test_a_vector_of_another_dimension_is_refused_by_the_database(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO catalog.encoder (name, spec, dimension, checksum, sees_images,"
                " text_mean) VALUES ('e', 'e', 3, '', false, '[0,0,0]')"
            )
        )
    statement = text(
        "INSERT INTO catalog.term (encoder_id, text, vector)"
        " SELECT id, 'word', '[1,2]' FROM catalog.encoder"
    )
    refused = pytest.raises(IntegrityError, match="2 dimensions cannot belong to encoder e")
    with refused, engine.begin() as connection:
        connection.execute(statement)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM catalog.term")) == 0
