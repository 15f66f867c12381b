import json
from pathlib import Path

import pytest

from flows.sources.captions import read_coco_captions
from tests.flows.sources.faults import refused


def test_captions_are_joined_by_image_and_tidied(tmp_path: Path) -> None:
    first, second = tmp_path / "train.json", tmp_path / "val.json"
    first.write_text(
        json.dumps(
            {
                "annotations": [
                    {"id": 7, "image_id": 3, "caption": " A dog\n runs. "},
                    {"id": 8, "image_id": 4, "caption": "not asked for"},
                    {"id": 9, "image_id": 3, "caption": "  "},
                ]
            }
        )
    )
    second.write_text(json.dumps({"annotations": [{"image_id": 3, "caption": "Ein Hund läuft"}]}))
    assert read_coco_captions([first, second], {3, 5}) == {3: ("A dog runs.", "Ein Hund läuft")}


@pytest.mark.parametrize("content", ["", "[]", '{"annotations": [{"image_id": 3}]}', "{}"])
def test_what_holds_no_captions_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "captions.json"
    path.write_text(content)
    refused(tmp_path, lambda: read_coco_captions([path], {3}), str(path), "no COCO captions")
    path.unlink()
    refused(tmp_path, lambda: read_coco_captions([path], {3}), str(path), "no such file")
