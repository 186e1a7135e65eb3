"""The manifests are what Kubernetes takes, shut in, and fit the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client import generate_latest

from guardalign_middleware.config import ServeConfig
from guardalign_middleware.first_day.plan import Plan
from guardalign_middleware.scale.application import Arguments, limits_of
from guardalign_middleware.scale.proxy import CALLBACK
from guardalign_middleware.serving.admission import Admission
from guardalign_middleware.serving.metrics import Metrics

FOLDER = Path(__file__).parents[1] / "deploy" / "kubernetes"
DOCKERFILE = FOLDER.parent / "Dockerfile"
# Their kinds are defined by operators.
FOREIGN = {"podmonitor", "rayservice"}
NOT_FOR_THE_API = {"adapter"}
MANIFESTS = {file.stem: yaml.safe_load(file.read_text()) for file in sorted(FOLDER.glob("*.yaml"))}
SERVER = MANIFESTS["deployment"]["spec"]["template"]
RAY = MANIFESTS["rayservice"]["spec"]
HEAD = RAY["rayClusterConfig"]["headGroupSpec"]
(WORKERS,) = RAY["rayClusterConfig"]["workerGroupSpecs"]
TEMPLATES = {"server": SERVER, "ray head": HEAD["template"], "ray workers": WORKERS["template"]}
SERVE = yaml.safe_load(RAY["serveConfigV2"])


def values(node: Any, name: str) -> Iterator[Any]:
    """Every value of a name at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == name:
                yield value
            yield from values(value, name)
    elif isinstance(node, list):
        for one in node:
            yield from values(one, name)


@pytest.mark.parametrize("name", sorted(MANIFESTS.keys() - FOREIGN - NOT_FOR_THE_API))
def test_a_manifest_is_valid(name: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], "1.34", strict=True)
    kubernetes_validate.validate(MANIFESTS[name], kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_pods_are_valid_and_have_no_rights(name: str) -> None:
    template = TEMPLATES[name]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
    pod["metadata"] = {**template["metadata"], "name": "pod"}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
    spec = template["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert f"USER {spec['securityContext']['runAsUser']}:" in DOCKERFILE.read_text()
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"].keys() == {"cpu", "memory"}
    assert {"livenessProbe", "readinessProbe"} <= container.keys()
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    ports = {port["name"] for port in container["ports"]}
    asked = [port for port in values(container, "port") if isinstance(port, str)]
    assert set(asked) <= ports


@pytest.mark.parametrize("name", ["server", "ray workers"])
def test_an_audit_log_has_a_place_and_a_key(name: str) -> None:
    (container,) = TEMPLATES[name]["spec"]["containers"]
    assert "/var/log/guardalign" in {mount["mountPath"] for mount in container["volumeMounts"]}
    (key,) = [one for one in container["env"] if one["name"] == "GUARDALIGN_AUDIT_KEY"]
    assert key["valueFrom"]["secretKeyRef"]["optional"], "most presets name no log"


def test_all_kinds_select_the_same_pods() -> None:
    labels = SERVER["metadata"]["labels"]
    for name in ("deployment", "pdb", "podmonitor"):
        assert MANIFESTS[name]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["service"]["spec"]["selector"] == labels
    assert MANIFESTS["networkpolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    target = MANIFESTS["hpa"]["spec"]["scaleTargetRef"]
    assert target["name"] == MANIFESTS["deployment"]["metadata"]["name"]
    assert not set(HEAD["template"]["metadata"]["labels"].values()) & set(labels.values())


def test_the_autoscaler_follows_a_metric_that_the_server_has() -> None:
    (metric,) = MANIFESTS["hpa"]["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    offered = generate_latest(Metrics(Admission(ServeConfig())).registry).decode()
    assert re.search(rf"^{name} \d", offered, flags=re.MULTILINE)
    (rule,) = MANIFESTS["adapter"]["rules"]["custom"]
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(name + "{")
    # More servers come before the old ones refuse.
    assert 1 < int(metric["pods"]["target"]["averageValue"]) < ServeConfig().max_requests
    (endpoint,) = MANIFESTS["podmonitor"]["spec"]["podMetricsEndpoints"]
    (key,) = [ref for ref in values(SERVER, "secretKeyRef") if not ref.get("optional")]
    assert endpoint["authorization"]["credentials"] == key


def test_the_servers_load_what_init_writes() -> None:
    plan = Plan("clip-vit-b-32", Path("guard.yaml"))
    mounted = f"/presets/{plan.out}"
    (container,) = SERVER["spec"]["containers"]
    assert container["args"] == ["--preset", mounted]
    assert SERVE["applications"][0]["args"]["preset"] == mounted
    for template in TEMPLATES.values():
        (volume,) = (one for one in template["spec"]["volumes"] if one["name"] == "presets")
        # Without the preset a server does not start, instead of serving another one.
        assert volume["configMap"] == {"name": "guardalign-presets"}
    page = (FOLDER.parents[1] / "docs" / "scale.md").read_text()
    made = re.findall(r"--from-file=(\S+)", page)
    assert made == [str(file) for file in (plan.out, plan.concepts, plan.profile)]


def test_no_request_is_dropped_when_a_server_ends() -> None:
    spec = SERVER["spec"]
    (container,) = spec["containers"]
    wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    ready = container["readinessProbe"]
    assert wait >= ready["periodSeconds"]
    assert spec["terminationGracePeriodSeconds"] > wait + ServeConfig().drain_seconds + 5
    assert MANIFESTS["deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in MANIFESTS["deployment"]["spec"]  # it would undo the autoscaler's


def test_the_application_of_the_ray_service_can_be_built() -> None:
    (application,) = SERVE["applications"]
    module, _, name = application["import_path"].partition(":")
    assert (module, name) == ("guardalign_middleware.scale.application", "build")
    # The preset lies in the ConfigMap.
    arguments = Arguments.read({**application["args"], "preset": "mini"})
    assert limits_of(arguments).api_key_env == "GUARDALIGN_KEY"
    assert SERVE["http_options"]["port"] == 8000
    for template in (HEAD["template"], WORKERS["template"]):
        environment = {one["name"]: one for one in template["spec"]["containers"][0]["env"]}
        assert environment["GUARDALIGN_KEY"]["valueFrom"]["secretKeyRef"]["name"] == "guardalign"
        assert environment["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"]["value"] == CALLBACK
    assert RAY["rayClusterConfig"]["authOptions"] == {"mode": "token"}
    # As many servers as are asked for fit on as many machines as may come.
    (cpus,) = {int(one["cpu"]) for one in values(WORKERS, "limits")}
    assert arguments.replicas[1] * arguments.cpus <= WORKERS["maxReplicas"] * cpus


def test_the_ray_service_is_tested_with_its_version() -> None:
    pinned = (Path(__file__).parent / "scale" / "cluster" / "requirements.txt").read_text()
    assert f"ray[data,serve]=={RAY['rayClusterConfig']['rayVersion']}" in pinned
