# The walk of `scripts/quickstart --tour`: sourced by it, with AAM set; `scripts/walk.sh` prints and asserts.

. scripts/walk.sh

# The part of the status report that is about one connection.
connection() {
  { aam --format json status 2>/dev/null || true; } | sed -n "/^      \"name\": \"$1\"/,/^    }/p"
}

# is CONNECTION STATUS STANDING [VERSION]: as the report says it.
is() {
  local report
  report=$(connection "$1")
  printf '%s\n' "$report" | grep -q "^      \"status\": \"$2\"" &&
    printf '%s\n' "$report" | grep -q "^      \"standing\": \"$3\"" &&
    printf '%s\n' "$report" | grep -q "^      \"version\": ${4:-[0-9]*},"
}

synced() { connection "$1" | grep -q '"state": "succeeded"'; }
branch_is_there() { git rev-parse --quiet --verify "refs/heads/$1" >/dev/null; }
branch_is_gone() { ! branch_is_there "$1"; }
daemon_is_up() { grep -q 'aam is running' "$LOG"; }

# How many events a connection has.
events() { aam --format json events "$1" --limit 100000 | grep -c '^    "record_key":' || true; }

# changed_lines RANGE FILE SIGN: its changed lines with that sign, without version and fingerprint.
changed_lines() {
  git diff -U0 "$1" -- "$2" | grep -E "^$3" | grep -vE "^($3$3$3|$3(version|fingerprint):)" || true
}
count() { if [ -z "$1" ]; then echo 0; else printf '%s\n' "$1" | wc -l | tr -d ' '; fi; }

# tour ENGINE
tour() {
  local ENGINE=$1 before after VERSION=3 CRM_EVENTS=155 lock=connectors.d/crm.lock.yaml branch=aam/drift/default/crm
  own_playground
  say "Tour: a playground of its own, deleted at the end"
  if [ "$ENGINE" = airbyte-sim ]; then
    VERSION=4
    SIM_LOG="$TOUR_TEMP/airbyte_sim.log"
    start_sim "$SIM_LOG"
    by_airbyte "$PLAYGROUND"
    say "Tour: a simulator of Airbyte at $SIM_URL moves the data"
  fi
  cd "$PLAYGROUND"
  # Begin without the connections, so that they can be declared before your eyes.
  mkdir ../specs
  mv connectors.d/crm.yaml ../specs/
  if [ "$ENGINE" = embedded ]; then mv connectors.d/exports.yaml ../specs/; fi
  git commit --quiet --all --message='playground: begin without connections'
  aam run >"$LOG" 2>&1 </dev/null &
  DAEMON=$!
  wait_for 60 'the daemon runs' daemon_is_up

  tour_onboard
  tour_sync
  tour_add
  tour_rename
  tour_heal
  tour_reject
  if [ "$ENGINE" = embedded ]; then
    tour_file
    tour_proof
  fi

  step 'Stop: the daemon ends in good order, and the private PostgreSQL with it'
  printf '\n$ kill -TERM (the daemon)\n'
  stop_daemon
  OUT=$(tail -n 3 "$LOG")
  trim "$OUT"
  expect 'the daemon said that it is stopping' says 'stopping'
  expect 'nothing panicked' log_says_nothing_of 'panicked'
  expect 'the private PostgreSQL ended too' test ! -S .aam/postgres/.s.PGSQL.5432
  if [ "$ENGINE" = airbyte-sim ]; then
    stop_sim
    OUT=$(tail -n 1 "$SIM_LOG")
    printf '%s\n' "$OUT"
    if ! says '^SKIPPED: contract'; then
      expect 'the simulator saw no request that breaks its contract' says '^Contract: 0 violations in [1-9]'
    fi
  fi
  OUT=
  printf '\nTour: %d steps, all as expected\n' "$STEPS"
}

log_says_nothing_of() { ! grep -q "$1" "$LOG"; }

tour_onboard() {
  step 'Declare connections; an uncommitted file only shows, a commit acts'
  run 0 'cp ../specs/*.yaml connectors.d/'
  run 0 'aam check'
  run '0 2' 'aam plan'
  expect 'the plan shows what is not committed' says 'Not committed yet'
  expect 'nothing acts on it' same "$(connection crm)" ''
  run 0 'git add connectors.d && git commit --quiet -m "onboard" && git log --oneline -1'
  wait_for 60 'crm is ACTIVE' is crm ACTIVE in_sync 1
  if [ "$ENGINE" = embedded ]; then wait_for 60 'exports is ACTIVE' is exports ACTIVE in_sync 1; fi
  run 0 'git log --oneline -3'
  run 0 'cat connectors.d/crm.lock.yaml' 16
  run 0 'git status --short'
  expect 'the work tree is as the person left it' same "$OUT" ''
}

tour_sync() {
  step 'Sync, and see canonical events'
  if [ "$ENGINE" = embedded ]; then
    wait_for 60 'the first sync of crm is done' synced crm
    wait_for 60 'the first sync of exports is done' synced exports
    run 0 'aam sync crm exports'
    run 0 'aam events exports --limit 2'
    # contacts of the fair
    expect 'exports has an event for each contact' same "$(events exports)" 8
  else
    # by its schedule Airbyte starts it; the simulator has no clock for that
    run 0 'aam sync crm'
  fi
  run 0 'aam events crm --entity account --limit 2'
  note "events of crm: $(events crm)"
  # 35 accounts (one more is deleted before we first see it), 72 contacts, 48 opportunities
  expect 'crm has an event for each record' same "$(events crm)" "$CRM_EVENTS"
}

tour_add() {
  step 'A column appears: it only adds, so aam takes it in with a commit of its own'
  run 0 'aam playground mutate add accounts.tier text'
  wait_for 30 'catalog version 2 is ACTIVE' is crm ACTIVE in_sync 2
  run 0 'git log -1 --format="%an: %s%n%n%(trailers)"'
  run 0 'git show HEAD --format= -- connectors.d/crm.lock.yaml' 24
  run 0 'cat drift/default/crm/*.md'
  expect 'one field line was added to the lock' same "$(changed_lines HEAD~1..HEAD "$lock" '\+')" '+      tier: string'
  expect 'no field line was taken out' same "$(changed_lines HEAD~1..HEAD "$lock" -)" ''
}

tour_rename() {
  local removed added type='decimal(14,2)'
  # Airbyte's catalog knows no more
  if [ "$ENGINE" = airbyte-sim ]; then type=number; fi
  step 'A column that the mapping uses is renamed: aam proposes the repair and waits for you'
  run 0 'aam playground mutate rename accounts.annual_rev annual_revenue'
  if [ "$ENGINE" = airbyte-sim ]; then
    # what came is taken in first, and waits for rows; three records are too few to prove anything
    wait_for 60 'crm waits for one sync' is crm ACTIVE awaiting_sync 3
    run 2 'aam status'
    run 0 'aam playground mutate update accounts.industry Shipping --rows 3'
    run 0 'aam sync crm'
  fi
  wait_for 60 "the branch $branch is there" branch_is_there "$branch"
  wait_for 30 'crm waits for a review' is crm ACTIVE awaiting_review
  run 3 'aam status'
  run 0 'aam drift show crm' 40
  run 0 "git diff --stat main...$branch"
  run 0 "git diff main...$branch -- connectors.d mappings" 40
  removed=$(changed_lines "main...$branch" "$lock" -)
  added=$(changed_lines "main...$branch" "$lock" '\+')
  expect 'one field line leaves the lock' same "$removed" "-      annual_rev: $type"
  if [ "$ENGINE" = airbyte-sim ]; then
    expect 'the other line is in the lock already' same "$added" ''
  else
    expect 'one field line joins the lock' same "$added" "+      annual_revenue: $type"
  fi
  removed=$(changed_lines "main...$branch" mappings/crm.yaml -)
  added=$(changed_lines "main...$branch" mappings/crm.yaml '\+')
  expect 'one mapping line changes' same "$removed" '-      annual_revenue: {from: annual_rev, as: decimal}'
  expect 'one mapping line changes' same "$added" '+      annual_revenue: {from: annual_revenue, as: decimal}'
  OUT=$(git diff --name-status "main...$branch" | tr '\t' ' ' | sed 's,[0-9a-f]*\.md$,….md,')
  expect 'lock, mapping and one new drift file change' same "$OUT" \
    "M connectors.d/crm.lock.yaml
A drift/default/crm/….md
M mappings/crm.yaml"
}

tour_heal() {
  step 'You merge; aam heals the connection'
  run 0 "git merge --quiet $branch && git log --oneline -1"
  wait_for 60 "catalog version $VERSION is ACTIVE" is crm ACTIVE in_sync "$VERSION"
  run 0 'aam status'
  run 0 'aam history crm --limit 8' 20
  expect 'the history tells of healing' says 'healing'
  wait_for 30 'the branch is gone' branch_is_gone "$branch"

  step 'New values reach the same canonical field; what did not change gives no event'
  before=$(events crm)
  run 0 'aam sync crm'
  expect 'a rename alone gives no event' same "$(events crm)" "$before"
  run 0 'aam playground mutate update accounts.annual_revenue 4242424.42 --rows 2'
  run 0 'aam playground mutate insert accounts --rows 1'
  run 0 'aam sync crm'
  run 0 'aam events crm --entity account --limit 3'
  after=$(events crm)
  expect 'two changed rows and a new one give three events' same "$after" $((before + 3))
  expect 'they carry the canonical field' says '"?annual_revenue"?: ?"?4242424.42'
  run 0 'aam sync crm'
  expect 'a sync without changes gives no event' same "$(events crm)" "$after"
}

tour_reject() {
  step 'A column is dropped; you reject that, with a reason, and aam remembers'
  run 0 'aam playground mutate drop contacts.phone'
  wait_for 60 "the branch $branch is there" branch_is_there "$branch"
  run 0 'aam drift show crm' 30
  run 0 'aam drift reject crm --reason "the vendor promised to bring phone back"'
  wait_for 30 'the branch is gone' branch_is_gone "$branch"
  run 0 'cat drift/default/crm/rejected.yaml'
  expect 'the reason is written down' says 'promised to bring phone back'
  run '0 3' 'aam apply --look'
  wait_for 30 'crm stands as rejected' is crm ACTIVE rejected "$VERSION"
  run '0 3' 'aam status'
  expect 'no branch came back after another look' branch_is_gone "$branch"
}

tour_file() {
  local branch=aam/drift/default/exports
  step 'The header of a file changes: the same walk, approved on the command line'
  before=$(events exports)
  run 0 'aam playground mutate rename exports/contacts.csv:Phone "Phone Number"'
  wait_for 60 "the branch $branch is there" branch_is_there "$branch"
  run 0 "git diff main...$branch -- connectors.d mappings" 40
  expect 'the mapping follows the new name' same "$(changed_lines "main...$branch" mappings/exports.yaml '\+')" "+      phone: Phone Number"
  run 0 'aam drift approve exports'
  wait_for 60 'catalog version 2 of exports is ACTIVE' is exports ACTIVE in_sync 2
  run 0 'aam sync exports'
  expect 'a renamed header alone gives no event' same "$(events exports)" "$before"
}

tour_proof() {
  step 'A column is renamed whose values prove it: aam repairs it without you'
  before=$(events crm)
  run 0 'aam playground mutate rename opportunities.amount deal_value'
  wait_for 60 'catalog version 4 is ACTIVE' is crm ACTIVE rejected 4
  run 0 'git log -1 --format="%an: %s%n%n%(trailers)"'
  run 0 'git show HEAD --format= -- mappings' 24
  OUT=$(git show HEAD --format= -- drift)
  run 0 'git show HEAD --format= -- drift | grep -A9 Evidence'
  expect 'the values of all records are equal' says 'hold the same value \(100 %\)'
  run 0 'aam sync crm'
  expect 'the rename alone gives no event' same "$(events crm)" "$before"
}
