#!/usr/bin/env python3
"""Formats manual pages as man does; neither groff nor mandoc may have anything to say.

usage: manual_lint.py PAGE...
"""

import os
import subprocess
import sys

failed = False
for page in sys.argv[1:]:
    environment = dict(os.environ, MANWIDTH="80", LC_ALL="C.UTF-8", MANROFFSEQ="")
    groff = subprocess.run(["man", "--warnings", "-l", page], env=environment, capture_output=True, text=True,
                           check=False)
    # STYLE is about the source, which nobody edits.
    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True, text=True, check=False)
    title = os.path.basename(page).split(".")[0].upper() + "(1)"
    if groff.returncode != 0 or groff.stderr or lint.stdout or title not in groff.stdout:
        print(f"{page}:\n{groff.stderr}{lint.stdout}", file=sys.stderr)
        failed = True
sys.exit(failed)
