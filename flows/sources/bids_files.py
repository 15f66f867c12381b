"""Files of a BIDS data set by the entities in their names, and what they inherit."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from app.errors import InputError

# pybids knows no `stat`.
_OWN_ENTITIES = Path(__file__).with_name("bids_entities.json")
_NOT_IN_NAME = {"datatype", "extension", "suffix"}
NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True)
class BidsFile:
    """A file and what its name says.

    Attributes
    ----------
    entities : mapping
        By pybids' names (`subject`, `session`, `segmentation` …); a run without leading zeros.
    """

    path: Path
    entities: Mapping[str, str] = field(hash=False)

    def get(self, entity: str) -> str | None:
        """The value of an entity, None where the name has none."""
        return self.entities.get(entity)

    @property
    def named(self) -> dict[str, str]:
        """The entities proper, without suffix, extension and type of data."""
        return {key: value for key, value in self.entities.items() if key not in _NOT_IN_NAME}

    def agrees(self, entities: Mapping[str, str]) -> bool:
        """Whether no entity that both have differs."""
        own = self.named
        return all(own.get(key, value) == value for key, value in entities.items())


class BidsFiles:
    """All files of a BIDS data set, by their names alone.

    Parameters
    ----------
    root : Path
        The folder; `code`, `sourcedata`, `stimuli`, `derivatives` and hidden files are left out.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def files(self) -> tuple[BidsFile, ...]:
        """Sorted by path."""
        # pybids brings pandas along, which other layouts do without.
        from bids import BIDSLayout, BIDSLayoutIndexer

        layout = BIDSLayout(
            self.root,
            validate=False,
            is_derivative=True,
            config=["bids", "derivatives", str(_OWN_ENTITIES)],
            indexer=BIDSLayoutIndexer(validate=False, index_metadata=False),
        )
        try:
            found = layout.get(return_type="object")
            entities = [file.get_entities(metadata=False) for file in found]
        finally:
            layout.connection_manager.session.close()
        files = [
            BidsFile(
                Path(file.path),
                {key: str(int(value) if key == "run" else value) for key, value in named.items()},
            )
            for file, named in zip(found, entities, strict=True)
        ]
        return tuple(sorted(files, key=lambda file: file.path))

    def find(self, *, extension: Iterable[str], **entities: str | None) -> list[BidsFile]:
        """Files of one of some extensions that have these entities; None stands for none."""
        extensions = set(extension)
        place = (entities.get("subject"), entities.get("suffix"))
        among = self._of_subject.get(place, []) if all(place) else self.files
        return [
            file
            for file in among
            if file.get("extension") in extensions
            and all(file.get(key) == value for key, value in entities.items())
        ]

    def inherited(self, file: BidsFile, extension: str) -> list[BidsFile]:
        """What applies to a file by the inheritance principle, the nearest last.

        A file of the same suffix applies that lies beside it or in a folder above, and whose
        entities are all among its own.

        Raises
        ------
        InputError
            Two of one folder apply.
        """
        own = file.named.items()
        applies: list[BidsFile] = []
        for folder in reversed(file.path.parents):
            there = [
                other
                for other in self._of_folder.get(folder, [])
                if other.get("extension") == extension
                and other.get("suffix") == file.get("suffix")
                and other.named.items() <= own
            ]
            if len(there) > 1:
                raise InputError(
                    f"{there[1].path}: {there[0].path.name} beside it applies to "
                    f"{file.path.name} too",
                    hint="keep one of them: BIDS allows one file of a folder to be inherited",
                )
            applies += there
        return applies

    @cached_property
    def _of_folder(self) -> Mapping[Path, list[BidsFile]]:
        folders: dict[Path, list[BidsFile]] = {}
        for file in self.files:
            folders.setdefault(file.path.parent, []).append(file)
        return folders

    @cached_property
    def _of_subject(self) -> Mapping[tuple[str | None, str | None], list[BidsFile]]:
        subjects: dict[tuple[str | None, str | None], list[BidsFile]] = {}
        for file in self.files:
            subjects.setdefault((file.get("subject"), file.get("suffix")), []).append(file)
        return subjects


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    InputError
        The file is missing, no JSON, or no object.
    """
    hint = "give a JSON file with an object, {…}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: no valid JSON: {error}", hint=hint) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: no JSON object", hint=hint)
    return content
