"""What holds for every engine's folder, the workflows that link them, and the sample."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

INSTALLS = {
    "hello": '"."',
    "pdf_to_image": '".[pdf-to-image]"',
    "detect_text": '".[detect-text]"',
    "ocr": '".[ocr]"',
}
HEAVY = {"cv2", "numpy", "onnxruntime", "PIL", "pypdfium2", "rapidocr"}
# These two exist on every engine, whether its file names them or not.
ALWAYS = {"inputs": {"control": "JSON"}, "outputs": {"status": "JSON"}}


def channels(root: Path, engine: str, side: str) -> dict[str, str]:
    """The channels of an engine's configs/engine.yml: name in small letters to type."""
    config = yaml.safe_load((root / "engines" / engine / "configs" / "engine.yml").read_text())
    declared = config[side.upper()]
    named = zip(declared["NAMES"], declared["TYPES"], strict=True)
    return ALWAYS[side] | {name.lower(): kind for name, kind in named}


@pytest.mark.parametrize("engine", INSTALLS)
def test_the_parent_process_loads_nothing_heavy(engine):
    """Whoever imports the steps of an engine gets the model only from its ``init``."""
    code = f"import sys, engines.{engine}.steps; sys.exit(', '.join({HEAVY} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    assert done.stderr.strip() == b""


@pytest.mark.parametrize("engine", INSTALLS)
def test_the_id_is_the_name_of_the_folder(root, engine):
    config = yaml.safe_load((root / "engines" / engine / "configs" / "engine.yml").read_text())
    assert config["ENGINE"]["ID"] == engine


@pytest.mark.parametrize("engine", INSTALLS)
def test_the_image_runs_as_nobody_special_and_installs_its_extra(root, engine):
    lines = (root / "engines" / engine / "Dockerfile").read_text()
    assert "\nUSER 10001\n" in lines
    assert f" {INSTALLS[engine]}\n" in lines
    assert f'CMD ["python", "-m", "engines.{engine}.engine"]' in lines


@pytest.mark.parametrize("workflow", ["hello", "ocr"])
def test_a_workflow_links_channels_of_the_same_type_and_leaves_none_unused(root, workflow):
    body = yaml.safe_load((root / "workflows" / f"{workflow}.yml").read_text())
    types = {channel["name"]: channel["type"] for channel in body["dataChannels"]}
    used = set()
    for engine in body["engines"]:
        for side in ("inputs", "outputs"):
            declared = channels(root, engine["id"], side)
            for link in engine[side]:
                assert declared[link["name"].lower()] == link["type"] == types[link["linkTo"]]
                used.add(link["linkTo"])
    assert used == set(types)


def test_the_ocr_workflow_keeps_the_text_and_nothing_else(root):
    body = yaml.safe_load((root / "workflows" / "ocr.yml").read_text())
    assert [c["name"] for c in body["dataChannels"] if c["interested"]] == ["Text"]


def test_the_script_makes_the_sample_that_is_in_the_repository(root, tmp_path):
    script = runpy.run_path(str(root / "scripts" / "make_sample_pdf.py"))
    script["make"](tmp_path)
    for name in ("ocr-sample.pdf", "ocr-sample.txt"):
        kept = (root / "samples" / name).read_bytes()
        assert (tmp_path / name).read_bytes() == kept
        assert len(kept) < 100_000


def test_the_truth_has_a_block_for_each_page(truth):
    assert len(truth) == 4
    assert all(12 <= len(page) <= 25 for page in truth)
