# Shared by the scripts: sourced, never run. What is missing is installed on Debian; elsewhere the exact command is printed.

# Git sets these for hooks; here they would send git commands to the wrong repository.
# shellcheck disable=SC2046
unset $(git rev-parse --local-env-vars 2>/dev/null) 2>/dev/null || true

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Whether the machine has a PostgreSQL server's binaries, where aam looks for them too.
have_postgres() {
  local bin
  for bin in /usr/lib/postgresql/*/bin "$(pg_config --bindir 2>/dev/null || echo /nonexistent)"; do
    [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && return 0
  done
  have initdb && have postgres
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install PACKAGE…: with apt-get where that is possible, and without starting any service.
install_packages() {
  local command="apt-get install -y --no-install-recommends $*" guard=/usr/sbin/policy-rc.d
  if ! have apt-get; then
    case "$*" in
      *postgresql*) have brew && die "please run: brew install postgresql git" ;;
    esac
    have dnf && die "please run: sudo dnf install $(printf '%s' "$*" | sed 's/postgresql/postgresql-server/')"
    have pacman && die "please run: sudo pacman -S $*"
    die "please install with your system's package manager: $*"
  fi
  if [ "$(id -u)" != 0 ] && ! { have sudo && sudo -n true 2>/dev/null; } && ! { have sudo && [ -t 0 ]; }; then
    die "please run as root: $command"
  fi
  say "installing: $*"
  # In a shell of its own, so that the guard goes however this ends.
  (
    if [ ! -e "$guard" ]; then
      trap 'as_root rm -f "$guard"' EXIT
      trap 'exit 130' INT TERM
      # Debian starts a cluster of its own on installation; aam brings a private one, so nothing may be started.
      printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null
      as_root chmod 755 "$guard"
    fi
    as_root apt-get update -qq >&2 || say "apt-get update failed; trying with what is known"
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive $command -qq >&2
  ) || die "that failed; please run as root: $command"
}

# Everything that building and running needs.
need_everything() {
  have git || install_packages git
  have cc || install_packages gcc libc6-dev
  have_postgres || install_packages postgresql
  have cargo || die "cargo is missing: install Rust (rustup, or your system's packages), then run this again"
  local wanted has
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  has=$(cargo --version | sed 's/^cargo \([0-9.]*\).*/\1/')
  [ "$(printf '%s\n%s\n' "$wanted" "$has" | sort -V | head -n 1)" = "$wanted" ] ||
    die "Rust $wanted or newer is needed, this is $has: rustup update"
}

# connector PACKAGE VERSION PROGRAM: a published Airbyte connector in a virtual environment of its own below target/; prints
# where its program is. Fails where Python or the package cannot be had.
connector() {
  local folder=target/connectors/$1-$2
  if [ ! -x "$folder/bin/$3" ]; then
    have python3 || install_packages python3 >&2 || return 1
    say "installing the connector $1 $2"
    python3 -m venv "$folder" >/dev/null 2>&1 || { install_packages python3-venv >&2 && python3 -m venv "$folder" >&2; } || return 1
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$1==$2" >&2 || return 1
  fi
  printf '%s\n' "$PWD/$folder/bin/$3"
}

# Builds the development profile: half the time of a release build, and quick enough for samples. More targets may be named,
# so that one build makes them all.
build_aam() {
  say "building aam (development profile; the first time takes some minutes)"
  cargo build --quiet --locked --bin aam "$@"
  AAM="$(cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/aam"
  [ -x "$AAM" ] || die "the build left no $AAM"
}

# start_sim LOG: starts the stand-in for an Airbyte server that the tests use (an example, built beside aam) on a free port; SIM_PID, SIM_URL and the credentials that a playground's settings refer to.
start_sim() {
  local log=$1 began=$SECONDS
  "${AAM%/*}/examples/airbyte_sim" --port 0 --sync-takes 1 >"$log" 2>&1 </dev/null &
  SIM_PID=$!
  until grep -q '^workspace ' "$log"; do
    kill -0 "$SIM_PID" 2>/dev/null && [ $((SECONDS - began)) -lt 20 ] || die "the simulator did not start: $(cat "$log")"
    sleep 0.1
  done
  SIM_URL=$(sed -n 's/^Airbyte .* is played at //p' "$log")
  export AIRBYTE_CLIENT_ID AIRBYTE_CLIENT_SECRET
  AIRBYTE_CLIENT_ID=$(sed -n 's/^client id \(.*\), client secret .*/\1/p' "$log")
  AIRBYTE_CLIENT_SECRET=$(sed -n 's/^client id .*, client secret //p' "$log")
}

# Ends it and waits for its last word.
stop_sim() {
  [ -n "${SIM_PID:-}" ] || return 0
  kill -TERM "$SIM_PID" 2>/dev/null || true
  wait "$SIM_PID" 2>/dev/null || true
  SIM_PID=
}

# by_airbyte FOLDER: makes a playground one whose engine is the simulator. Its connectors want a port even beside the folder of a
# unix socket; it has none for files, so the exports go.
by_airbyte() (
  cd "$1"
  git rm --quiet connectors.d/exports.yaml mappings/exports.yaml
  rm -rf exports
  sed -i.bak 's/^\( *\)\(host: .*\)/\1\2\n\1port: 5432/' connectors.d/crm.yaml connectors.d/warehouse.yaml
  rm connectors.d/*.bak
  cat >>config/aam.toml <<TEXT

[engine]
kind = "airbyte"
# with Airbyte it is "observe" where nobody says anything
mode = "manage"

[airbyte]
url = "$SIM_URL"
client_id = "\${env:AIRBYTE_CLIENT_ID}"
client_secret = "\${env:AIRBYTE_CLIENT_SECRET}"
# often, so that you see something soon
survey = "1s"
calls_per_second = 100
TEXT
  git add --all
  git -c commit.gpgsign=false commit --quiet --message='playground: Airbyte moves the data'
)
