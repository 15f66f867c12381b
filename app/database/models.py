"""The catalog's tables, in the schema ``catalog``."""

from datetime import datetime
from typing import Any

import numpy as np
from pgvector.sqlalchemy import HALFVEC, VECTOR
from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, REAL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SCHEMA = "catalog"
# Of `VoxelBlock`.
SHORTS = [f"short_{number}" for number in range(24)]

Json = dict[str, Any]
Vector = np.ndarray[Any, np.dtype[np.float32]]


class Base(DeclarativeBase):
    """Declarative base: constraints are named, so that migrations can name them."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map = {  # noqa: RUF012
        str: Text,
        datetime: DateTime(timezone=True),
        float: Float,
        Json: JSONB,
        list[str]: ARRAY(Text),
        list[float]: ARRAY(Float),
        list[int]: ARRAY(Integer),
        Vector: VECTOR,
    }


class Dataset(Base):
    """One lab's data, as one source described it.

    In SQL an embargoed one is shown to the members alone of the role that owns the tables.
    """

    __tablename__ = "dataset"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    title: Mapped[str]
    layout: Mapped[str]
    source_uri: Mapped[str]
    licence: Mapped[str]
    citation: Mapped[str]
    fingerprint: Mapped[str]
    configuration: Mapped[Json]
    current_run_id: Mapped[int | None] = mapped_column(
        ForeignKey("run.id", use_alter=True, ondelete="SET NULL")
    )
    ingested_at: Mapped[datetime] = mapped_column(server_default=func.now())
    embargoed: Mapped[bool] = mapped_column(server_default=false())


class Subject(Base):
    """A participant: grid, affine and references to the betas in the store.

    Of a participant on a surface the grid is (2, vertices of a hemisphere, 1), the left one first,
    and there is no affine.
    """

    __tablename__ = "subject"
    __table_args__ = (
        UniqueConstraint("dataset_id", "label"),
        CheckConstraint("(affine IS NULL) <> (surface IS NULL)", name="affine_or_surface"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    label: Mapped[str]
    grid: Mapped[list[int]]
    affine: Mapped[list[float] | None]
    surface: Mapped[str | None]
    n_trials: Mapped[int]
    n_sessions: Mapped[int]
    report: Mapped[Json]
    artefacts: Mapped[Json]


class Region(Base):
    """A named region of an atlas."""

    __tablename__ = "region"
    __table_args__ = (UniqueConstraint("dataset_id", "atlas", "name"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    atlas: Mapped[str]
    name: Mapped[str]


class Voxel(Base):
    """A voxel, or a vertex, whose noise ceiling passed the dataset's threshold.

    A vertex has i 0 on the left and 1 on the right, its number as j, and k 0. Artefacts of the
    newest ingestion have the voxels that are `kept`, in the order of i, j, k; the others are there
    for runs of fewer data.
    """

    __tablename__ = "voxel"
    __table_args__ = (UniqueConstraint("subject_id", "index"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    subject_id: Mapped[int] = mapped_column(ForeignKey("subject.id", ondelete="CASCADE"))
    index: Mapped[int]
    i: Mapped[int]
    j: Mapped[int]
    k: Mapped[int]
    x: Mapped[float] = mapped_column(REAL)
    y: Mapped[float] = mapped_column(REAL)
    z: Mapped[float] = mapped_column(REAL)
    mni_x: Mapped[float | None] = mapped_column(REAL)
    mni_y: Mapped[float | None] = mapped_column(REAL)
    mni_z: Mapped[float | None] = mapped_column(REAL)
    noise_ceiling: Mapped[float | None] = mapped_column(REAL)
    kept: Mapped[bool] = mapped_column(server_default=true())


class VoxelRegion(Base):
    """Membership of a voxel in a region."""

    __tablename__ = "voxel_region"
    __table_args__ = (Index(None, "region_id"),)

    voxel_id: Mapped[int] = mapped_column(
        ForeignKey("voxel.id", ondelete="CASCADE"), primary_key=True
    )
    region_id: Mapped[int] = mapped_column(
        ForeignKey("region.id", ondelete="CASCADE"), primary_key=True
    )


class Encoder(Base):
    """A space of vectors: its name, dimension, weights and the means of its two sides."""

    __tablename__ = "encoder"
    __table_args__ = (
        CheckConstraint("dimension > 0", name="dimension_positive"),
        CheckConstraint("vector_dims(text_mean) = dimension", name="text_mean_dimension"),
        CheckConstraint("vector_dims(stimulus_mean) = dimension", name="stimulus_mean_dimension"),
        UniqueConstraint("id", "dimension"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    spec: Mapped[str]
    dimension: Mapped[int]
    checksum: Mapped[str]
    sees_images: Mapped[bool]
    text_mean: Mapped[Vector]
    stimulus_mean: Mapped[Vector | None]


class Stimulus(Base):
    """A picture that participants saw.

    Where folds rotate, `rotation` is the group that it is tested with, from 0, and `fold` is that
    of the first rotation: group 0 tests, group 1 validates. Null where there is one split.
    """

    __tablename__ = "stimulus"
    __table_args__ = (
        UniqueConstraint("dataset_id", "key"),
        CheckConstraint("fold IN ('train', 'validation', 'test')", name="fold"),
        CheckConstraint("rotation >= 0", name="rotation"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    key: Mapped[str]
    shared: Mapped[bool]
    fold: Mapped[str]
    rotation: Mapped[int | None] = mapped_column(SmallInteger)
    captions: Mapped[list[str]]


class StimulusVector(Base):
    """A stimulus in an encoder's space, a unit vector."""

    __tablename__ = "stimulus_vector"

    stimulus_id: Mapped[int] = mapped_column(
        ForeignKey("stimulus.id", ondelete="CASCADE"), primary_key=True
    )
    encoder_id: Mapped[int] = mapped_column(
        ForeignKey("encoder.id", ondelete="CASCADE"), primary_key=True
    )
    vector: Mapped[Vector]


class Run(Base):
    """One published pass of the pipeline over a dataset.

    `reproducible` says whether its components are found again above chance; null where that was not
    measured.
    """

    __tablename__ = "run"
    __table_args__ = (UniqueConstraint("id", "encoder_id"), UniqueConstraint("key"))

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoder.id"))
    key: Mapped[str]
    method: Mapped[str]
    configuration: Mapped[Json]
    code_version: Mapped[str]
    seed: Mapped[int]
    device: Mapped[str]
    timings: Mapped[Json]
    metrics: Mapped[Json]
    parents: Mapped[Json]
    reproducible: Mapped[bool | None]
    published_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Decoder(Base):
    """A participant's decoder in a run."""

    __tablename__ = "decoder"
    __table_args__ = (
        UniqueConstraint("run_id", "subject_id"),
        UniqueConstraint("run_id", "subject_id", "encoder_id"),
        ForeignKeyConstraint(
            ["run_id", "encoder_id"], ["run.id", "run.encoder_id"], ondelete="CASCADE"
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    run_id: Mapped[int]
    subject_id: Mapped[int] = mapped_column(ForeignKey("subject.id", ondelete="CASCADE"))
    encoder_id: Mapped[int]
    kind: Mapped[str]
    metrics: Mapped[Json]
    artefact_uri: Mapped[str]
    artefact_sha256: Mapped[str]
    masks_sha256: Mapped[str]


class VoxelVector(Base):
    """A voxel in an encoder's space: its column of a linear decoder's weights, a unit vector.

    The decoder is that of run and participant, the voxel the participant's of that index. No
    foreign key says so, since one that looks every row up would take most of a bulk write's time:
    triggers refuse a vector without its decoder and voxel, and remove the vectors of those that go.
    """

    __tablename__ = "voxel_vector"
    __table_args__ = (CheckConstraint("(vector <#> vector) BETWEEN -1.02 AND -0.98", name="unit"),)

    run_id: Mapped[int] = mapped_column(primary_key=True)
    subject_id: Mapped[int] = mapped_column(primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    encoder_id: Mapped[int]
    vector: Mapped[Vector] = mapped_column(HALFVEC)


class VoxelAxis(Base):
    """A principal axis of a run's voxels' vectors, a unit vector; the first spread them most.

    `rest_square` is the mean square of the voxels' coordinates along it where they are not kept,
    and null for the axes that `VoxelBlock` has coordinates of.
    """

    __tablename__ = "voxel_axis"

    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    axis: Mapped[int] = mapped_column(primary_key=True)
    direction: Mapped[Vector]
    rest_square: Mapped[float | None] = mapped_column(REAL)


class VoxelBlock(Base):
    """Coordinates along its run's axes of 24 voxels' vectors, to compare them in a row.

    Column ``short_n`` is of the voxel of index 24 block + n, and zero where that has no vector.
    They are never compressed or moved out of the row, which a search reads all rows of.
    """

    __table__ = Table(
        "voxel_block",
        Base.metadata,
        Column("run_id", Integer, primary_key=True),
        Column("subject_id", Integer, primary_key=True),
        Column("block", Integer, primary_key=True),
        *(Column(name, HALFVEC, nullable=False) for name in SHORTS),
        ForeignKeyConstraint(
            ["run_id", "subject_id"], ["decoder.run_id", "decoder.subject_id"], ondelete="CASCADE"
        ),
    )


class Component(Base):
    """A direction of an encoder's space that brains carry (METHOD.md b, d).

    It is a concept that participants share where four claims hold: it is `decodable`, from the
    voxels that decoders need, in enough participants (`p_value`, `q_value`), `specific`, that is
    more than a mixture of the run's components by what voxels are tuned to and what those needed
    tell, `agreeing`, that is in like places of participants, and `stable` over seeds, resampled
    images and participants. A claim that was not measured is null, and `shared` is never true then.
    `reasons` has why, for each claim that is false or null, and `reason` the first of these, those
    that are false before those that are null.

    `terms` are the vocabulary's nearest to it, `negations` the farthest. `stability_seeds` counts
    the further seeds that found a partner of it, `stability_cosine` and `stability_dice` are means
    over these, and `stability_chance` is the cosine that unmatched components reach. `start_cosine`
    is the largest cosine with a direction that the search for components began with. `replicated`
    counts participants in whom a component that was sought without them was found again and
    decoded, and `prevalence` is the share of such participants, with its 95 % interval (Ince et al.
    2021, eLife 10, e62461). All are null where the run measured none.

    `before_claims` is what a run said that was published before there were claims.
    """

    __tablename__ = "component"
    __table_args__ = (
        UniqueConstraint("run_id", "index"),
        ForeignKeyConstraint(
            ["run_id", "encoder_id"], ["run.id", "run.encoder_id"], ondelete="CASCADE"
        ),
        CheckConstraint(
            "CASE shared"
            " WHEN true THEN (decodable AND specific AND agreeing AND stable) IS TRUE"
            " WHEN false THEN (decodable AND specific AND agreeing AND stable) IS FALSE"
            " ELSE true END",
            name="shared_by_claims",
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    run_id: Mapped[int]
    encoder_id: Mapped[int]
    index: Mapped[int]
    label: Mapped[str]
    terms: Mapped[list[str]]
    negations: Mapped[list[str]] = mapped_column(server_default="{}")
    vector: Mapped[Vector]
    shared: Mapped[bool | None]
    decodable: Mapped[bool | None]
    specific: Mapped[bool | None]
    agreeing: Mapped[bool | None]
    stable: Mapped[bool | None]
    reason: Mapped[str | None]
    reasons: Mapped[Json] = mapped_column(server_default="{}")
    p_value: Mapped[float | None]
    q_value: Mapped[float | None]
    specific_p: Mapped[float | None]
    specific_q: Mapped[float | None]
    agreement: Mapped[float | None]
    agreement_p: Mapped[float | None]
    agreement_q: Mapped[float | None]
    stability_cosine: Mapped[float | None]
    stability_dice: Mapped[float | None]
    stability_seeds: Mapped[int | None]
    stability_chance: Mapped[float | None]
    start_cosine: Mapped[float | None]
    replicated: Mapped[int | None]
    prevalence: Mapped[float | None]
    prevalence_low: Mapped[float | None]
    prevalence_high: Mapped[float | None]
    before_claims: Mapped[Json | None]


class ComponentSubject(Base):
    """How well one participant's brain carries a component, and by how many voxels.

    `n_voxels` respond to it, more (`response_sign` 1) or less (-1) than to other stimuli;
    `n_needed` make up the smallest mask that the decoder tells it by. Each r is a correlation over
    the test images, of responses that are decoded from all voxels (`r_unmasked`), and from those
    that are needed, by their weights (`r_soft`) or all alike (`r_hard`); `r_low` and `r_high` are
    the 95 % interval of `r_hard` (bootstrap over images), and `r_normalised` is `r_hard` over the
    noise ceiling.
    `p_value` and `q_value` are those of `r_hard`, as `decodes` is: null where it was not tested.
    `specific_p` is against mixtures of the run's components, `replication_r` and
    `replication_p` are of the component that was sought without this participant.
    """

    __tablename__ = "component_subject"
    __table_args__ = (
        Index(None, "peak_voxel_id"),
        CheckConstraint("response_sign IN (-1, 1)", name="response_sign"),
    )

    component_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    subject_id: Mapped[int] = mapped_column(
        ForeignKey("subject.id", ondelete="CASCADE"), primary_key=True
    )
    r_unmasked: Mapped[float | None]
    r_soft: Mapped[float | None]
    r_hard: Mapped[float | None]
    r_low: Mapped[float | None]
    r_high: Mapped[float | None]
    r_normalised: Mapped[float | None]
    p_unmasked: Mapped[float | None]
    p_soft: Mapped[float | None]
    p_value: Mapped[float | None]
    q_value: Mapped[float | None]
    specific_p: Mapped[float | None]
    replication_r: Mapped[float | None]
    replication_p: Mapped[float | None]
    penalty: Mapped[float | None]
    n_voxels: Mapped[int]
    n_needed: Mapped[int | None]
    response_sign: Mapped[int | None] = mapped_column(SmallInteger)
    peak_voxel_id: Mapped[int | None] = mapped_column(ForeignKey("voxel.id", ondelete="CASCADE"))
    decodes: Mapped[bool | None]
    reason: Mapped[str | None]


class ComponentVoxel(Base):
    """A voxel that responds to a component, and how far it stands out.

    `weight` is from 0.5 to 1, in the order of the responses; `needed` is the voxel's weight in the
    mask that the decoder tells the component by, null in runs that did not tell them apart.
    """

    __tablename__ = "component_voxel"
    __table_args__ = (Index(None, "voxel_id"),)

    component_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    voxel_id: Mapped[int] = mapped_column(
        ForeignKey("voxel.id", ondelete="CASCADE"), primary_key=True
    )
    weight: Mapped[float] = mapped_column(REAL)
    needed: Mapped[float | None] = mapped_column(REAL)


class ComponentMap(Base):
    """A component's maps in one participant: values of all voxels that the run was computed on.

    Arrays are aligned: `voxel_id` are rows of `voxel`, by i, j and k. `weight` is the soft mask, 0
    to 1 in the order of the responses, whose members, those of `component_voxel`, have 0.5 or
    more; areas under the curve are of it. `needed` are the weights in the mask that the decoder
    tells the component by; null of clusters. `pattern` is the decoder's pattern along the
    component, covariance of each voxel's responses with what is decoded of it; null of an MLP.
    """

    __tablename__ = "component_map"
    __table_args__ = (Index(None, "subject_id"),)

    component_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    subject_id: Mapped[int] = mapped_column(
        ForeignKey("subject.id", ondelete="CASCADE"), primary_key=True
    )
    voxel_id: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    weight: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    needed: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))
    pattern: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))


class ComponentRegion(Base):
    """Overlap of a component's mask with a region, in one participant.

    `q_value` is over all components and the regions of one atlas; `auc_low` and `auc_high` are the
    95 % interval of `auc`, null where none was computed.
    """

    __tablename__ = "component_region"
    __table_args__ = (Index(None, "region_id"), Index(None, "peak_voxel_id"))

    component_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    subject_id: Mapped[int] = mapped_column(
        ForeignKey("subject.id", ondelete="CASCADE"), primary_key=True
    )
    region_id: Mapped[int] = mapped_column(
        ForeignKey("region.id", ondelete="CASCADE"), primary_key=True
    )
    auc: Mapped[float]
    auc_low: Mapped[float | None]
    auc_high: Mapped[float | None]
    dice: Mapped[float]
    p_value: Mapped[float]
    q_value: Mapped[float]
    n_voxels: Mapped[int]
    peak_voxel_id: Mapped[int | None] = mapped_column(ForeignKey("voxel.id", ondelete="CASCADE"))


class ComponentEdge(Base):
    """Two components that belong together in one participant, by their masks or their meaning."""

    __tablename__ = "component_edge"
    __table_args__ = (
        CheckConstraint("component_a_id < component_b_id", name="ordered"),
        Index(None, "component_b_id"),
    )

    component_a_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    component_b_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    subject_id: Mapped[int] = mapped_column(
        ForeignKey("subject.id", ondelete="CASCADE"), primary_key=True
    )
    dice: Mapped[float]
    p_value: Mapped[float]
    q_value: Mapped[float]
    cosine: Mapped[float]
    weight: Mapped[float]


class ComponentCommunity(Base):
    """The community that a component belongs to in one participant's network, and how firmly."""

    __tablename__ = "component_community"

    component_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    subject_id: Mapped[int] = mapped_column(
        ForeignKey("subject.id", ondelete="CASCADE"), primary_key=True
    )
    community: Mapped[int]
    strength: Mapped[float]


class ComponentStimulus(Base):
    """A component's best (rank 1, 2 …) and worst (rank -1, -2 …) stimuli, as brains tell them."""

    __tablename__ = "component_stimulus"

    component_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    rank: Mapped[int] = mapped_column(primary_key=True)
    stimulus_id: Mapped[int] = mapped_column(ForeignKey("stimulus.id", ondelete="CASCADE"))
    score: Mapped[float]


class ComponentNegation(Base):
    """A stimulus among those farthest from a component, the farthest first (rank 1).

    By cosine in the encoder's space, the stimuli's mean taken off: no brain has a say in it, unlike
    in `ComponentStimulus`.
    """

    __tablename__ = "component_negation"

    component_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    rank: Mapped[int] = mapped_column(primary_key=True)
    stimulus_id: Mapped[int] = mapped_column(ForeignKey("stimulus.id", ondelete="CASCADE"))
    similarity: Mapped[float]


class ComponentAtlas(Base):
    """A component's mask against an atlas's regions together and against its t-map.

    In one participant; `n_region` counts the voxels of these regions, `n_voxels` the mask's
    members among them.
    """

    __tablename__ = "component_atlas"

    component_id: Mapped[int] = mapped_column(
        ForeignKey("component.id", ondelete="CASCADE"), primary_key=True
    )
    subject_id: Mapped[int] = mapped_column(
        ForeignKey("subject.id", ondelete="CASCADE"), primary_key=True
    )
    atlas: Mapped[str] = mapped_column(primary_key=True)
    auc: Mapped[float | None]
    dice: Mapped[float | None]
    p_value: Mapped[float | None]
    n_voxels: Mapped[int]
    n_region: Mapped[int]
    map: Mapped[str | None]
    rho: Mapped[float | None]


class Validation(Base):
    """How the component that a category's prompt finds lies on the category's localiser.

    Without a region: on all regions of the atlas together. Where nothing could be measured a
    reason says why; without a subject it goes for all of them.
    """

    __tablename__ = "validation"
    __table_args__ = (
        UniqueConstraint(
            *("run_id", "category", "subject_id", "region_id"), postgresql_nulls_not_distinct=True
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    category: Mapped[str]
    prompt: Mapped[str]
    atlas: Mapped[str]
    component_id: Mapped[int | None] = mapped_column(ForeignKey("component.id", ondelete="CASCADE"))
    similarity: Mapped[float | None]
    subject_id: Mapped[int | None] = mapped_column(ForeignKey("subject.id", ondelete="CASCADE"))
    region_id: Mapped[int | None] = mapped_column(ForeignKey("region.id", ondelete="CASCADE"))
    auc: Mapped[float | None]
    dice: Mapped[float | None]
    p_value: Mapped[float | None]
    q_value: Mapped[float | None]
    n_voxels: Mapped[int | None]
    n_region: Mapped[int | None]
    map: Mapped[str | None]
    rho: Mapped[float | None]
    reason: Mapped[str | None]


class Term(Base):
    """A text with its vector: the vocabulary, and every prompt asked.

    What of a prompt the encoder reads is of the text in its template; null of vocabulary terms,
    all words of which encoders know, and of prompts that were stored before it was looked at.
    """

    __tablename__ = "term"
    __table_args__ = (
        UniqueConstraint("encoder_id", "text", "template"),
        Index(None, "text"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    encoder_id: Mapped[int] = mapped_column(ForeignKey("encoder.id", ondelete="CASCADE"))
    text: Mapped[str]
    template: Mapped[str] = mapped_column(server_default="{}")
    vector: Mapped[Vector]
    in_vocabulary: Mapped[bool] = mapped_column(server_default=false())
    tokens: Mapped[int | None]
    tokens_read: Mapped[int | None]
    unknown_words: Mapped[list[str] | None]
    spelt_words: Mapped[list[str] | None]


class Ingestion(Base):
    """A finished ingestion: what was read, kept and dropped."""

    __tablename__ = "ingestion"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("dataset.id", ondelete="CASCADE"))
    source_uri: Mapped[str]
    fingerprint: Mapped[str]
    report: Mapped[Json]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AskedIngestion:
    """What both a queued ingestion and a schedule of ingestions say: what to do, and for whom.

    `confined` says whether sources must lie where the setting ``ingest_roots`` lets requests read.
    `datasets` are the embargoed ones that whoever asked may write to; null for all.
    """

    id: Mapped[int] = mapped_column(Identity(), primary_key=True, sort_order=-1)
    source: Mapped[str]
    options: Mapped[Json]
    replace: Mapped[bool]
    then_run: Mapped[bool]
    run_options: Mapped[Json]
    actor: Mapped[str]
    confined: Mapped[bool]
    datasets: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class IngestionSchedule(AskedIngestion, Base):
    """Ingestions that are asked for again and again; none is due where `next_at` is null."""

    __tablename__ = "ingestion_schedule"
    __table_args__ = (CheckConstraint("(cron IS NULL) <> (every_s IS NULL)", name="one_rhythm"),)

    cron: Mapped[str | None]
    every_s: Mapped[int | None]
    timezone: Mapped[str]
    next_at: Mapped[datetime | None]


class IngestionTrigger(AskedIngestion, Base):
    """A folder whose data sets are asked for when they have arrived, or a webhook that asks.

    `source` is the folder that holds the data sets. `seen` is what a watched one held when it was
    last looked at: for each data set its state, since when, and the state that was asked for.
    """

    __tablename__ = "ingestion_trigger"
    __table_args__ = (CheckConstraint("kind IN ('watch', 'webhook')", name="kind"),)

    kind: Mapped[str]
    settle_s: Mapped[int]
    seen: Mapped[Json] = mapped_column(server_default="{}")
    look_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class IngestionRequest(AskedIngestion, Base):
    """An ingestion that was asked for, and what became of it.

    `attempt` counts all starts, and names the one that holds the lease; `tries` those since
    somebody last asked. A `key` is taken once: who asks with it again gets the same request.
    """

    __tablename__ = "ingestion_request"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'submitted', 'running', 'done', 'failed', 'cancelled')",
            name="state",
        ),
        Index(None, "state"),
    )

    schedule_id: Mapped[int | None] = mapped_column(
        ForeignKey("ingestion_schedule.id", ondelete="SET NULL")
    )
    trigger: Mapped[str]
    key: Mapped[str | None] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(server_default="queued")
    attempt: Mapped[int] = mapped_column(server_default="1")
    tries: Mapped[int] = mapped_column(server_default="1")
    not_before: Mapped[datetime] = mapped_column(server_default=func.now())
    lease_until: Mapped[datetime | None]
    cancel_asked: Mapped[bool] = mapped_column(server_default=false())
    flow_run: Mapped[str | None]
    progress: Mapped[str] = mapped_column(server_default="")
    dataset: Mapped[str | None]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id", ondelete="SET NULL"))
    changed: Mapped[bool | None]
    error: Mapped[str | None]
    hint: Mapped[str | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class IngestionLog(Base):
    """A line of what an ingestion that was asked for told."""

    __tablename__ = "ingestion_log"
    __table_args__ = (Index(None, "request_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    request_id: Mapped[int] = mapped_column(ForeignKey("ingestion_request.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    level: Mapped[str]
    message: Mapped[str]


class ApiKey(Base):
    """A key to the API; of the secret itself only its hash is kept.

    `datasets` are the embargoed ones that it sees, by name: an embargo outlives an ingestion.
    """

    __tablename__ = "api_key"
    __table_args__ = (
        CheckConstraint(
            "scopes <@ '{read,ingest,admin}' AND cardinality(scopes) > 0", name="scopes_known"
        ),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    datasets: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class Audit(Base):
    """A change that somebody made to the catalog."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[Json]
