"""The reference of the Python SDK: what mkdocstrings is to read."""

from collections.abc import Mapping

_MODULES = {
    "client": ("The client", ("atelier.async_client", "atelier.client")),
    "calls": (
        "The verbs",
        (
            "atelier.job_calls",
            "atelier.image_calls",
            "atelier.usage_calls",
            "atelier.billing_calls",
            "atelier.margin_calls",
            "atelier.tenant_calls",
            "atelier.fleet_calls",
            "atelier.audit_calls",
            "atelier.installation_calls",
        ),
    ),
    "errors": ("Errors and retries", ("atelier.errors", "atelier.retries")),
    "values": (
        "Pictures, files, money",
        ("atelier.pictures", "atelier.files", "atelier.money", "atelier.job_states"),
    ),
    "testing": ("Testing", ("atelier.testing.installation", "atelier.testing.fixtures")),
    "doctor": ("The doctor", ("atelier.doctor",)),
}


def pages() -> Mapping[str, str]:
    """Make the pages: path → Markdown."""
    return {
        f"reference/python/{name}.md": f"# {title}\n\n"
        + "\n".join(f"::: {module}\n" for module in modules)
        for name, (title, modules) in _MODULES.items()
    }
