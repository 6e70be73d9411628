"""What is wrong is said in one line, and nothing is written."""

import zipfile

import deployed
import pytest

from kbp import deploy
from kbp.__main__ import main
from kbp.deploy.deployable import Deployable
from kbp.deploy.registry import TARGETS, TEMPLATES
from kbp.errors import UserError

DIGITS = "pyramid_bpnet_small.digits"


def test_an_existing_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="exists"):
        deploy.deploy(DIGITS, "python", tmp_path)


@pytest.mark.parametrize(
    ("model", "target", "words"),
    [
        ("pyramid_bpnet_small.digit", "python", "no such file"),
        (DIGITS, "pithon", "did you mean 'python'"),
    ],
)
def test_unknown_names_are_one_line(tmp_path, capsys, model, target, words):
    out = tmp_path / "app"
    line = ["deploy", model, "--target", target, "--out", str(out)]
    assert main(line) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_model_of_no_task_is_refused(tmp_path):
    path = deployed.dense(tmp_path / "run", (3, 4, 5), (2, 2))
    with pytest.raises(UserError, match="must label images"):
        deploy.deploy(path, "python", tmp_path / "app")


def test_a_forecaster_with_covariates_is_refused_by_scripts(tmp_path):
    path = deployed.dense(tmp_path / "run", (12, 3), (4, 1))
    for target in ("python", "web"):
        with pytest.raises(UserError, match="takes covariates"):
            deploy.deploy(path, target, tmp_path / "app")


def test_labels_of_another_model_are_refused(tmp_path):
    path = deployed.dense(tmp_path / "run", (8, 8, 1), (3,))
    (path.parent / "labels.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="names 2 classes"):
        deploy.deploy(path, "android", tmp_path / "app")


def test_what_lies_beside_comes_before_what_the_file_holds(tmp_path):
    path = deployed.dense(tmp_path / "run", (8, 8, 1), (2,))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    assert Deployable.open(str(path)).labels == ("cat", "dog")
    (path.parent / "labels.txt").write_text("beside\nanother\n")
    assert Deployable.open(str(path)).labels == ("beside", "another")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", b"\xff\n\n"),
        ("labels.txt", b"one\n"),
        ("columns.json", b"{"),
        ("columns.json", b"[1]"),
        ("series.json", b"nothing"),
        ("images.json", b"{}"),
    ],
)
def test_damaged_files_beside_a_model_are_one_line(
    tmp_path, capsys, name, content
):
    shapes = {
        "columns.json": ((3,), (3,)),
        "series.json": ((12, 2), (4, 2)),
    }
    taken, given = shapes.get(name, ((8, 8, 1), (3,)))
    path = deployed.dense(tmp_path / "run", taken, given)
    (path.parent / name).write_bytes(content)
    out = tmp_path / "app"
    words = ["deploy", str(path), "--target", "python", "--out", str(out)]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert name in said
    assert not out.exists()


def test_every_target_says_in_ten_lines_how_to_run(tmp_path, monkeypatch):
    pytest.importorskip("tflite_micro")
    deployed.fake_node_modules(tmp_path, monkeypatch)
    for target in (x for x in TARGETS if x != "entry"):  # needs a run
        folder = deploy.deploy(DIGITS, target, tmp_path / target)
        text = (folder / "README.md").read_text()
        assert len(text.splitlines()) <= 15
        assert "int8 [1, 32, 32, 1]" in text or "uint8 [1, 32" in text
        assert "@" not in text
        assert (folder / "model.tflite").stat().st_size > 70_000


def test_templates_lie_in_the_package():
    kinds = {path.suffix for path in TEMPLATES.rglob("*") if path.is_file()}
    assert {".py", ".html", ".js", ".css", ".cc", ".kt", ".swift"} <= kinds
