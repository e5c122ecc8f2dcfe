"""pykka's own tests, run with our runtime in the place of its threads.

They come with pykka's source distribution of the installed version, fetched once into pytest's
cache; nothing of them is kept in this repository.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
FETCH_S = 120.0
RUN_S = 60.0
STUCK_S = 20
"""After this pytest prints where every thread is. The whole run takes three seconds."""

RUNTIME_TESTS_MIN = 137
"""Tests that take the runtime as a parameter: 4.5.0 has this many, and none may be lost unseen."""


@pytest.fixture
def sources(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unpacked source distribution of the installed pykka."""
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    folder = tmp_path if cache is None else cache.mkdir("pykka-source")
    name = f"pykka-{version('pykka')}"
    archive = folder / f"{name}.tar.gz"
    if not archive.exists():
        fetch(name, folder)
    if not (folder / name / "tests").is_dir():
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    return folder / name


def fetch(name: str, folder: Path) -> None:
    """Have pip download it. What builds it for its metadata may be a wheel, so that this is
    quick."""
    requirement = name.replace("pykka-", "pykka==")
    options = ["--no-binary", "pykka", "--no-deps", "--retries", "1", "--timeout", "10"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options, requirement]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} could not be fetched within {FETCH_S} s")
    if done.returncode != 0:
        pytest.skip(f"{name} could not be fetched: {done.stderr.strip().splitlines()[-1:]}")


@pytest.mark.skipif(find_spec("pytest_mock") is None, reason="pykka's tests need pytest-mock")
def test_every_test_of_pykka_passes_with_our_runtime(
    sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Their tests are a package named `tests` too: the directory they run in comes first.
    paths = [str(HERE), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    options = ["-p", "coppice_runtime", "-p", "no:trio", "-p", "no:xdist", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "--color=no", *options, "tests",
         "-c", "pyproject.toml", "-o", f"faulthandler_timeout={STUCK_S}"],
        cwd=sources, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTEST_ADDOPTS": ""},
        capture_output=True, text=True, timeout=RUN_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with_ours = re.findall(r"\[coppice(?:-[^\]]*)?\] PASSED", done.stdout)
    last = done.stdout.strip().splitlines()[-1].strip("= ")
    with capsys.disabled():
        print(f"\npykka {version('pykka')}'s own tests: {last}, {len(with_ours)} with our runtime")
    assert len(with_ours) >= RUNTIME_TESTS_MIN
