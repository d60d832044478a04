"""The reference of the command line, from the commands themselves."""

from collections.abc import Iterator, Mapping

import click

from atelier.cli.main import atelier

# Every command has them; told once.
_COMMON = {"--address", "--api-key", "--tenant", "--format"}


def pages() -> Mapping[str, str]:
    """Make the page: path → Markdown."""
    return {"reference/cli.md": "\n".join(_lines())}


def _lines() -> Iterator[str]:
    yield "# The command line\n"
    yield "Exit codes: 0 all images came, 1 some did not (or a doctor found a failure), 2 used"
    yield "wrongly, 3 refused, or nobody there. Results go to the standard output, progress to the"
    yield "standard error.\n"
    yield "Every command takes these options, before it or behind it:\n"
    yield from _options(atelier, common=True)
    for name, command in sorted(atelier.commands.items()):
        yield from _command(command, f"atelier {name}")


def _command(command: click.Command, path: str) -> Iterator[str]:
    depth = "#" * min(path.count(" ") + 1, 4)
    yield f"\n{depth} {path}\n"
    yield (command.help or "").strip() + "\n"
    if isinstance(command, click.Group) and not command.invoke_without_command:
        yield ""
    else:
        context = click.Context(command, info_name=path)
        yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
        yield from _options(command, common=False)
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from _command(child, f"{path} {name}")


def _options(command: click.Command, *, common: bool) -> Iterator[str]:
    told = [
        option
        for option in command.params
        if isinstance(option, click.Option) and bool(_COMMON & set(option.opts)) is common
    ]
    if not told:
        return
    yield "| option | meaning |\n| --- | --- |"
    for option in told:
        names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
        yield f"| {names} | {(option.help or '').replace('|', chr(92) + '|')} |"
    yield ""
