#!/usr/bin/env python3
"""Holds packaging/engines to what the engines take, and to the table of exit codes in docs/engines.md. Slurm and GNU parallel
are run by tests/scale; here the others are read.

usage: engines_test.py SOURCE
"""

import json
import os
import re
import runpy
import subprocess
import sys
import types
import unittest

import yaml

SOURCE = ""
FILES = {"slurm.sh", "parallel.sh", "kubernetes.yaml", "aws-batch.json", "airflow_dag.py"}

# What the API of Kubernetes 1.29 has (batch/v1 Job), as far as it is used: a slip in a name is ignored there without a word.
KUBERNETES = {
    "apiVersion": str, "kind": str, "metadata.generateName": str,
    "spec.completionMode": str, "spec.completions": int, "spec.parallelism": int, "spec.backoffLimitPerIndex": int,
    "spec.podReplacementPolicy": str, "spec.ttlSecondsAfterFinished": int,
    "spec.podFailurePolicy.rules.action": str,
    "spec.podFailurePolicy.rules.onPodConditions.type": str, "spec.podFailurePolicy.rules.onPodConditions.status": str,
    "spec.podFailurePolicy.rules.onExitCodes.containerName": str, "spec.podFailurePolicy.rules.onExitCodes.operator": str,
    "spec.podFailurePolicy.rules.onExitCodes.values": int,
    "spec.template.spec.restartPolicy": str,
    "spec.template.spec.securityContext.runAsUser": int, "spec.template.spec.securityContext.runAsGroup": int,
    "spec.template.spec.securityContext.fsGroup": int,
    "spec.template.spec.containers.name": str, "spec.template.spec.containers.image": str,
    "spec.template.spec.containers.args": str,
    "spec.template.spec.containers.env.name": str, "spec.template.spec.containers.env.value": str,
    "spec.template.spec.containers.env.valueFrom.fieldRef.fieldPath": str,
    "spec.template.spec.containers.env.valueFrom.secretKeyRef.name": str,
    "spec.template.spec.containers.env.valueFrom.secretKeyRef.key": str,
    "spec.template.spec.containers.envFrom.configMapRef.name": str,
    "spec.template.spec.containers.resources.requests.cpu": str, "spec.template.spec.containers.resources.requests.memory": str,
    "spec.template.spec.containers.resources.limits.memory": str,
    "spec.template.spec.containers.volumeMounts.name": str, "spec.template.spec.containers.volumeMounts.mountPath": str,
    "spec.template.spec.volumes.name": str, "spec.template.spec.volumes.persistentVolumeClaim.claimName": str,
}

# What RegisterJobDefinition of AWS Batch takes, as far as it is used.
AWS = {
    "jobDefinitionName": str, "type": str, "parameters.dataset": str, "platformCapabilities": str, "propagateTags": bool,
    "containerProperties.image": str, "containerProperties.command": str, "containerProperties.executionRoleArn": str,
    "containerProperties.jobRoleArn": str,
    "containerProperties.resourceRequirements.type": str, "containerProperties.resourceRequirements.value": str,
    "containerProperties.environment.name": str, "containerProperties.environment.value": str,
    "containerProperties.secrets.name": str, "containerProperties.secrets.valueFrom": str,
    "containerProperties.mountPoints.sourceVolume": str, "containerProperties.mountPoints.containerPath": str,
    "containerProperties.mountPoints.readOnly": bool, "containerProperties.volumes.name": str,
    "containerProperties.volumes.efsVolumeConfiguration.fileSystemId": str,
    "containerProperties.volumes.efsVolumeConfiguration.transitEncryption": str,
    "containerProperties.networkConfiguration.assignPublicIp": str,
    "containerProperties.fargatePlatformConfiguration.platformVersion": str,
    "retryStrategy.attempts": int, "retryStrategy.evaluateOnExit.onExitCode": str,
    "retryStrategy.evaluateOnExit.onStatusReason": str, "retryStrategy.evaluateOnExit.onReason": str,
    "retryStrategy.evaluateOnExit.action": str, "timeout.attemptDurationSeconds": int,
}


def text_of(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def engine(name):
    return text_of("packaging", "engines", name)


def leaves(value, path=""):
    """(path, value) of everything that is neither an object nor a list; places in lists don't count."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from leaves(below, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for below in value:
            yield from leaves(below, path)
    else:
        yield path, value


def unknown(document, known):
    """Paths that are not known, or whose value is of another type."""
    return sorted({path for path, value in leaves(document) if type(value) is not known.get(path)})


def codes(answer):
    """Exit codes for which the table gives this answer."""
    rows = re.findall(r"^\| (\d+) \| (\w+) \|", text_of("docs", "engines.md"), re.MULTILINE)
    return {int(code) for code, said in rows if said == answer}


class Engines(unittest.TestCase):
    def test_are_those_that_the_document_names(self):
        self.assertEqual(set(os.listdir(os.path.join(SOURCE, "packaging", "engines"))), FILES)
        self.assertEqual(set(re.findall(r"^\| [^|]+ \| `([^`]+)` \|", text_of("docs", "engines.md"), re.MULTILINE)), FILES)

    def test_the_table_has_every_exit_code_once(self):
        found = re.findall(r"^\| (\d+) \| \w+ \|", text_of("docs", "engines.md"), re.MULTILINE)
        ours = set(re.findall(r"^\| (\d+) \|", text_of("README.md"), re.MULTILINE))
        self.assertEqual(sorted(found, key=int), sorted(ours | {"137"}, key=int))

    def test_scripts_become_the_program(self):
        for name in ("slurm.sh", "parallel.sh"):
            path = os.path.join(SOURCE, "packaging", "engines", name)
            self.assertTrue(os.access(path, os.X_OK), name)
            self.assertEqual(subprocess.run(["bash", "-n", path], check=False).returncode, 0)
            self.assertRegex(engine(name), r"exec caiexport dataset --share \"\$.*\" \"\$@\"\n$")


class Kubernetes(unittest.TestCase):
    def setUp(self):
        self.job = yaml.safe_load(engine("kubernetes.yaml"))
        self.spec = self.job["spec"]

    def test_has_only_fields_that_there_are(self):
        self.assertEqual(unknown(self.job, KUBERNETES), [])
        slip = yaml.safe_load(engine("kubernetes.yaml").replace("podReplacementPolicy", "podReplacementPolice"))
        self.assertEqual(unknown(slip, KUBERNETES), ["spec.podReplacementPolice"])

    def test_is_what_the_api_admits(self):
        self.assertEqual((self.job["apiVersion"], self.job["kind"]), ("batch/v1", "Job"))
        # A limit for each index is of indexed jobs alone; a failure policy wants these two.
        self.assertEqual(self.spec["completionMode"], "Indexed")
        self.assertEqual(self.spec["podReplacementPolicy"], "Failed")
        pod = self.spec["template"]["spec"]
        self.assertEqual(pod["restartPolicy"], "Never")
        self.assertEqual({mount["name"] for mount in pod["containers"][0]["volumeMounts"]},
                         {volume["name"] for volume in pod["volumes"]})
        for rule in self.spec["podFailurePolicy"]["rules"]:
            self.assertIn(rule["action"], ("FailJob", "FailIndex", "Ignore", "Count"))
            self.assertEqual(len(rule), 2, "one action, one condition")

    def test_gives_up_for_those_that_another_try_cannot_mend(self):
        rule, = [rule for rule in self.spec["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
        values = rule["onExitCodes"]["values"]
        self.assertEqual(values, sorted(set(values)), "the API wants them in order")
        # 1 is a defect, perhaps of that moment: it counts as a try.
        self.assertEqual(set(values), (codes("no") | codes("later")) - {0, 1})
        self.assertEqual(rule["onExitCodes"]["containerName"], self.spec["template"]["spec"]["containers"][0]["name"])

    def test_its_key_is_the_name_of_the_job(self):
        container, = self.spec["template"]["spec"]["containers"]
        self.assertIn("--share $(JOB_NAME) ", " ".join(container["args"]))
        name, = [variable for variable in container["env"] if variable["name"] == "JOB_NAME"]
        self.assertEqual(name["valueFrom"]["fieldRef"]["fieldPath"], "metadata.labels['batch.kubernetes.io/job-name']")


class AwsBatch(unittest.TestCase):
    def setUp(self):
        self.definition = json.loads(engine("aws-batch.json"))

    def test_has_only_keys_that_there_are(self):
        self.assertEqual(unknown(self.definition, AWS), [])
        slip = json.loads(engine("aws-batch.json").replace("evaluateOnExit", "evaluateOnexit"))
        self.assertNotEqual(unknown(slip, AWS), [])

    def test_tries_again_what_that_may_mend(self):
        strategy = self.definition["retryStrategy"]
        rules = strategy["evaluateOnExit"]
        self.assertTrue(1 <= strategy["attempts"] <= 10 and len(rules) <= 5, "the bounds of AWS Batch")
        retried = {int(rule["onExitCode"]) for rule in rules if rule["action"] == "RETRY" and "onExitCode" in rule}
        self.assertEqual(retried, {7, 130, 137})
        self.assertLessEqual(retried, codes("yes"))
        self.assertEqual(rules[-1], {"onReason": "*", "action": "EXIT"}, "what no rule meets is tried again")

    def test_its_volumes_and_parameters_are_there(self):
        # No shell that could take the key out of AWS_BATCH_JOB_ID: the program does.
        self.assertIn("--share auto ", " ".join(self.definition["containerProperties"]["command"]))
        properties = self.definition["containerProperties"]
        self.assertEqual({mount["sourceVolume"] for mount in properties["mountPoints"]},
                         {volume["name"] for volume in properties["volumes"]})
        named = {word[5:] for word in properties["command"] if word.startswith("Ref::")}
        self.assertEqual(named, set(self.definition["parameters"]))


class Airflow(unittest.TestCase):
    """With a stand-in that keeps what the file says to it."""

    def setUp(self):
        self.said = said = {}

        class Partial:
            @staticmethod
            def expand(**mapped):
                said.update(mapped)

        class BashOperator:
            @staticmethod
            def partial(**fixed):
                said.update(fixed)
                return Partial

        class Dag:
            def __init__(self, **options):
                said["dag"] = options

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

        modules = {name: types.ModuleType(name) for name in ("airflow", "airflow.operators", "airflow.operators.bash")}
        modules["airflow"].DAG = Dag
        modules["airflow.operators.bash"].BashOperator = BashOperator
        sys.modules.update(modules)
        for name in modules:
            self.addCleanup(sys.modules.pop, name)
        runpy.run_path(os.path.join(SOURCE, "packaging", "engines", "airflow_dag.py"))

    def test_maps_four_tasks_that_share_the_run(self):
        self.assertEqual(len(self.said["env"]), 4)
        self.assertTrue(self.said["append_env"], "the workers' own environment is lost")
        self.assertRegex(self.said["bash_command"], r"^exec caiexport dataset --share '\{\{ dag.dag_id \}\} \{\{ run_id \}\}' ")
        self.assertEqual(self.said["dag"]["max_active_runs"], 1)

    def test_skips_what_comes_later(self):
        self.assertEqual({self.said["skip_on_exit_code"]}, codes("later"))


class Slurm(unittest.TestCase):
    def test_the_document_names_the_code_that_is_queued_again(self):
        code, = set(re.findall(r"RequeueExit=(\d+)", text_of("docs", "engines.md") + engine("slurm.sh")))
        self.assertIn(int(code), codes("yes"))


if __name__ == "__main__":
    SOURCE = os.path.abspath(sys.argv[1])
    unittest.main(argv=sys.argv[:1], verbosity=2)
