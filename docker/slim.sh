#!/bin/sh
# Remove the files of an environment that the service never reads; docs/deployment.md has the sizes. `slim.sh /venv`
set -eu
cd "$1"/lib/python3.*/site-packages

# Headers, libraries to link with, and test programs. torch looks for its shm manager whenever it is imported.
rm -rf torch/include torch/share torch/test
find torch/bin -type f ! -name torch_shm_manager -delete
find numpy sympy mpmath networkx -type d -name tests -prune -exec rm -rf {} +

# Symbols that only a debugger reads.
strip --strip-unneeded torch/lib/libtorch_cpu.so torch/lib/libtorch_python.so
