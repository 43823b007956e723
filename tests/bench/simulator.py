"""The simulated platform of a bench: no network, and worlds as large as wanted."""

import json
import os
import subprocess
import time
import urllib.request

DATASET = "5f0000000000000000000001"


class Simulator:
    """caiexport-simulator with a scenario, over plain HTTP on loopback; ends with the object's `with` block."""

    def __init__(self, program, folder, scenario):
        self._program = program
        self._folder = folder
        self._scenario = scenario

    def __enter__(self):
        scenario, port = self._folder / "scenario.json", self._folder / "port"
        scenario.write_text(json.dumps(self._scenario))
        port.unlink(missing_ok=True)
        self._process = subprocess.Popen([self._program, "--scenario", scenario, "--port", "0", "--port-file", port,
                                          "--data-dir", self._folder / "data"], stdout=subprocess.DEVNULL)
        while not port.exists():
            if self._process.poll() is not None:
                raise SystemExit("the simulator did not start")
            time.sleep(0.02)
        self.origin = f"http://127.0.0.1:{port.read_text().strip()}"
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()

    @property
    def process(self):
        return self._process.pid

    def state(self):
        with urllib.request.urlopen(self.origin + "/_simulator/state") as answer:
            return json.load(answer)

    def requests(self):
        return sum(self.state()["requests"].values())

    def change(self, **keys):
        body = json.dumps(keys).encode()
        with urllib.request.urlopen(self.origin + "/_simulator/scenario", body) as answer:
            answer.read()

    def environment(self, home):
        """Of the program: no proxy, no settings of whoever runs the bench."""
        return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "CAIEXPORT_BASE_URL": self.origin,
                "CAIEXPORT_IMS_URL": self.origin, "CAIEXPORT_CLIENT_ID": "sim-client", "CAIEXPORT_CLIENT_SECRET": "sim-secret",
                "CAIEXPORT_ORG_ID": "SIMULATOR@AdobeOrg", "CAIEXPORT_SANDBOX": "prod"}
