# What walks through a playground need: sourced by scripts/tour.sh and scripts/rules, with AAM set. Every command is printed as
# a person would type it, then what it printed, trimmed; what must hold is asserted, and waits are for conditions.

STEPS=0
OUT=
TOUR_TEMP=
PLAYGROUND=
DAEMON=
LOG=
SIM_LOG=
SIM_PID=

step() {
  STEPS=$((STEPS + 1))
  printf '\n── %d. %s\n' "$STEPS" "$1"
}

note() { printf '   %s\n' "$*"; }

fail() {
  printf '\nStep %d is not as expected: %s\n' "$STEPS" "$1" >&2
  if [ -n "$OUT" ]; then printf '%s\n' '── the last output' "$OUT" >&2; fi
  if [ -n "$LOG" ] && [ -f "$LOG" ]; then
    printf '%s\n' '── the end of the daemon log' >&2
    tail -n 30 "$LOG" >&2
  fi
  exit 1
}

# trim TEXT [COLUMNS] [LINES]: the first lines, and the beginning of wide ones.
trim() {
  printf '%s\n' "$1" | cut -c 1-"${2:-150}" | sed -n "1,${3:-14}p;$((${3:-14} + 1))s/.*/…/p" | sed 's/^/  /'
}

# run EXIT_CODE COMMAND [LINES]: shows and runs it in the playground; OUT is everything it printed.
run() {
  local wanted=$1 command=$2 lines=${3:-14} status=0
  printf '\n$ %s\n' "$command"
  OUT=$(eval "$command" 2>&1) || status=$?
  if [ -n "$OUT" ]; then trim "$OUT" 150 "$lines"; fi
  case " $wanted " in *" $status "*) ;; *) fail "\`$command\` exited with $status, not $wanted" ;; esac
}

# expect WHAT COMMAND…: something that must hold.
expect() {
  local what=$1
  shift
  "$@" || fail "$what"
}

says() { printf '%s\n' "$OUT" | grep -qE -- "$1"; }
same() { [ "$1" = "$2" ] || { say "   got $1, expected $2"; return 1; }; }

# wait_for SECONDS WHAT COMMAND…: until it holds; the daemon must live meanwhile.
wait_for() {
  local seconds=$1 what=$2 began=$SECONDS
  shift 2
  until "$@"; do
    kill -0 "$DAEMON" 2>/dev/null || fail "the daemon ended while waiting until $what"
    if [ $((SECONDS - began)) -ge "$seconds" ]; then
      OUT=$(aam status 2>&1; aam drift show crm 2>&1) || true
      fail "waited ${seconds}s until $what"
    fi
    sleep 0.3
  done
  note "(waited until $what)"
}

stop_daemon() {
  [ -n "$DAEMON" ] || return 0
  kill -TERM "$DAEMON" 2>/dev/null || true
  local began=$SECONDS
  while kill -0 "$DAEMON" 2>/dev/null && [ $((SECONDS - began)) -lt 20 ]; do sleep 0.1; done
  kill -KILL "$DAEMON" 2>/dev/null || true
  wait "$DAEMON" 2>/dev/null || true
  DAEMON=
}

clean_up() {
  local status=$?
  trap - EXIT INT TERM
  stop_daemon
  stop_sim
  cd /
  if [ -n "$TOUR_TEMP" ] && [ -d "$TOUR_TEMP" ]; then
    if [ -d "$TOUR_TEMP/playground/.aam" ]; then "$AAM" --quiet playground remove "$TOUR_TEMP/playground" || true; fi
    rm -rf "$TOUR_TEMP"
  fi
  exit "$status"
}

# A playground of its own, deleted at the end; PLAYGROUND is its folder.
own_playground() {
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # In the system's place for such things, and open to walk through: PostgreSQL may run as another user than us.
  TOUR_TEMP=$(mktemp -d "${TMPDIR:-/tmp}/aam-tour.XXXXXX")
  chmod 711 "$TOUR_TEMP"
  LOG="$TOUR_TEMP/daemon.log"
  PLAYGROUND="$TOUR_TEMP/playground"
  PATH="${AAM%/*}:$PATH"
  export PATH NO_COLOR=1 GIT_PAGER=cat GIT_TERMINAL_PROMPT=0
  # The tour must not depend on how a person set up git.
  export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null

  aam --quiet playground init "$PLAYGROUND"
}
