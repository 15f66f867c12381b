"""Validation drawn: one picture of all categories and participants."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.files import require_png, write_file
from app.regions.service import SIGNIFICANT
from app.validation.repository import MaskView
from app.validation.schemas import CategoryResult, SubjectResult, ValidationAnswer
from app.volumes import cell_centres, voxel_of_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Views = Mapping[tuple[str, str], MaskView]
Box = tuple[float, float, float, float]

# Inches: a brain, the lines above it, the space beside it, the plots at the top, margins.
BRAIN_WIDTH, BRAIN_HEIGHT = 3.6, 1.35
LINE, GAP = 0.2, 0.15
PLOT_HEIGHT = 1.5
MARGIN = 0.35
LEAST_WIDTH = 7.5
DPI = 150
MOST_PIXELS = 20_000
# Volumes are drawn on cells of this size, mm.
CELL_MM = 2.0
MASK_COLOURS, OUTLINE = "YlOrRd", "tab:blue"
MEASURES = (
    ("AUC of responses", "auc", (0.0, 1.0)),
    ("Dice of the mask", "dice", (0.0, 1.0)),
    ("Spearman's rho of responses and t-map", "rho", (-0.5, 1.0)),
)
CHANCE = {"auc": 0.5, "rho": 0.0}


def write_figure(answer: ValidationAnswer, views: Views, file: Path) -> None:
    """Draw an answer to a PNG file: numbers above, a brain for each participant and category.

    Brains are nilearn's glass brains where MNI coordinates are known, else cuts through the
    region's middle in native space; no template is fetched from anywhere.

    Parameters
    ----------
    answer : ValidationAnswer
    views : mapping
        Of (category, participant), as `app.validation.service.mask_views` gives them.
    file : Path

    Raises
    ------
    InputError
        The file's name does not end in ``.png``, or it cannot be written.
    StorageError
        The disk is full.
    """
    require_png(file)
    figure = _draw(answer, views)
    content = BytesIO()
    dpi = min(DPI, MOST_PIXELS / max(figure.get_size_inches()))
    figure.savefig(content, format="png", dpi=dpi)
    write_file(file, content.getvalue())


def _draw(answer: ValidationAnswer, views: Views) -> "Figure":
    # Not pyplot, which would look for a display and keep every figure.
    from matplotlib.figure import Figure

    subjects = list(
        dict.fromkeys(each.subject for one in answer.categories for each in one.subjects)
    )
    row_height = BRAIN_HEIGHT + LINE
    plots = PLOT_HEIGHT + 2 * LINE
    header = 3 * LINE
    width = max(LEAST_WIDTH, len(answer.categories) * BRAIN_WIDTH + 2 * MARGIN)
    height = 3 * MARGIN + plots + header + len(subjects) * row_height
    figure = Figure(figsize=(width, height))

    def box(left: float, top: float, wide: float, high: float) -> Box:
        """Inches from the upper left, as the figure's own fractions."""
        return (left / width, 1 - (top + high) / height, wide / width, high / height)

    def write(left: float, top: float, text: str, **style: Any) -> None:
        # A label with two dollar signs is no formula.
        figure.text(left / width, 1 - top / height, text, va="top", parse_math=False, **style)

    write(MARGIN, 0.1, f"{answer.dataset}, run {answer.run}, {answer.encoder}", fontsize=9)
    plot_width = (width - 3 * MARGIN) / len(MEASURES) - 1.5 * MARGIN
    for place, (name, field, limits) in enumerate(MEASURES):
        left = 2 * MARGIN + place * (plot_width + 1.5 * MARGIN)
        axes = figure.add_axes(box(left, MARGIN + LINE, plot_width, PLOT_HEIGHT))
        _plot_measure(axes, answer.categories, subjects, name, field, limits)
    top = MARGIN + plots + MARGIN
    for column, one in enumerate(answer.categories):
        left = MARGIN + column * BRAIN_WIDTH
        for line, text in enumerate(_heading(one)):
            write(left, top + line * LINE, text, fontsize=8, weight="bold" if not line else None)
        of_subject = {each.subject: each for each in one.subjects}
        for row, subject in enumerate(subjects):
            above = top + header + row * row_height
            result = of_subject.get(subject)
            if result is None:
                continue
            unseen = {True: "", False: " (not decoded)", None: " (not tested)"}[result.decodes]
            less = " (responds less)" if result.responds == "less" else ""
            write(left, above, f"{subject}{unseen}{less}  {_numbers(result)}", fontsize=7)
            view = views.get((one.category, subject))
            if view is not None:
                of_brain = box(left, above + LINE, BRAIN_WIDTH - GAP, BRAIN_HEIGHT)
                _plot_brain(figure, of_brain, view)
    write(
        MARGIN,
        height - 0.3,
        f"red: members of the mask, by weight; blue: the localiser's regions; * q < {SIGNIFICANT}; "
        "hollow: the concept is not decoded in the participant, or was not tested",
        fontsize=7,
    )
    return figure


def _plot_measure(
    axes: Any,
    categories: list[CategoryResult],
    subjects: list[str],
    name: str,
    field: str,
    limits: tuple[float, float],
) -> None:
    """A dot for each participant, side by side, and a line at their mean."""
    offset = dict(zip(subjects, np.linspace(-0.25, 0.25, len(subjects) + 2)[1:-1], strict=True))
    for at, one in enumerate(categories):
        known = [
            (at + offset[each.subject], getattr(each, field), each)
            for each in one.subjects
            if getattr(each, field) is not None
        ]
        if known:
            mean = float(np.mean([value for _, value, _ in known]))
            axes.plot([at - 0.35, at + 0.35], [mean, mean], color="0.6", linewidth=1.5)
        for x, value, each in known:
            face = "black" if each.decodes else "white"
            axes.plot([x], [value], "ok", markerfacecolor=face, markersize=3, clip_on=False)
    if field in CHANCE:
        axes.axhline(CHANCE[field], color="0.8", linewidth=0.8, linestyle="--")
    axes.set_xlim(-0.5, len(categories) - 0.5)
    axes.set_ylim(*limits)
    axes.set_xticks(range(len(categories)), [one.category for one in categories], fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(name, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _heading(one: CategoryResult) -> tuple[str, str]:
    if one.component is None:
        return f"{one.category}: {one.prompt!r}", one.reason or ""
    return (
        f"{one.category}: {one.prompt!r} on {one.atlas}",
        f"concept {one.component} ({_shortened(one.label or '')})",
    )


def _shortened(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _numbers(result: SubjectResult) -> str:
    if result.auc is None and result.rho is None:
        return _shortened(result.reason or "", 50)
    star = "*" if result.q_value is not None and result.q_value < SIGNIFICANT else ""
    return f"AUC {_told(result.auc)}{star}  Dice {_told(result.dice)}  rho {_told(result.rho)}"


def _told(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _plot_brain(figure: "Figure", box: Box, view: MaskView) -> None:
    from nilearn.plotting import plot_glass_brain, plot_img

    mask, regions, brain = _volumes(view)
    place = {"figure": figure, "axes": box, "colorbar": False, "annotate": False}
    if view.is_mni:
        display = plot_glass_brain(None, display_mode="lzr", **place)
    else:
        display = plot_img(
            brain,
            cut_coords=_middle(view),
            display_mode="ortho",
            draw_cross=False,
            cmap="Greys",
            vmin=0,
            vmax=3,
            **place,
        )
    display.annotate(positions=False, size=6)
    # An image of zeros has no range that colours could be scaled to.
    if view.weight.any():
        display.add_overlay(mask, cmap=MASK_COLOURS, threshold=0.01, vmin=0, vmax=1)
    if view.inside.any():
        display.add_contours(regions, levels=[0.5], colors=OUTLINE, linewidths=0.8)


def _middle(view: MaskView) -> tuple[float, ...]:
    """Where cuts show most: the regions' middle (else the mask's) on the side of most of it."""
    of_interest = view.inside if view.inside.any() else view.weight > 0
    if not of_interest.any():
        of_interest = np.ones(len(view.places), dtype=bool)
    right = view.places[:, 0] > np.median(view.places[:, 0])
    told = of_interest * (0.01 + view.weight)
    side = right if told[right].sum() >= told[~right].sum() else ~right
    return tuple(view.places[of_interest & side].mean(axis=0).tolist())


def _volumes(view: MaskView) -> tuple[Any, Any, Any]:
    """Images of mask, regions and kept voxels: each cell shows the voxel that it lies in."""
    from nibabel.nifti1 import Nifti1Image

    low = np.floor(view.places.min(axis=0) / CELL_MM - 2) * CELL_MM
    shape = tuple((np.ceil((view.places.max(axis=0) - low) / CELL_MM) + 3).astype(int))
    affine = np.diag([CELL_MM, CELL_MM, CELL_MM, 1.0])
    affine[:3, 3] = low
    nearest = voxel_of_cells(view.places, cell_centres(shape, affine), CELL_MM)

    def image(values: NDArray[Any]) -> Any:
        volume = np.where(nearest >= 0, values[nearest], 0).astype(np.float32)
        return Nifti1Image(volume.reshape(shape), affine)  # type: ignore[no-untyped-call]

    return image(view.weight), image(view.inside), image(np.ones(len(view.places)))
