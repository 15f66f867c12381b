"""The embedded server: what it is started with."""

import psycopg

from app.database.embedded import BUFFERS_MB, start_server


def _buffers_mb(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT setting::int * 8 / 1024 FROM pg_settings WHERE name = 'shared_buffers'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_new_server_has_room_for_a_participants_vectors(tmp_path):
    tmp_path.chmod(0o755)

    url = start_server(tmp_path / "home")

    # More than PostgreSQL's default of 128 MB, and never more than a quarter of the machine.
    assert 128 < _buffers_mb(url) <= BUFFERS_MB
    assert start_server(tmp_path / "home") == url
