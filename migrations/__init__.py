"""The schema's history, kept by alembic."""
