"""Whether the server of this container is ready: `python -m service.commands.healthcheck`, for HEALTHCHECK.

It reads the same settings as the server, so it asks on the port that they name, and it asks past any proxy of the
environment. The exit code is 0 or 1.
"""

import os
import sys
from collections.abc import Mapping
from urllib.request import ProxyHandler, build_opener

from service.settings import read_settings
from service.settings.web import url_of

TIMEOUT_S = 4.0  # less than that of HEALTHCHECK, so that the container's state says why


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Ask the server that the settings in `environ` describe."""
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
