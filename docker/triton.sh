#!/bin/sh
# torch's CUDA build brings Triton, which compiles one C file before it launches the first kernel, always the same one.
# `triton.sh /venv` compiles it at the build, and puts a "compiler" into the environment that hands the result out.
# It does nothing without Triton.
set -eu
environment=$1
cd "$environment"/lib/python3.*/site-packages/triton/backends/nvidia 2>/dev/null || exit 0

# The driver's own library comes with the GPU; to link, its name is enough.
stub=$(mktemp -d)
gcc -shared -Wl,-soname,libcuda.so.1 -o "$stub/libcuda.so.1" -x c /dev/null
gcc driver.c -O3 -shared -fPIC -Wno-psabi -I include \
    -I "$(python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')" \
    -Wl,--no-as-needed -L "$stub" -l:libcuda.so.1 -o "$environment/lib/triton-driver.so"
rm -r "$stub"

cat > "$environment/bin/triton-cc" <<END
#!/bin/sh
# Called as \`triton-cc driver.c ... -o FILE ...\`; see docker/triton.sh.
while [ "\$1" != -o ]; do shift; done
exec cp "$environment/lib/triton-driver.so" "\$2"
END
chmod +x "$environment/bin/triton-cc"
