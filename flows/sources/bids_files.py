"""Files of a BIDS data set by the entities in their names, and what they inherit."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from app.errors import InputError
from app.texts import read_text, require_storable, texts_in
from flows.sources.fetching import require_file

# pybids has no `stat`.
_STAT = {"name": "stat", "pattern": r"[_/\\]+stat-([a-zA-Z0-9+]+)"}
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
        The folder; what lies in it and in its `sub-*` folders counts, hidden files apart.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def files(self) -> tuple[BidsFile, ...]:
        """Sorted by path."""
        paths = [
            path
            for pattern in ("*", "sub-*/**/*")
            for path in self.root.glob(pattern)
            if not path.name.startswith(".") and not path.is_dir()
        ]
        parse = _parser()
        return tuple(BidsFile(path, parse(path.relative_to(self.root))) for path in sorted(paths))

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


def _parser() -> Callable[[Path], dict[str, str]]:
    """Entities of a path below the root, which alone is parsed: folders above it have names too."""
    # pybids brings pandas along, which other layouts do without.
    from bids.layout.models import Config
    from bids.layout.utils import parse_file_entities

    rules = [Config.load("bids"), Config.load("derivatives"), Config("sdc", entities=[_STAT])]
    known = [entity for rule in rules for entity in rule.entities.values()]

    def parse(path: Path) -> dict[str, str]:
        entities = parse_file_entities(f"/{path.as_posix()}", entities=known)
        return {key: str(int(value) if key == "run" else value) for key, value in entities.items()}

    return parse


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    InputError
        The file is missing, no JSON, no object, or holds text that cannot be stored.
    """
    hint = "give a JSON file with an object, {…}"
    require_file(path)
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no valid JSON: {error}", hint=hint) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: no JSON object", hint=hint)
    for place, text in texts_in(content):
        require_storable(text, f"{path}, {place}")
    return content
