"""The release workflow, as far as it can be tried without its host: it is YAML, its shell is sound, the scripts that it
calls are there, and what it reads from the sources (the version, a release's part of CHANGELOG.md) comes out.

usage: release_test.py SOURCES
"""
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

sources = pathlib.Path(sys.argv[1])
workflow = yaml.safe_load((sources / ".github/workflows/release.yml").read_text())
steps = [step for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
assert steps, "the workflow runs nothing"

for step in steps:
    checked = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True)
    assert checked.returncode == 0, f"{step['name']}: {checked.stderr}"
    for script in re.findall(r"(?:^|\s)((?:scripts|packaging)/[\w.-]+)", step["run"]):
        assert (sources / script).exists(), f"{step['name']}: there is no {script}"


def run(part, tag, changelog):
    """Runs the step whose text holds `part` on a copy of what it reads; `gh` is not run."""
    step = next(step["run"] for step in steps if part in step["run"])
    lines = step.split("gh release")[0]
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        (place / "CMakeLists.txt").write_text((sources / "CMakeLists.txt").read_text())
        (place / "CHANGELOG.md").write_text(changelog)
        done = subprocess.run(["bash", "-e", "-c", lines], cwd=place, env={"PATH": "/usr/bin:/bin", "GITHUB_REF_NAME": tag})
        notes = place / "notes.md"
        return done.returncode, notes.read_text() if notes.exists() else ""


version = re.search(r"^project\(caiexport VERSION ([\d.]+)", (sources / "CMakeLists.txt").read_text(), re.M)[1]
changelog = f"# Changelog\n\n## Unreleased\n\n- later\n\n## {version} (a day)\n\n- this\n\n## 0.0.1\n\n- earlier\n"
check = "sed -n 's/^project"
assert run(check, f"v{version}", changelog)[0] == 0
assert run(check, "v99.0.0", changelog)[0] != 0, "a tag of another version is released"
assert run(check, f"v{version}", "# Changelog\n")[0] != 0, "a version that CHANGELOG.md does not describe is released"
assert run("awk -v heading", f"v{version}", changelog)[1].split() == ["-", "this"]
