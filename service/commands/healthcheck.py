"""The container's HEALTHCHECK, `python -m service.commands.healthcheck`: exit code 0 if the server is ready, else 1.

It reads the server's settings to find the port, and ignores proxies of the environment.
"""

import os
import sys
from collections.abc import Mapping
from urllib.request import ProxyHandler, build_opener

from service.settings import read_settings
from service.settings.web import url_of

TIMEOUT_S = 4.0  # less than the timeout of HEALTHCHECK, so that the container's state shows the reason


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Return the exit code for the server that `environ` configures."""
    settings = read_settings({}, environ).settings
    url = f"{url_of(settings.host, settings.port)}/health/ready"
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=TIMEOUT_S) as answer:
            print(f"{url}: {answer.status}")
    except OSError as error:
        print(f"{url}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
