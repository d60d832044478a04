"""Bring a database to the newest schema: `python -m database`, `atelier-migrate`.

For installations that bring their own PostgreSQL; standalone migrates its embedded one by itself.
"""

import sys

import psycopg
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from database.errors import MigrationError
from database.migration_runner import migrate
from database.roles import RUN_TIME_ROLES
from database.secrets_directory import secrets_directory


class Settings(BaseSettings):
    """What the migration needs, from ATELIER_DATABASE_…."""

    model_config = SettingsConfigDict(env_prefix="ATELIER_DATABASE_", frozen=True)

    admin_url: SecretStr = Field(description="URL of an administrator of the server")
    role_passwords: dict[str, SecretStr] = Field(
        default={}, description="JSON: role → password; the named roles may log in afterwards"
    )


def main() -> None:
    """Migrate, tell what was applied, exit 1 with the reason when it cannot be done."""
    try:
        settings = Settings(_secrets_dir=secrets_directory())  # pyright: ignore[reportCallIssue]
        applied = migrate(
            settings.admin_url.get_secret_value(),
            role_passwords={
                role: password.get_secret_value()
                for role, password in settings.role_passwords.items()
            },
        )
    except ValidationError as error:
        sys.exit(f"{error}\nRoles that can log in: {', '.join(RUN_TIME_ROLES)}")
    except (MigrationError, psycopg.Error) as error:
        sys.exit(f"migration stopped: {error}")
    for migration in applied:
        print(f"applied {migration.number:04d} {migration.title}")
    print(f"{len(applied)} applied, the schema is up to date")


if __name__ == "__main__":
    main()
