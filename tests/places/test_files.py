"""Compose, Dockerfile, manifests, rules and dashboard are valid, and speak of what there is."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers.places import beside

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
MANIFESTS = sorted((DOCKER / "kubernetes").glob("*.yaml"))
METRIC = re.compile(r"\bdl_[a-z0-9_]+")


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def documents() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text())


def registered() -> set[str]:
    """The names of metrics that the code makes."""
    names = set()
    for path in (*ROOT.glob("jobs/*.py"), ROOT / "deltalakedb/measures.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and METRIC.fullmatch(value):
                names.add(value)
    return names


def expressions() -> Iterator[str]:
    dashboard = json.loads((DOCKER / "grafana/dashboards/deltalakedb.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for group in yaml.safe_load((DOCKER / "prometheus/rules.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def test_rules_and_dashboard_ask_for_metrics_that_there_are() -> None:
    asked = {
        re.sub("_(bucket|count|sum)$", "", name) if "_duration_seconds_" in name else name
        for text in expressions()
        for name in METRIC.findall(text)
    }
    assert asked
    assert asked <= registered()


def test_compose_names_what_there_is() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    services, volumes = compose["services"], compose["volumes"]
    example = dict(
        line.split("=", 1)
        for line in (DOCKER / ".env.example").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    asked = re.findall(r"\$\{(\w+)(:\?\}|\})", (DOCKER / "compose.yaml").read_text())
    assert {name for name, _ in asked} <= example.keys()
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert "healthcheck" in services[other], (name, other)
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), (name, source)
            elif not source.startswith("$"):
                assert source in volumes, (name, source)
        build = service.get("build")
        if build:
            assert (DOCKER / build["context"] / build["dockerfile"]).exists()


def test_manifests_give_pods_no_more_than_they_need() -> None:
    for document in documents():
        template = document.get("spec", {}).get("jobTemplate", document).get("spec", {})
        pod = template.get("template", {}).get("spec")
        if pod is None:
            continue
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["name"] in str(template["podFailurePolicy"])
        for variable in container["env"]:
            # What is secret comes from the secret, or from a file made of it.
            assert "valueFrom" in variable or variable["name"].endswith("_FILE")
        module = container["args"][2].replace(".", "/")
        assert (ROOT / f"{module}.py").exists()


@pytest.mark.system
def test_compose_and_dockerfile_are_valid(judge: Callable[[str], str]) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    run(judge("check-jsonschema"), *schema, str(DOCKER / "compose.yaml"))
    run(judge("hadolint"), str(DOCKER / "Dockerfile"))


@pytest.mark.system
def test_expressions_are_promql(judge: Callable[[str], str]) -> None:
    program = "import sys, promql_parser; [promql_parser.parse(t) for t in sys.argv[1:]]"
    variables = (text.replace("$table", ".*") for text in expressions())
    run(judge("python"), "-c", program, *variables)


@pytest.mark.system
def test_manifests_are_valid(judge: Callable[[str], str], tmp_path: Path) -> None:
    for path in MANIFESTS:
        run(judge("kubernetes-validate"), "-k", "1.34", "--strict", str(path))
    configuration = next(d for d in documents() if d["kind"] == "ConfigMap")
    cluster = yaml.safe_load(configuration["data"]["cluster.yaml"])["cluster"]
    spec = cluster["options"]["custom_cluster_spec"]
    chart = beside() / "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator"
    made = yaml.safe_load((chart / "crds/daskcluster.yaml").read_text())
    (version,) = (v for v in made["spec"]["versions"] if v["name"] == "v1")
    (tmp_path / "schema.json").write_text(json.dumps(version["schema"]["openAPIV3Schema"]))
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    schema = ("--schemafile", str(tmp_path / "schema.json"))
    run(judge("check-jsonschema"), *schema, str(tmp_path / "spec.json"))
    # Kubernetes' own schema for what the custom resource calls a pod.
    for part in ("scheduler", "worker"):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": part},
            "spec": spec["spec"][part]["spec"],
        }
        (tmp_path / f"{part}.yaml").write_text(yaml.safe_dump(pod))
        validate = (judge("kubernetes-validate"), "-k", "1.34", "--strict")
        run(*validate, str(tmp_path / f"{part}.yaml"))


def test_nothing_of_docker_is_left_out_of_the_image() -> None:
    """What the Dockerfile copies is let through by .dockerignore."""
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"
    }
    for line in (DOCKER / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert source in let_through
                assert os.path.exists(ROOT / source)
