"""Deliveries of the real programs to OpenStack Swift, which checks S3's signatures and the hashes of what is sent."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import services

TESTS = pathlib.Path(os.environ["SCALE_PROGRAMS"]).parent / "tests" / "binary_tests"


class DeliveryTest(unittest.TestCase):
    def setUp(self):
        missing = services.Swift.missing()
        if missing:
            self.skipTest(f"needs {' '.join(missing)} (scripts/setup --scale)")
        if not TESTS.exists():
            self.skipTest(f"{TESTS} was not built")

    def test_swift(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o711)
            with services.Swift(folder) as swift:
                made = subprocess.run(["rclone", "mkdir", "swift:lake"], env=swift.environment(), check=False)
                self.assertEqual(made.returncode, 0)
                done = subprocess.run([TESTS, "--gtest_filter=Delivering.ToAStoreThatSpeaksS3"], check=False, text=True,
                                      env={**swift.environment(), "CAIEXPORT_TEST_S3": "swift:lake"},
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.assertEqual(done.returncode, 0, done.stdout)
                self.assertIn("[       OK ] Delivering.ToAStoreThatSpeaksS3", done.stdout)


if __name__ == "__main__":
    unittest.main()
