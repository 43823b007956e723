"""A home of its own and a simulator, for tests that run the programs from outside."""

import os
import subprocess
import time

SCORE_DATASET = "5f0000000000000000000001"
SEGMENT = "7c5f7f05-5a50-4ba0-a6ee-1fd48c0f0e5a"
# What a wait may take on a busy machine; none takes it when things go well.
LIMIT_S = 120


def environment_in(home, programs):
    """Nothing of the user's own."""
    return {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": home, "LANG": "C.UTF-8",
            "TERM": "dumb", "TMPDIR": home, "XDG_CACHE_HOME": os.path.join(home, ".cache")}


class Simulator:
    """A running caiexport-simulator and the settings that reach it; ends with the block."""

    def __init__(self, program, folder, *options):
        self.folder = folder
        self.command = [program, "--port-file", os.path.join(folder, "port"), *options]
        self.settings = {}

    def __enter__(self):
        environment = {"PATH": "/usr/bin:/bin", "HOME": self.folder, "TMPDIR": self.folder}
        self.process = subprocess.Popen(self.command, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + LIMIT_S
        port_file = os.path.join(self.folder, "port")
        while not os.path.exists(port_file):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the simulator did not start: " + self.process.stderr.read())
            time.sleep(0.01)
        with open(port_file, encoding="utf-8") as file:
            url = "http://127.0.0.1:" + file.read().strip()
        self.settings = {"CAIEXPORT_BASE_URL": url, "CAIEXPORT_IMS_URL": url, "CAIEXPORT_CLIENT_ID": "sim-client",
                         "CAIEXPORT_CLIENT_SECRET": "sim-secret", "CAIEXPORT_ORG_ID": "SIMULATOR@AdobeOrg",
                         "CAIEXPORT_SANDBOX": "prod"}
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stderr.close()
