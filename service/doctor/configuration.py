"""The settings: each is valid, and each name that looks like one is one."""

from difflib import get_close_matches

from service.doctor.finding import Finding, failed, ok, together, warning
from service.doctor.setup import Setup
from service.settings import Settings

PREFIX = "ADAKRON_"
OF_THE_COMMANDS = ("ADAKRON_URL", "ADAKRON_KEY")  # read by the command line, not by a server


def settings(setup: Setup) -> Finding:
    """Valid values, and no name that nothing reads."""
    findings = [
        failed(f"{PREFIX}{name.upper()}: {message}", "docs/operations.md has every setting")
        for name, message in setup.wrong.items()
    ]
    known = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    given = [name for name in setup.environment if name.upper().startswith(PREFIX.rstrip("_"))]
    for name in sorted(given):
        if name.upper() in known or name in OF_THE_COMMANDS:
            continue
        near = get_close_matches(name[len(PREFIX) - 1 :].strip("_").lower(), Settings.model_fields, n=1)
        remedy = f"write {PREFIX}{near[0].upper()}" if near else "remove it"
        findings.append(warning(f"{name} is no setting, so nothing reads it", remedy))
    if findings:
        return together(findings)
    changed = [name for name in given if name.upper() in known and setup.environment[name]]
    return ok(f"{len(changed)} of {len(known)} are set" + (f": {', '.join(sorted(changed))}" if changed else ""))
