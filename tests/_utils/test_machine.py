"""What a measurement depends on is recorded."""

import subprocess

import pytest

from kbp._utils import machine


def git(folder, *arguments):
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder that kbp seems to run from."""
    folder = tmp_path / "kbp"
    folder.mkdir()
    module = folder / "__init__.py"
    module.write_text("")
    monkeypatch.setattr(machine.kbp, "__file__", str(module))
    # Or git would look for a checkout further up.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return folder


def test_versions_name_every_package():
    found = machine.versions()
    assert {*found} == {"kbp", "python", *machine.PACKAGES}
    assert all(found.values())


def test_machine_has_a_processor_and_cores():
    found = machine.machine()
    assert {*found} == {"processor", "cores"}
    assert found["processor"]
    assert found["cores"] >= 1


def test_commit_of_a_checkout(package):
    git(package, "init", "-q")
    git(package, "add", ".")
    git(package, "commit", "-qm", "Begin")
    revision = git(package, "rev-parse", "HEAD")[:12]
    assert machine.commit() == revision
    (package / "__init__.py").write_text("changed = True\n")
    assert machine.commit() == f"{revision}+"


def test_without_a_checkout_of_its_own_there_is_no_commit(package):
    assert machine.commit() is None
    git(package, "init", "-q")  # of another project, which does not track kbp
    assert machine.commit() is None
