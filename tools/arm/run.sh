#!/bin/sh
# run CPU [--count FILE] [ARGUMENT...]: the emulated device's Python as CPU, on one core of this machine.
# Environment and standard streams pass through. With --count, FILE gets one JSON line for each region that the guest
# marks (icount.c says how).
set -eu
device=$(dirname "$(readlink -f "$0")")

die() { # what is wrong, what to do
  printf 'run: %s\n  fix: %s\n' "$1" "$2" >&2
  exit 2
}

cpu=${1:-}
line=
while read -r name columns; do
  [ "$name" != "$cpu" ] || line="$name $columns"
done <"$device/cpus"
case $cpu in '' | '#') line= ;; esac
[ -n "$line" ] ||
  die "no CPU is called '$cpu'" "use one of: $(sed -n '/^[^#]/s/ .*//p' "$device/cpus" | tr '\n' ' ')"
shift

plugin=
if [ "${1:-}" = --count ]; then
  [ $# -ge 2 ] || die "--count needs a file" "run $cpu --count FILE ..."
  [ -f "$device/icount.so" ] ||
    die "this device cannot count instructions: $(cat "$device/plugin_absent")" "set it up again where it can"
  case $2 in /*) QBENCH_COUNT_FILE=$2 ;; *) QBENCH_COUNT_FILE=$PWD/$2 ;; esac
  (: >"$QBENCH_COUNT_FILE") 2>/dev/null || die "cannot write $2" "name a file in a folder that exists and is writable"
  export QBENCH_COUNT_FILE PYTHONHASHSEED="${PYTHONHASHSEED:-0}" # another seed counts otherwise
  plugin=$device/icount.so
  shift 2
fi

# The first core that this process may use: any other is refused, and so is a core that the guest's files do not list.
core=0
while read -r key value; do
  [ "$key" != Cpus_allowed_list: ] || core=${value%%[,-]*}
done </proc/self/status

# What the guest is shown in place of this machine: its libraries, and the CPU's own cpuinfo and sysfs. Every core up to
# the one in use is listed: openvino refuses to run on a core that is not.
shown=$device/shown/$cpu/$core
show() {
  made=$(mktemp -d "$device/shown/XXXXXX") || return 1
  # shellcheck disable=SC2086  # the line's words are the table's columns
  set -- $line
  variant=$2 part=$3 revision=$4
  shift 4
  mkdir -p "$made/usr" "$made/proc" "$made/sys/devices/system/cpu"
  ln -s ../../../root/lib "$made/lib"
  ln -s ../../../../root/usr/lib "$made/usr/lib"
  listed=0
  while [ "$listed" -le "$core" ]; do
    registers=$made/sys/devices/system/cpu/cpu$listed/regs/identification
    mkdir -p "$registers"
    printf '0x%016x\n' $((0x410f0000 | variant << 20 | part << 4 | revision)) >"$registers/midr_el1"
    printf 'processor\t: %s\nBogoMIPS\t: 100.00\nFeatures\t: %s\nCPU implementer\t: 0x41\n' "$listed" "$*"
    printf 'CPU architecture: 8\nCPU variant\t: %s\nCPU part\t: %s\nCPU revision\t: %s\n\n' "$variant" "$part" "$revision"
    listed=$((listed + 1))
  done >"$made/proc/cpuinfo"
  list=0
  [ "$core" = 0 ] || list=0-$core
  for file in possible present online; do echo "$list" >"$made/sys/devices/system/cpu/$file"; done
  chmod 755 "$made"
  mkdir -p "$device/shown/$cpu"
  mv -T "$made" "$shown" 2>/dev/null || rm -rf "$made" # another run was first
}
if [ ! -d "$shown" ]; then
  show && [ -d "$shown" ] || die "$device has no files for core $core and cannot be written" \
    "run this once as its owner: taskset -c $core $device/run $cpu -c pass"
fi

set -- -cpu "$cpu" -L "$shown" "$device/root/usr/bin/python3.11" "$@"
[ -z "$plugin" ] || set -- -plugin "$plugin" "$@"
if [ -f "$device/qemu" ]; then
  set -- "$(cat "$device/qemu")" "$@"
else # the fetched one, with libraries of its own: this machine's may be other versions
  host=$device/host libraries=lib/x86_64-linux-gnu
  set -- "$host/$libraries/ld-linux-x86-64.so.2" --library-path "$host/$libraries:$host/usr/$libraries" \
    "$host/usr/bin/qemu-aarch64" "$@"
fi
export PYTHONNOUSERSITE=1 # a user's own packages are this machine's, not the device's
unset PYTHONHOME
exec taskset -c "$core" "$@"
