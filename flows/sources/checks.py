"""A look through a whole source before anything is written."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from app.texts import require_storable
from flows.sources.base import Description, RegionMask, Source, Stimulus, Surface
from flows.sources.fetching import is_named
from flows.sources.stimulus_table import is_transparent
from flows.sources.templates import is_template

# The noise ceiling is estimated from images with at least this many repeats (METHOD.md 0).
REPEATS_FOR_CEILING = 3
# Regions that a warning names, of those that it counts.
_NAMED = 3


@dataclass(frozen=True)
class ParticipantReport:
    """What one participant brings.

    `maps` are names, `mni` is the fraction of mask voxels in MNI, `surface` the mesh's name,
    `left_out` counts brain places of its files that are not read, `space` is what its mm are said
    to be of, `unplaced` the image of its grid where that does not tell left from right;
    `everywhere` and `nowhere` name regions that hold all voxels of the mask, or none.
    """

    label: str
    shape: tuple[int, int, int]
    voxels: int
    sessions: tuple[int, ...]
    trials: int
    stimuli: int
    most_repeats: int
    regions: int
    atlases: tuple[str, ...]
    maps: tuple[str, ...]
    mni: float | None
    surface: str | None = None
    left_out: int = 0
    space: str | None = None
    unplaced: str | None = None
    everywhere: tuple[str, ...] = ()
    nowhere: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckReport:
    """What a source brings.

    Attributes
    ----------
    stimuli, shared, captioned, captions : int
        Stimuli that were seen; of these, shared by all; with captions; captions in all.
    folds : dict
        Stimuli by fold; empty where the data set brings no split.
    pictures : bool
        Whether the first stimulus has a picture.
    warnings : tuple of str
        What is no fault, but limits what can be computed.
    """

    description: Description
    participants: tuple[ParticipantReport, ...]
    stimuli: int
    shared: int
    captioned: int
    captions: int
    folds: dict[str, int]
    pictures: bool
    warnings: tuple[str, ...]


def check_source(source: Source) -> CheckReport:
    """Read every table, header, mask, region and transform of a source.

    Texts of all of these are held against what the database can store.

    Of betas the first and the last volume of each file are looked at, see `Source.probe`; of
    pictures that are here the header, and the pixels where these alone tell whether the picture
    can be used and is transparent.

    Raises
    ------
    InputError
        The first fault.
    """
    for name, text in asdict(source.description).items():
        hint = "name folders in UTF-8" if name == "uri" else "mend it where the data set says it"
        require_storable(text, f"the {name} {text!a} of the data set", hint=hint)
    participants = tuple(_check_participant(source, label) for label in source.participants())
    stimuli = source.stimuli()
    for stimulus in stimuli:
        require_storable(stimulus.key, f"the stimulus {stimulus.key!a}")
        for number, caption in enumerate(stimulus.captions, start=1):
            require_storable(caption, f"stimulus {stimulus.key}, caption {number}")
    pictures = source.image(stimuli[0].key) is not None
    folds = [stimulus.fold for stimulus in stimuli if stimulus.fold is not None]
    return CheckReport(
        description=source.description,
        participants=participants,
        stimuli=len(stimuli),
        shared=sum(stimulus.shared for stimulus in stimuli),
        captioned=sum(bool(stimulus.captions) for stimulus in stimuli),
        captions=sum(len(stimulus.captions) for stimulus in stimuli),
        folds={fold: folds.count(fold) for fold in dict.fromkeys(folds)},
        pictures=pictures,
        warnings=(
            *(text for one in participants for text in _participant_warnings(one)),
            *_stimulus_warnings(stimuli, pictures),
            *_picture_warnings(source, stimuli),
        ),
    )


def _check_participant(source: Source, label: str) -> ParticipantReport:
    grid = source.grid(label)
    mask = source.mask(label)
    trials = source.trials(label)
    sessions = np.unique(trials.session).tolist()
    for session in sessions:
        source.fingerprint(label, session)
        source.probe(label, session)
    regions = source.regions(label)
    maps = sorted(source.maps(label))
    for what, names in (
        ("participant", [label]),
        ("rule of the mask", [source.mask_rule(label)]),
        ("atlas", [region.atlas for region in regions]),
        ("region", [region.name for region in regions]),
        ("map", maps),
    ):
        for name in names:
            require_storable(name, f"participant {label}, the {what} {name!a}")
    mni = source.mni(label)
    return ParticipantReport(
        label=label,
        shape=grid.shape,
        voxels=int(mask.sum()),
        sessions=tuple(sessions),
        trials=len(trials.stimulus),
        stimuli=len(np.unique(trials.stimulus)),
        most_repeats=int(trials.repeat.max()) + 1,
        regions=len(regions),
        atlases=tuple(dict.fromkeys(region.atlas for region in regions)),
        maps=tuple(maps),
        mni=None if mni is None else float(np.isfinite(mni[mask]).all(axis=1).mean()),
        surface=grid.name if isinstance(grid, Surface) else None,
        left_out=grid.left_out if isinstance(grid, Surface) else 0,
        space=None if isinstance(grid, Surface) else grid.space,
        unplaced=None if isinstance(grid, Surface) or grid.known else str(grid.path),
        everywhere=_names(each for each in regions if each.members[mask].all()),
        nowhere=_names(each for each in regions if not each.members[mask].any()),
    )


def _names(regions: Iterable[RegionMask]) -> tuple[str, ...]:
    return tuple(f"{each.atlas}:{each.name}" for each in regions)


def _participant_warnings(one: ParticipantReport) -> list[str]:
    warnings = []
    if one.most_repeats < REPEATS_FOR_CEILING:
        warnings.append(
            f"{one.label}: no stimulus was shown {REPEATS_FOR_CEILING} times, so that there is "
            "no noise ceiling"
        )
    if one.left_out:
        warnings.append(
            f"{one.label}: {one.left_out} places of its CIFTI files are not of the cortex' "
            "surface, and are not read"
        )
    if not one.regions:
        warnings.append(f"{one.label}: no regions")
    for names, held in ((one.everywhere, "all voxels"), (one.nowhere, "no voxels")):
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            warnings.append(
                f"{one.label}: {held} of the mask lie in {', '.join(names[:_NAMED])}{more}, so "
                "that no component is compared with it"
            )
    if one.unplaced:
        warnings.append(
            f"{one.label}: {one.unplaced} does not tell where it lies (sform and qform codes 0), "
            "so that left and right are not known"
        )
    if one.mni is None and one.space is not None and is_template(one.space):
        warnings.append(
            f"{one.label}: its space {one.space} is not MNI152, nor is there a matrix to it, so "
            "that there are no MNI coordinates"
        )
    elif one.mni is None:
        lacking = "transform to MNI" if one.surface is None else "surface of the template"
        warnings.append(f"{one.label}: no {lacking}, so that there are no MNI coordinates")
    elif one.mni == 0:
        warnings.append(f"{one.label}: the transform to MNI covers no voxel of the mask")
    return warnings


def _stimulus_warnings(stimuli: list[Stimulus], pictures: bool) -> list[str]:
    bare = [stimulus.key for stimulus in stimuli if not stimulus.captions]
    if not bare:
        return []
    which = "all" if len(bare) == len(stimuli) else f"{len(bare):,} of {len(stimuli):,}"
    if pictures:
        lacks, needs = "no caption", "encoders of pictures alone can embed them"
        needs += ", whose weights a run has to fetch or find on its machine"
    else:
        lacks, needs = "no caption and no picture", "no encoder can embed them"
        needs += " but a table of their vectors (encoder=vectors:PATH)"
    return [f"{which} stimuli have {lacks} (the first: {bare[0]}): {needs}"]


def _picture_warnings(source: Source, stimuli: list[Stimulus]) -> list[str]:
    files = {stimulus.key: source.picture_file(stimulus.key) for stimulus in stimuli}
    found = {key: path for key, path in files.items() if path is not None}
    clear = [
        key
        for key, path in found.items()
        # One of a mirror is fetched where a run reads it.
        if (path.is_file() or not is_named(path)) and is_transparent(path)
    ]
    if not clear:
        return []
    return [
        f"{len(clear):,} of {len(found):,} pictures have transparent parts, which are read as mid "
        f"grey (the first: {clear[0]}, {found[clear[0]]})"
    ]
