"""`atelier settings`: what a studio's admin may set."""

import click

from atelier.cli.columns import TENANT_DETAILS
from atelier.cli.session import Session, in_session
from atelier.cli.values import PICTURE_FORMAT
from atelier.v1.image_pb2 import OutputFormat
from atelier.v1.tenant_service_pb2 import TenantSettings


@click.command("settings")
@click.option(
    "--picture-format",
    type=PICTURE_FORMAT,
    help="Of pictures whose spec names none, from now on.",
)
@click.option(
    "--picture-format-unset", is_flag=True, help="Leave the format to the installation again."
)
@in_session
def studio_settings(
    session: Session,
    *,
    picture_format: "OutputFormat.ValueType | None",
    picture_format_unset: bool,
) -> None:
    """Show the studio; with options, change its settings (admin's key)."""
    if picture_format is not None and picture_format_unset:
        raise click.UsageError("--picture-format and --picture-format-unset exclude each other")
    with session.open_client() as client:
        if picture_format is None and not picture_format_unset:
            session.output.show_one(client.get_tenant(), TENANT_DETAILS)
            return
        settings = TenantSettings(
            default_output_format=picture_format or OutputFormat.OUTPUT_FORMAT_UNSPECIFIED
        )
        changed = client.update_tenant_settings(settings, ["default_output_format"])
        session.output.show_one(changed, TENANT_DETAILS)
