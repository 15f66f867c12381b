"""Maps of all voxels, so that whoever reads an area under the curve can compute it.

Until here the catalog told the members of masks alone. Runs that were published before have no
maps until their dataset is run again.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0025"
down_revision: str | None = "0024"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

READER = "catalog_reader"
VIEW = """
CREATE VIEW catalog.concept_maps WITH (security_barrier) AS
SELECT component_map.component_id, dataset.slug AS dataset, component.run_id, component.label,
       subject.label AS subject, component_map.voxel_id, component_map.weight,
       component_map.needed, component_map.pattern, component_subject.response_sign, run.method
FROM catalog.component_map
JOIN catalog.component ON component.id = component_map.component_id
JOIN catalog.dataset ON dataset.current_run_id = component.run_id
JOIN catalog.run ON run.id = component.run_id
JOIN catalog.subject ON subject.id = component_map.subject_id
LEFT JOIN catalog.component_subject
  ON component_subject.component_id = component_map.component_id
 AND component_subject.subject_id = component_map.subject_id
WHERE catalog.may_read(dataset.embargoed)
"""
VIEW_COMMENT = (
    "Every component's maps in every participant: arrays of all voxels that the run was computed "
    "on, aligned with each other. Runs published before maps were stored have none."
)
COMMENTS = {
    "component_id": "Id of the component, for as long as its run is there.",
    "dataset": "Name of the dataset.",
    "run_id": "Id of the dataset's current run.",
    "label": "Words of the vocabulary nearest to the component.",
    "subject": "Label of the participant.",
    "voxel_id": "Voxels, by i, j and k: as in voxels.voxel_id.",
    "weight": "Soft mask: how far each voxel stands out, 0 to 1, in the order of the responses. "
    "Members of the mask, those of concept_voxels, have 0.5 or more; concept_regions.auc is of it.",
    "needed": "How far the decoder needs each voxel, 0 to 1; null of clusters.",
    "pattern": "The decoder's pattern along the component: covariance of each voxel's responses "
    "with what is decoded of it, in any unit, above 0 where it responds more; null of an MLP.",
    "response_sign": "1 where the mask's voxels respond more to the component than to other "
    "stimuli, -1 where they respond less; null where there is no mask, and of clusters.",
    "method": "How components and masks were found: masks or clusters.",
}


def upgrade() -> None:
    op.create_table(
        "component_map",
        sa.Column("component_id", sa.Integer(), nullable=False),
        sa.Column("subject_id", sa.Integer(), nullable=False),
        sa.Column("voxel_id", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        *(
            sa.Column(name, postgresql.ARRAY(sa.REAL()), nullable=name != "weight")
            for name in ("weight", "needed", "pattern")
        ),
        sa.ForeignKeyConstraint(
            ["component_id"],
            ["catalog.component.id"],
            name=op.f("fk_component_map_component_id_component"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["catalog.subject.id"],
            name=op.f("fk_component_map_subject_id_subject"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("component_id", "subject_id", name=op.f("pk_component_map")),
        schema="catalog",
    )
    op.create_index(
        op.f("ix_component_map_subject_id"), "component_map", ["subject_id"], schema="catalog"
    )
    op.execute(VIEW)
    op.execute(f"COMMENT ON VIEW catalog.concept_maps IS $${VIEW_COMMENT}$$")
    for column, told in COMMENTS.items():
        op.execute(f"COMMENT ON COLUMN catalog.concept_maps.{column} IS $${told}$$")
    op.execute(f"GRANT SELECT ON catalog.concept_maps TO {READER}")


def downgrade() -> None:
    op.execute("DROP VIEW catalog.concept_maps")
    op.drop_table("component_map", schema="catalog")
