#!/bin/sh
# run-x86 CPU PYTHON [ARGUMENT...]: this machine's own Python on a lesser x86 processor, emulated: Haswell has AVX2 and
# no AVX-512. Environment and standard streams pass through; what it answers counts, what it takes does not.
set -eu
device=$(dirname "$(readlink -f "$0")")

die() { # what is wrong, what to do
  printf 'run-x86: %s\n  fix: %s\n' "$1" "$2" >&2
  exit 2
}

[ $# -ge 2 ] || die "it needs a processor and a Python" "run-x86 Haswell /usr/bin/python3 -c pass"
cpu=$1 python=$2
shift 2

# The first core that this process may use: an engine that finds one core starts one thread.
core=0
while read -r key value; do
  [ "$key" != Cpus_allowed_list: ] || core=${value%%[,-]*}
done </proc/self/status

set -- -cpu "$cpu" "$python" "$@"
host=$device/host libraries=lib/x86_64-linux-gnu
if [ -x "$host/usr/bin/qemu-x86_64" ]; then # the fetched one, with libraries of its own: this machine's may be other versions
  set -- "$host/$libraries/ld-linux-x86-64.so.2" --library-path "$host/$libraries:$host/usr/$libraries" \
    "$host/usr/bin/qemu-x86_64" "$@"
elif command -v qemu-x86_64 >/dev/null; then
  set -- qemu-x86_64 "$@"
else
  die "there is no qemu-x86_64" "run tools/setup_arm.sh without QBENCH_QEMU: it fetches one"
fi
exec taskset -c "$core" "$@"
