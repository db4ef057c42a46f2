"""Run benchmarks by name, each in a process of its own with its defaults: python -m benchmarks service kernels."""

import subprocess
import sys

NAMES = {  # README.md says what each measures; the result of NAME is results/NAME.json
    "roofline": "benchmarks.engine.roofline",
    "kernels": "benchmarks.engine.kernels",
    "types": "benchmarks.engine.types",
    "training": "benchmarks.engine.training",
    "service": "benchmarks.serving.service",
    "http_cost": "benchmarks.serving.http_cost",
    "one_client": "benchmarks.serving.one_client",
    "adapters_sweep": "benchmarks.serving.adapters_sweep",
    "hot_swap": "benchmarks.serving.hot_swap",
    "overload": "benchmarks.serving.overload",
    "fairness": "benchmarks.serving.fairness",
    "equal_clients": "benchmarks.serving.equal_clients",
    "wrong_adapter": "benchmarks.serving.wrong_adapter",
    "start": "benchmarks.serving.start",
    "access_log": "benchmarks.serving.access_log",
    "uploads": "benchmarks.serving.uploads",
    "backup": "benchmarks.serving.backup",
    "peers": "benchmarks.peers",
}


def main(names: list[str]) -> None:
    """Run all of `names`; exits with 1 if one of them fails, with 2 if there is an unknown one."""
    if unknown := [name for name in names if name not in NAMES]:
        print(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}", file=sys.stderr)
        sys.exit(2)
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, "-m", NAMES[name]], check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
