"""The settings: each is valid, each variable that looks like a setting is one, and what Kubernetes adds is told."""

from service.doctor.finding import Finding, failed, ok, together, warning
from service.doctor.setup import Setup
from service.settings import Settings
from service.settings.environment import Environment


def settings(setup: Setup) -> Finding:
    """Valid values, and no variable that would keep a server from starting."""
    environment = Environment.read(setup.environment, Settings.model_fields)
    findings = [failed(str(problem), "docs/configuration.md has every setting") for problem in setup.problems]
    if environment.links:
        findings.append(
            warning(
                f"{', '.join(environment.links)}: ignored, as Kubernetes sets them for a Service of that name",
                "enableServiceLinks: false in the Pod leaves them out",
            )
        )
    if findings:
        return together(findings)
    changed = sorted(environment.variables[name] for name in environment.values)
    return ok(
        f"{len(changed)} of {len(Settings.model_fields)} are set" + (f": {', '.join(changed)}" if changed else "")
    )
