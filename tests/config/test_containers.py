"""What compose.yaml and Dockerfile promise: who has which door, and that each command exists."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands, load_command_class
from launch.secrets import MAKERS, ensure_secrets
from launch.settings import NAMES

ROOT = Path(__file__).resolve().parent.parent.parent
SOCKET = "/var/run/docker.sock"
OWN = {"migrate", "web", "worker", "relay", "worker-sandbox"}
BACKGROUND = {"worker", "relay", "worker-sandbox"}
# Of compose itself, not of Lemnos's processes.
OF_COMPOSE = {
    "LEMNOS_IMAGE", "LEMNOS_BASE", "LEMNOS_POSTGRES_IMAGE", "LEMNOS_REDIS_IMAGE",
    "POSTGRES_PASSWORD", "DOCKER_GID",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    return instructions()


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, in their order, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(word, rest) for word, rest in (line.split(None, 1) for line in lines if line.strip())]


def only(dockerfile, instruction) -> str:
    (found,) = [rest for word, rest in dockerfile if word == instruction]
    return found


def volumes(service) -> set[str]:
    return {text.split(":")[1] for text in service.get("volumes", [])}


class TestCompose:
    def test_runs_each_kind_of_process_as_often_as_it_should(self, services):
        replicas = {
            name: service.get("deploy", {}).get("replicas", 1) for name, service in services.items()
        }

        assert set(services) == {*OWN, "postgres", "redis"}
        assert replicas == {
            "migrate": 1, "web": 2, "worker": 2, "relay": 2,
            "worker-sandbox": 1, "postgres": 1, "redis": 1,
        }  # fmt: skip

    def test_only_the_sandbox_worker_has_the_engine_and_it_has_no_port(self, services):
        with_socket = {name for name, service in services.items() if SOCKET in volumes(service)}
        with_ports = {name for name, service in services.items() if service.get("ports")}

        assert with_socket == {"worker-sandbox"}
        assert with_ports == {"web"}
        assert "DOCKER_HOST" not in services["web"]["environment"]
        assert services["worker-sandbox"]["profiles"] == ["sandbox"]
        assert all(not services[name].get("profiles") for name in OWN - {"worker-sandbox"})

    def test_the_web_processes_are_reached_from_this_machine_alone(self, services):
        assert services["web"]["ports"] == ["127.0.0.1:8000-8009:8000"]

    @pytest.mark.parametrize("name", sorted(OWN))
    def test_each_of_our_containers_is_hardened_and_given_time_to_end(self, services, name):
        service = services[name]

        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")
        assert "user" not in service  # the image's, which is not root
        assert service["stop_grace_period"] == "40s"
        assert volumes(service) - {SOCKET} == {"/data"}
        assert int(service["environment"]["LEMNOS_SHUTDOWN_SECONDS"]) + 5 < 40

    def test_migrates_once_and_before_anything_else(self, services):
        assert services["migrate"]["restart"] == "no"
        assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        for name in OWN - {"migrate"}:
            needed = {"migrate": {"condition": "service_completed_successfully"}}
            assert services[name]["depends_on"] == needed
            assert services[name]["restart"] == "unless-stopped"

    def test_every_host_gets_the_same_secrets_and_none_stands_in_the_file(self, services):
        for name in OWN:
            environment = services[name]["environment"]
            for secret in ("SECRET_KEY", "TOKEN_PEPPERS", "WEBHOOK_KEY", "ADMIN_PASSWORD"):
                assert environment[f"LEMNOS_{secret}"].startswith(f"${{LEMNOS_{secret}:?")
            assert "${POSTGRES_PASSWORD:?" in environment["DATABASE_URL"]
            assert services[name]["env_file"] == [{"path": ".env", "required": False}]

    def test_every_setting_in_it_exists(self, services):
        for name in OWN:
            assert set(services[name]["environment"]) <= NAMES
        text = (ROOT / "compose.yaml").read_text()
        assert set(re.findall(r"\$\{([A-Z_]+)", text)) <= NAMES | OF_COMPOSE

    @pytest.mark.parametrize("name", sorted(OWN))
    def test_every_command_in_it_exists_and_takes_its_arguments(self, services, name):
        python, script, command, *arguments = services[name]["command"]

        assert (python, script) == ("python3", "manage.py")
        made = load_command_class(get_commands()[command], command)
        options = made.create_parser("manage.py", command).parse_args(arguments)
        if name == "worker-sandbox":
            assert options.queues == "sandbox"

    def test_the_healthcheck_of_the_image_is_asked_of_web_alone(self, services):
        assert "healthcheck" not in services["web"]
        for name in BACKGROUND | {"migrate"}:
            assert services[name]["healthcheck"] == {"disable": True}

    def test_the_trusted_proxy_is_the_gateway_of_the_network(self, compose, services):
        (network,) = compose["networks"]["inside"]["ipam"]["config"]

        trusted = services["web"]["environment"]["LEMNOS_TRUSTED_PROXIES"]
        assert trusted == f"${{LEMNOS_TRUSTED_PROXIES:-{network['gateway']}}}"

    def test_keeps_postgres_where_version_18_has_its_data(self, services):
        assert services["postgres"]["image"].endswith("pgvector/pgvector:pg18}")
        assert volumes(services["postgres"]) == {"/var/lib/postgresql"}

    def test_the_engine_s_own_tool_reads_it(self):
        if not has_compose():
            pytest.skip("compose: docker compose is not installed")
        secrets = dict(line.split("=", 1) for line in env_file())

        read = subprocess.run(
            ["docker", "compose", "--profile", "sandbox", "config", "--format", "json"],
            cwd=ROOT, env={**os.environ, **secrets}, check=False, capture_output=True, text=True,
        )  # fmt: skip

        assert read.returncode == 0, read.stderr
        assert set(json.loads(read.stdout)["services"]) == {*OWN, "postgres", "redis"}


class TestSecrets:
    def test_the_env_file_has_all_that_is_asked_for_in_the_launcher_s_own_form(
        self, tmp_path, monkeypatch
    ):
        for name in MAKERS:
            monkeypatch.delenv(name, raising=False)
        made = dict(line.split("=", 1) for line in env_file())

        asked = set(re.findall(r"\$\{([A-Z_]+):\?", (ROOT / "compose.yaml").read_text()))
        assert asked <= set(made)
        assert all(made.values())
        for name, value in ensure_secrets(tmp_path).items():
            assert len(made[name]) == len(value)
        assert dict(line.split("=", 1) for line in env_file()) != made


class TestDockerfile:
    def test_is_slim_and_lets_the_base_be_chosen(self, dockerfile):
        assert dockerfile[0] == ("ARG", "BASE=python:3.13-slim")
        assert dockerfile[1] == ("FROM", "${BASE}")

    def test_runs_as_nobody_in_particular_with_its_data_in_one_place(self, dockerfile):
        assert only(dockerfile, "USER") == "10001:10001"
        assert json.loads(only(dockerfile, "VOLUME")) == ["/data"]
        assert "install -d -o 10001 -g 10001 -m 0700 /data" in " ".join(
            rest for word, rest in dockerfile if word == "RUN"
        )
        assert environment_of(dockerfile)["LEMNOS_DATA_DIR"] == "/data"
        assert [word for word, _ in dockerfile].index("USER") > max(
            number for number, (word, _) in enumerate(dockerfile) if word == "RUN"
        )

    def test_writes_nothing_while_it_runs_but_data_and_tmp(self, dockerfile):
        environment = environment_of(dockerfile)

        assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
        assert environment["HOME"] == "/tmp"

    def test_asks_livez_for_health_and_ends_by_sigterm(self, dockerfile):
        assert "/livez" in only(dockerfile, "HEALTHCHECK")
        assert only(dockerfile, "STOPSIGNAL") == "SIGTERM"
        assert json.loads(only(dockerfile, "CMD")) == ["python3", "manage.py", "web"]

    def test_knows_every_setting_it_makes(self, dockerfile):
        own = {name for name in environment_of(dockerfile) if name.startswith("LEMNOS_")}

        assert own <= NAMES

    def test_brings_no_secret_and_nothing_made_here(self):
        ignored = (ROOT / ".dockerignore").read_text().splitlines()

        assert {".git", ".venv", "var", ".env"} <= set(ignored)
        assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


def health_command() -> list[str]:
    """What the engine runs inside a container to ask for its health."""
    text = (ROOT / "Dockerfile").read_text()
    return json.loads(re.search(r"HEALTHCHECK.*?CMD (\[.*?\])\n", text, re.DOTALL)[1])


def dockerfile_environment() -> dict[str, str]:
    return environment_of(instructions())


def environment_of(dockerfile) -> dict[str, str]:
    return dict(word.split("=", 1) for word in shlex.split(only(dockerfile, "ENV")))


def env_file() -> list[str]:
    made = subprocess.run(
        [sys.executable, ROOT / "deploy" / "make_env.py"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return made.stdout.splitlines()


def has_compose() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    asked = subprocess.run([docker, "compose", "version"], check=False, capture_output=True)
    return asked.returncode == 0
