"""The chart as Helm renders it, held against the schemas of Kubernetes and against the code. `make chart` runs this."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import lethe
from lethe.operations.settings import Settings, load

CHART = Path(__file__).parents[3] / "deploy" / "helm" / "lethe"
HELM = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
BUCKET = ("warehouse.root=s3://cdr-lake/lethe",)
EVERYTHING = (
    "warehouse.existingClaim=lethe-warehouse", "autoscaling.enabled=true", "secrets={lethe-kafka,lethe-store}",
    "secretFiles={kafka-ca}", "imagePullSecrets[0].name=registry", "nodeSelector.disk=ssd",
    "tolerations[0].key=cdr", "tolerations[0].operator=Exists",
)  # fmt: skip
SERVED = (
    *BUCKET, "service.enabled=true", "service.replicas=2", "service.databaseSecret=lethe-database",
    "service.tlsSecret=lethe-tls", "secrets={lethe-store}",
)  # fmt: skip
SMALL = (
    "warehouse.existingClaim=lethe-warehouse", "service.enabled=true", "service.existingClaim=lethe-service",
)  # fmt: skip
VERSIONS = ("1.29", "1.34")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert HELM, "there is no helm: make chart builds it"
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=60, check=False)


def template(*values: str, release: str = "cdr") -> subprocess.CompletedProcess[str]:
    """Render the chart; a value that begins like JSON is given as such."""
    kinds = ["--set-json" if value.partition("=")[2][:1] in ("[", '{"') else "--set" for value in values]
    words = [word for pair in zip(kinds, values, strict=True) for word in pair]
    return helm("template", release, str(CHART), "--kube-version", VERSIONS[0], *words)


def rendered(*values: str, release: str = "cdr") -> list[dict[str, Any]]:
    done = template(*values, release=release)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def one(kind: str, *values: str, component: str = "worker") -> dict[str, Any]:
    label = "app.kubernetes.io/component"
    (found,) = [
        document
        for document in rendered(*values)
        if document["kind"] == kind and document["metadata"]["labels"][label] == component
    ]
    return found


@pytest.mark.parametrize(
    "values", [BUCKET, EVERYTHING, SERVED, SMALL], ids=["bucket", "everything", "served", "small"]
)
def test_helm_has_nothing_to_say_against_it(values: tuple[str, ...]) -> None:
    done = helm("lint", "--strict", str(CHART), *(word for value in values for word in ("--set", value)))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [BUCKET, EVERYTHING], ids=["bucket", "everything"])
def test_kubernetes_would_take_every_document(values: tuple[str, ...], version: str) -> None:
    documents = rendered(*values)
    kinds = ["ServiceAccount", "ConfigMap", "Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy"]
    scaled = ["HorizontalPodAutoscaler"] if values is EVERYTHING else []
    assert sorted(document["kind"] for document in documents) == sorted(kinds + scaled)
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", [SERVED, SMALL], ids=["served", "small"])
def test_kubernetes_would_take_the_service(values: tuple[str, ...], version: str) -> None:
    documents = rendered(*values)
    kinds = [
        d["kind"] for d in documents if d["metadata"]["labels"]["app.kubernetes.io/component"] == "service"
    ]
    assert sorted(kinds) == [
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    ]
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", [SERVED, SMALL], ids=["served", "small"])
def test_the_service_accepts_its_environment_and_keeps_its_secrets_by_reference(
    values: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = one("Deployment", *values, component="service")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    entries = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert (entries["LETHE_SERVE__DATABASE"] is None) == (values is SERVED)  # a reference has no value
    (tmp_path / "lethe.toml").write_text(one("ConfigMap", *values)["data"]["lethe.toml"])
    for name, value in entries.items():
        if name.startswith("LETHE_") and name != "LETHE_CONFIG":
            monkeypatch.setenv(name, value or "postgresql+psycopg://lethe@database/lethe")
    settings = load(tmp_path / "lethe.toml")
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {str(settings.keys_dir.parent), str(settings.audit_dir)} <= mounts
    worker = one("Deployment", *values)["spec"]["template"]["spec"]["securityContext"]
    assert pod["securityContext"]["runAsUser"] != worker["runAsUser"]
    assert pod["securityContext"]["fsGroup"] == worker["fsGroup"]
    assert settings.keys_group == str(pod["securityContext"]["fsGroup"])
    assert {port["containerPort"] for port in container["ports"]} == {settings.serve.port}
    assert settings.serve.host == "0.0.0.0"
    assert (settings.serve.certificate is not None) == (values is SERVED)
    if values is SMALL:
        assert settings.serve.url(settings.keys_dir) == "sqlite:////var/lib/lethe/service/service.db"
        assert "/var/lib/lethe/service" in mounts
    scheme = {
        probe["httpGet"].get("scheme", "HTTP") for name, probe in container.items() if name.endswith("Probe")
    }
    assert scheme == {"HTTPS" if values is SERVED else "HTTP"}
    assert container["args"] == ["serve"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["automountServiceAccountToken"] is False


def test_the_service_is_reached_from_where_it_is_said() -> None:
    policy = one("NetworkPolicy", *SERVED, component="service")["spec"]
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": "web", "protocol": "TCP"}]
    assert rule["from"]
    selectors = [
        one("Service", *SERVED, component=part)["spec"]["selector"] for part in ("worker", "service")
    ]
    assert selectors[0] != selectors[1]  # neither is taken for the other


def test_a_document_that_is_wrong_would_not_be_taken() -> None:
    wrong = one("Deployment", *BUCKET)
    wrong["spec"]["template"]["spec"]["containers"][0]["port"] = 9464
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("values", [BUCKET, EVERYTHING], ids=["bucket", "everything"])
def test_the_worker_accepts_its_environment_and_configuration(
    values: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (container,) = one("Deployment", *values)["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    (tmp_path / "lethe.toml").write_text(one("ConfigMap", *values)["data"]["lethe.toml"])
    assert environment.pop("LETHE_CONFIG") == "/etc/lethe/lethe.toml"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings: Settings = load(tmp_path / "lethe.toml")
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts[str(settings.keys_dir.parent)] == "keys"  # a folder of it: its root is open to the pod
    assert mounts[str(settings.audit_dir)] == "audit"
    assert settings.root.startswith("s3://") or mounts[settings.root] == "warehouse"
    assert settings.metrics_host == "0.0.0.0"
    assert {port["containerPort"] for port in container["ports"]} == {settings.metrics_port}
    assert container["args"] == ["worker"]


def test_a_worker_gains_no_rights_and_has_time_to_commit() -> None:
    pod = one("Deployment", *BUCKET)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["terminationGracePeriodSeconds"] > Settings().flush.seconds + 30
    assert container["image"].endswith(f":{lethe.__version__}")
    assert "memory" in container["resources"]["limits"]


def test_nobody_reaches_a_worker_but_for_its_metrics() -> None:
    policy = one("NetworkPolicy", *BUCKET)["spec"]
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    assert rule["from"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}


def test_the_autoscaler_alone_says_how_many_there_are() -> None:
    assert "replicas" not in one("Deployment", *EVERYTHING)["spec"]
    assert one("Deployment", *BUCKET)["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((), "give `root`"),
        ((*BUCKET, "warehouse.existingClaim=also"), "not both"),
        ((*BUCKET, "keys.existingClaim="), "keys"),
        ((*BUCKET, "wrokers=3"), "wrokers"),
        ((*BUCKET, "terminationGracePeriodSeconds=5"), "terminationGracePeriodSeconds"),
        ((*BUCKET, "service.enabled=true"), "databaseSecret"),
        ((*SMALL, "service.databaseSecret=also"), "not both"),
        ((*SMALL, "service.replicas=2"), "several replicas"),
        (("warehouse.root=/data",), "/warehouse/root"),  # of the pod: gone with it
        (("warehouse.root=cdr-lake/lethe",), "/warehouse/root"),
        ((*BUCKET, "autoscaling.enabled=true", "autoscaling.minReplicas=9"), "`maxReplicas`"),
        ((*BUCKET, "autoscaling.lagPerWorker=many"), "/autoscaling/lagPerWorker"),
        ((*BUCKET, "disruptionBudget.maxUnavalable=1"), "maxUnavalable"),
        ((*BUCKET, "secrets={Lethe_Kafka}"), "/secrets/0"),
        ((*BUCKET, "secretFiles={kafka/ca}"), "/secretFiles/0"),
        ((*BUCKET, "resources.limit.memory=4Gi"), "/resources"),
        ((*BUCKET, "tolerations={x}"), "/tolerations/0"),
        ((*SERVED, "service.from=[]"), "/service/from"),
        (
            (*BUCKET, "networkPolicy.egress=[{}]"),
            "/networkPolicy/egress/0",
        ),  # a rule of nothing is one of everything
    ],
)
def test_values_that_cannot_work_are_refused(values: tuple[str, ...], said: str) -> None:
    done = template(*values)
    assert done.returncode != 0
    assert said in done.stderr


def test_an_empty_list_of_who_may_come_lets_nobody_in() -> None:
    closed = (*SERVED, "networkPolicy.metricsFrom=[]", "networkPolicy.egress=[]", "service.egress=[]")
    policy = one("NetworkPolicy", *closed)["spec"]
    assert policy["ingress"] == []
    for component in ("worker", "service"):
        (dns,) = one("NetworkPolicy", *closed, component=component)["spec"]["egress"]
        assert {port["port"] for port in dns["ports"]} == {53}


def test_a_budget_of_ones_own_stands_in_the_place_of_the_default() -> None:
    spec = one("PodDisruptionBudget", *BUCKET, "disruptionBudget.minAvailable=50%")["spec"]
    assert (spec["minAvailable"], "maxUnavailable" in spec) == ("50%", False)


def test_a_pod_may_have_a_role_elsewhere() -> None:
    role = r"serviceAccount.annotations.eks\.amazonaws\.com/role-arn=arn:aws:iam::111122223333:role/lethe"
    for component in ("worker", "service"):
        account = one("ServiceAccount", *SERVED, role, component=component)
        assert list(account["metadata"]["annotations"]) == ["eks.amazonaws.com/role-arn"]


def test_the_longest_name_of_a_release_makes_names_that_kubernetes_takes() -> None:
    for document in rendered(*SERVED, release="r" * 53):
        assert len(document["metadata"]["name"]) <= 63


def test_a_service_that_leaves_answers_until_everybody_knows() -> None:
    pod = one("Deployment", *SERVED, component="service")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (waits,) = container["lifecycle"]["preStop"]["exec"]["command"][1:]
    assert pod["terminationGracePeriodSeconds"] > int(waits) + 10  # the server's own patience
