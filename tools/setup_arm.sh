#!/bin/sh
# setup_arm.sh [DIR]: an emulated 64-bit ARM device in DIR: DIR/run CPU [--count FILE] [python's arguments...].
#
# Debian bookworm's Python 3.11 and qemu-user (apt checks the signatures), and the engines of arm/requirements.txt (pip
# or uv checks the hashes), unpacked into one folder: no root, no chroot, no binfmt_misc, nothing installed. It is built
# beside DIR and renamed, so a DIR with a device.json is complete, and is left as it is while these files are unchanged.
#
#   QBENCH_DEBIAN_MIRROR  a Debian mirror in place of the one that this machine's own apt uses
#   QBENCH_QEMU           a qemu-aarch64 of your own, 7.2 or newer, in place of Debian's
set -eu
here=$(cd "$(dirname "$0")" && pwd)/arm
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

die() { # what is wrong, what to do
  printf 'setup_arm.sh: %s\n  fix: %s\n' "$1" "$2" >&2
  exit 2
}

say() { printf 'setup_arm.sh: %s\n' "$1" >&2; }

# --- what this machine must have ---------------------------------------------------------------------------------------

check_machine() {
  [ "$(uname -s)" = Linux ] || die "this is $(uname -s), not Linux" "run it on Linux, or in a Debian 12 container"
  [ "$(uname -m)" = x86_64 ] || die "this is a $(uname -m) machine, the emulator here is for x86_64" \
    "run it on x86_64; an aarch64 machine is an ARM device itself"
  for tool in apt-get apt-config dpkg-deb; do
    command -v $tool >/dev/null || die "$tool is missing: the device's programs are Debian packages" \
      "on Debian or Ubuntu: apt-get install apt dpkg; elsewhere run this in a Debian 12 container"
  done
  [ -f "$KEYRING" ] || die "Debian's signing keys are missing ($KEYRING)" "apt-get install debian-archive-keyring"
  for tool in taskset flock sha256sum; do
    command -v $tool >/dev/null || die "$tool is missing" "apt-get install util-linux coreutils"
  done
}

find_installer() { # what can install wheels for another machine: uv or a python with pip
  for uv in uv "$here/../../.venv/bin/uv"; do
    ! command -v "$uv" >/dev/null || return 0
  done
  uv=
  for python in python3 "$here/../../.venv/bin/python"; do
    ! "$python" -m pip --version >/dev/null 2>&1 || return 0
  done
  die "neither uv nor python3 with pip was found" "apt-get install python3-pip, or install uv"
}

compiler() { command -v "${CC:-cc}" || command -v gcc || command -v clang || true; }

qemu_version() { "$@" --version 2>/dev/null | sed -n '1s/.*version \([0-9][0-9.]*\).*/\1/p'; }

check_own_qemu() {
  version=$(qemu_version "$QBENCH_QEMU") || true
  minor=${version#*.}
  case $version in
    [0-9]*.[0-9]*) ;;
    *) die "QBENCH_QEMU=$QBENCH_QEMU does not tell its version" "name a qemu-aarch64 program, or unset QBENCH_QEMU" ;;
  esac
  [ "${version%%.*}" -gt 7 ] || { [ "${version%%.*}" = 7 ] && [ "${minor%%.*}" -ge 2 ]; } ||
    die "QBENCH_QEMU=$QBENCH_QEMU is version $version, at least 7.2 is needed" \
      "unset QBENCH_QEMU (7.2 is fetched then), or name a newer one"
}

# --- the steps ---------------------------------------------------------------------------------------------------------

mirror() { # the Debian mirror that this machine's own apt uses
  [ -z "${QBENCH_DEBIAN_MIRROR:-}" ] || { echo "$QBENCH_DEBIAN_MIRROR"; return; }
  # shellcheck disable=SC2016  # apt's own variables
  found=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' "Created-By: Packages" |
    grep -E '^(bookworm|trixie|forky|sid|oldstable|stable|testing|unstable) ' | sort | sed -n '1s/^[^ ]* //p')
  [ -n "$found" ] || die "this machine's apt has no Debian mirror" "set QBENCH_DEBIAN_MIRROR to one that you trust"
  echo "$found"
}

fetch_debian() { # into apt/archives, with lists and a state of our own
  mkdir -p "$new/apt/lists/partial" "$new/apt/archives/partial" "$new/apt/none"
  : >"$new/apt/status"
  {
    # how this machine reaches its mirrors (proxies, certificates); none of its hooks
    apt-config dump | grep -E '^Acquire::(https?|Retries|ForceIPv[46]|Check-Valid-Until|Check-Date)\b' || true
    cat <<EOF
Acquire::http::Timeout "20"; Acquire::https::Timeout "20"; Acquire::Languages "none"; APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false"; APT::Get::AllowUnauthenticated "false"; APT::Sandbox::User "";
APT::Architecture "arm64"; APT::Architectures { "arm64"; "amd64"; }; APT::Install-Recommends "false";
Dir::State "$new/apt"; Dir::State::status "$new/apt/status"; Dir::Cache "$new/apt"; Dir::Log "$new/apt";
Dir::Etc::sourcelist "$new/apt/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::main "/dev/null"; Dir::Etc::parts "$new/apt/none";
Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
EOF
  } >"$new/apt/conf"
  from=$(mirror)
  echo "deb [signed-by=$KEYRING] $from bookworm main" >"$new/apt/sources.list"
  emulator=qemu-user:amd64
  [ -z "${QBENCH_QEMU:-}" ] || emulator=
  { # shellcheck disable=SC2086
    APT_CONFIG=$new/apt/conf apt-get -qq update &&
      APT_CONFIG=$new/apt/conf apt-get -qqy --download-only install \
        python3-minimal libpython3-stdlib libstdc++6 libgomp1 zlib1g $emulator
  } >"$new/apt/log" 2>&1 || {
    sed 's/^/  apt: /' "$new/apt/log" >&2
    die "Debian bookworm's packages could not be fetched from $from" \
      "see apt's words above: without a network, use a machine that has one; or set QBENCH_DEBIAN_MIRROR to another mirror"
  }
}

unpack() { # the guest's packages into root, the emulator's into host
  for deb in "$new"/apt/archives/*.deb; do
    case $deb in *_amd64.deb) into=host ;; *) into=root ;; esac
    dpkg-deb -x "$deb" "$new/$into"
  done
  rm -f "$new/root/usr/lib/python3.11/sitecustomize.py" # a link into /etc: this machine's own file would be read
}

install_wheels() { # for the guest, whatever this machine is
  set -- --no-deps --only-binary :all: --require-hashes --python-version 3.11 -q \
    --target "$new/root/usr/lib/python3/dist-packages" -r "$here/requirements.txt"
  if [ -n "$uv" ]; then
    set -- "$uv" pip install --python-platform aarch64-manylinux_2_35 "$@"
  else
    for glibc in 17 27 28 31 34 35; do set -- --platform "manylinux_2_${glibc}_aarch64" "$@"; done
    set -- "$python" -m pip install --no-compile --implementation cp "$@"
  fi
  exec "$@" >"$new/wheels.log" 2>&1
}

build_plugin() { # or write why there is none
  if [ -z "$(compiler)" ]; then
    echo "no C compiler was found when it was set up" >"$new/plugin_absent"
  elif ! "$(compiler)" -O2 -shared -fPIC -o "$new/icount.so" "$here/icount.c" 2>"$new/plugin.log"; then
    echo "$(compiler) could not build the plugin: $(head -n 1 "$new/plugin.log")" >"$new/plugin_absent"
  elif ! "$new/run" neoverse-n1 --count "$new/count" -c '
import os
try: os.getpgid(0x5aa50001)
except ProcessLookupError: pass' 2>"$new/plugin.log" || [ ! -s "$new/count" ]; then
    echo "this qemu does not take the plugin: $(head -n 1 "$new/plugin.log")" >"$new/plugin_absent"
  fi
  [ ! -f "$new/plugin_absent" ] || { rm -f "$new/icount.so" && say "no instruction counts: $(cat "$new/plugin_absent")"; }
}

write_manifest() { # by the device itself, once each CPU has run an engine
  cpus=$(sed -n '/^[^#]/s/ .*//p' "$here/cpus")
  debs=$(cd "$new/apt/archives" && echo *.deb)
  version=${QBENCH_QEMU:-}
  if [ -n "$version" ]; then
    version=$(qemu_version "$QBENCH_QEMU")
  else
    libraries=$new/host/lib/x86_64-linux-gnu
    version=$(qemu_version "$libraries/ld-linux-x86-64.so.2" \
      --library-path "$libraries:$new/host/usr/lib/x86_64-linux-gnu" "$new/host/usr/bin/qemu-aarch64")
  fi
  absent=$(cat "$new/plugin_absent" 2>/dev/null || true)
  # shellcheck disable=SC2086  # one word a line becomes one line
  cpus=$(echo $cpus)
  for cpu in $cpus; do
    # what it imports is compiled here, once
    env -u PYTHONDONTWRITEBYTECODE -u PYTHONPATH "$new/run" "$cpu" "$here/manifest.py" \
      "$version" "$absent" "$recipe" "$cpus" "$debs" >"$new/manifest.$cpu" 2>"$new/manifest.log" || {
      sed 's/^/  device: /' "$new/manifest.log" >&2
      die "the emulated $cpu does not work" "see its words above; with QBENCH_QEMU set, try without"
    }
  done
  mv "$new/manifest.$cpu" "$new/device.json"
}

# --- in order ----------------------------------------------------------------------------------------------------------

[ $# -le 1 ] || die "expected one folder, found $# arguments" "setup_arm.sh [DIR]"
[ -n "${1:-${QBENCH_CACHE:-${XDG_CACHE_HOME:-${HOME:-}}}}" ] || die "no folder was named, and there is no home" \
  "setup_arm.sh DIR"
DIR=${1:-${QBENCH_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/qbench}/arm}
case $DIR in *,*) die "a comma in '$DIR' would end a qemu option" "name a folder without one" ;; esac
check_machine
[ -z "${QBENCH_QEMU:-}" ] || check_own_qemu
find_installer
(mkdir -p "$(dirname "$DIR")" && : >>"$DIR.lock") 2>/dev/null ||
  die "cannot write in $(dirname "$DIR")" "name a folder where you may: setup_arm.sh DIR"
DIR=$(cd "$(dirname "$DIR")" && pwd)/$(basename "$DIR")
recipe=$( (echo "${QBENCH_QEMU:-}" && cat "$0" "$here"/*.* "$here/cpus") | sha256sum | cut -d ' ' -f 1)

exec 9>"$DIR.lock"
flock -n 9 || { say "waiting for another set-up of $DIR"; flock 9; }
if grep -qs "\"recipe\": \"$recipe\"" "$DIR/device.json" &&
  { ! grep -q '"no C compiler' "$DIR/device.json" || [ -z "$(compiler)" ]; }; then
  say "$DIR is set up already"
  exit 0
fi
[ ! -e "$DIR" ] || [ -f "$DIR/qbench-arm" ] || [ -z "$(ls -A "$DIR")" ] ||
  die "$DIR holds something else" "name an empty or a new folder, or delete it"
rm -rf "$DIR".partial-* # what a set-up that was stopped left
new=$(mktemp -d "$DIR.partial-XXXXXX")
wheels=
leave() { # the installer ends first: it would go on writing
  [ -z "$wheels" ] || { kill "$wheels" && wait "$wheels"; } 2>/dev/null || true
  rm -rf "$new"
}
trap leave EXIT
trap 'exit 130' INT TERM HUP
chmod 755 "$new"
: >"$new/qbench-arm" # what says that this folder may be replaced
mkdir -p "$new/shown" "$new/root" "$new/host"
cp "$here/cpus" "$new/cpus"
cp "$here/run.sh" "$new/run"
cp "$here/run_x86.sh" "$new/run-x86"
chmod 755 "$new/run" "$new/run-x86"
[ -z "${QBENCH_QEMU:-}" ] || command -v "$QBENCH_QEMU" >"$new/qemu"

install_wheels &
wheels=$!
fetch_debian
unpack
wait "$wheels" || {
  wheels=
  sed 's/^/  installer: /' "$new/wheels.log" >&2
  die "the engines' aarch64 wheels could not be installed" \
    "see the installer's words above: without a network, use a machine that has one, or an index that it reaches"
}
wheels=
build_plugin
write_manifest
rm -rf "$new/apt" "$new"/manifest.* "$new/count"
rm -rf "$DIR.old"
[ ! -e "$DIR" ] || mv "$DIR" "$DIR.old"
mv "$new" "$DIR"
rm -rf "$DIR.old"
say "$DIR is set up ($(du -sh "$DIR" | cut -f 1)): \`qbench run --hw all\` now includes it"
