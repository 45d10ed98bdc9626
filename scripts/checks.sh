# Counting checks: sourced by scripts/test and scripts/test-long.

PASSED=0
FAILED=()
SKIPPED=()

# check NAME COMMAND…: runs it, counts it, goes on.
check() {
  local name=$1 began=$SECONDS
  shift
  say ""
  say "== $name"
  if "$@"; then
    PASSED=$((PASSED + 1))
    say "== $name: passed ($((SECONDS - began))s)"
  else
    FAILED+=("$name")
    say "== $name: FAILED ($((SECONDS - began))s)"
  fi
}

# check_if NAME WHY_NOT PROBE… -- COMMAND…: skipped, visibly, where the probe fails.
check_if() {
  local name=$1 why=$2 probe=()
  shift 2
  while [ "$1" != -- ]; do probe+=("$1"); shift; done
  shift
  if "${probe[@]}" >/dev/null 2>&1; then
    check "$name" "$@"
  else
    SKIPPED+=("$name: $why")
    printf 'SKIPPED %s: %s\n' "$name" "$why"
  fi
}

# tests COMMAND…: a test run whose SKIPPED lines, which test harnesses swallow, are shown. It may end in options for the
# harness, after `--`.
tests() {
  local log status=0 line separator=(--)
  case " $* " in *' -- '*) separator=() ;; esac
  log=$(mktemp)
  RUST_BACKTRACE=0 "$@" "${separator[@]}" --show-output >"$log" 2>&1 || status=$?
  while IFS= read -r line; do
    SKIPPED+=("$line")
    printf 'SKIPPED %s\n' "$line"
  done < <(sed -n 's/^SKIPPED:* *//p' "$log" | sort -u)
  if [ "$status" = 0 ]; then
    grep -E '^test result:' "$log"
  else
    # The output of tests that passed, warnings of the build and backtraces of expected panics are no help now.
    if grep -q '^failures:' "$log"; then
      sed -n '/^failures:$/,$p' "$log" | head -n 400
    else
      tail -n 200 "$log"
    fi
  fi
  rm -f "$log"
  return "$status"
}

summary() {
  local name
  printf '\n'
  for name in "${SKIPPED[@]}"; do printf 'SKIPPED %s\n' "$name"; done
  for name in "${FAILED[@]}"; do printf 'FAILED %s\n' "$name"; done
  printf '%d passed, %d failed, %d skipped\n' "$PASSED" "${#FAILED[@]}" "${#SKIPPED[@]}"
  [ "${#FAILED[@]}" = 0 ]
}
