"""What `pip install .` gives another project."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.long
def test_the_wheel_holds_the_modules_alone(tmp_path):
    """Built as pip builds it; needs the package registry for setuptools."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps"]
    subprocess.run([*command, "-w", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("speaker_embedding_modules-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (meta,) = [name for name in names if name.endswith("/METADATA")]
        requires = re.findall(
            r"^Requires-Dist: ([\w-]+)", archive.read(meta).decode(), re.M
        )
    files = {name for name in names if ".dist-info/" not in name}
    modules = (ROOT / "custom_modules").glob("*.py")
    assert files == {f"custom_modules/{path.name}" for path in modules}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [re.match(r"[\w-]+", d)[0] for d in project["dependencies"]]
    assert requires == declared
