"""script/manage: any command of manage.py with the installation's own database and secrets."""

import os
import subprocess
from pathlib import Path

from launch.failure import ALREADY_RUNNING, WRONG_SETTING, Failure, Stopped
from launch.place import find_place
from launch.postgres import Postgres
from launch.secrets import ensure_secrets
from launch.server import DATABASE, Server
from launch.settings import read_options


class Manager(Server):
    """Beside a running server it uses its database, else it starts the database for the command."""

    def command(self, arguments: list[str]) -> int:
        try:
            lock = self.prepare_data_dir()
        except Failure as failure:
            if failure.code != ALREADY_RUNNING:
                raise
            return self.beside_the_server(arguments)
        try:
            self.venv.ensure()
            self.secrets = ensure_secrets(self.data_dir / "secrets")
            self.start_database()
            return self.call(arguments)
        except Stopped:
            return 1
        finally:
            self.signals.interrupt = False
            self.supervisor.stop(self.options.shutdown_seconds)
            lock.release()

    def beside_the_server(self, arguments: list[str]) -> int:
        self.secrets = ensure_secrets(self.data_dir / "secrets")
        self.set_environment()
        if not self.options.database_url:
            place = find_place(site_packages=self.venv.site_packages, data_dir=self.data_dir)
            self.environment["DATABASE_URL"] = Postgres(place, self.log("postgres")).url(DATABASE)
        return self.call(arguments)

    def call(self, arguments: list[str]) -> int:
        command = [str(self.venv.python), str(self.root / "manage.py"), *arguments]
        process = subprocess.Popen(command, env=self.environment)
        try:
            return process.wait()
        except Stopped:
            process.terminate()
            process.wait()
            raise


def main(root: Path, arguments: list[str]) -> int:
    if not arguments:
        raise Failure(WRONG_SETTING, "script/manage needs a command, such as: script/manage backup")
    os.umask(0o022)
    return Manager(root, read_options(root)).command(arguments)
