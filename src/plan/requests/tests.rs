//! What is done about requests, case by case: facts in, actions as text.

use super::*;

fn id(n: u128) -> ConnectionId {
    ConnectionId(Uuid::from_u128(n))
}

/// A fingerprint that begins with this digit.
fn shows(digit: char) -> Fingerprint {
    format!("s1:{}", digit.to_string().repeat(64)).parse().unwrap()
}

fn tip(digit: char) -> CommitId {
    CommitId(digit.to_string().repeat(40))
}

/// A repair of `crm` towards that fingerprint.
fn offer(digit: char, changes: &[&str]) -> Offer {
    Offer {
        connection: "crm".parse().unwrap(),
        id: id(1),
        subject: Subject::Drift,
        drift: Some(Uuid::from_u128(77)),
        target: shows(digit).to_string(),
        changes: changes.iter().map(|line| (*line).to_owned()).collect(),
        tip: tip('a'),
        stale: false,
        rule: None,
        draft: RequestDraft {
            head: "aam/drift/default/crm".to_owned(),
            base: "main".to_owned(),
            title: format!("Drift of crm {digit}"),
            body: format!("text\n{}", mark(&format!("digest-{digit}"))),
            labels: BTreeSet::from(["aam".to_owned()]),
            draft: false,
        },
    }
}

/// What is shown of a request that says what the offer says.
fn shown(number: u64, offer: &Offer) -> ForgeRequest {
    ForgeRequest {
        number,
        url: format!("https://forge.example.org/{number}"),
        title: offer.draft.title.clone(),
        body: offer.draft.body.clone(),
        labels: offer.draft.labels.clone(),
        base: offer.draft.base.clone(),
        head: offer.draft.head.clone(),
        tip: Some(offer.tip.clone()),
        state: RequestState::Open,
    }
}

fn row(number: u64, offer: &Offer) -> RequestRow {
    RequestRow {
        connection: offer.id,
        project: "forge.example.org/acme/config".to_owned(),
        number,
        url: format!("https://forge.example.org/{number}"),
        branch: offer.draft.head.clone(),
        subject: offer.subject,
        drift: offer.drift,
        target: offer.target.clone(),
        changes: offer.changes.clone(),
        by_rule: None,
        state: RequestStanding::Open,
        approvals: Vec::new(),
        by: None,
        commit: None,
        reason: None,
        opened_at: DateTime::UNIX_EPOCH,
        changed_at: DateTime::UNIX_EPOCH,
    }
}

fn facts(offers: Vec<Offer>, rows: Vec<RequestRow>, open: Vec<ForgeRequest>) -> RequestFacts {
    let names = BTreeMap::from([(id(1), "crm".parse().unwrap())]);
    let locks = BTreeMap::from([(id(1), shows('0'))]);
    RequestFacts { offers, rows, names, locks, open, ..RequestFacts::default() }
}

/// The request ended so, with these words below it.
fn ended(offer: Option<Offer>, state: RequestState, said: Option<&str>) -> RequestFacts {
    let was = self::offer('b', &["- t.a: string"]);
    let request = ForgeRequest { state, ..shown(3, &was) };
    let last_comment = said.map(|text| Remark { author: "ada".to_owned(), text: text.to_owned() });
    let review = Review { approvals: vec!["linus".to_owned()], last_comment, withdrawn: None };
    RequestFacts {
        ended: BTreeMap::from([(3, Some((request, review)))]),
        ..facts(offer.into_iter().collect(), vec![row(3, &was)], Vec::new())
    }
}

fn said(facts: &RequestFacts) -> String {
    let lines = plan_requests(facts);
    match lines.as_slice() {
        [] => "nothing".to_owned(),
        lines => {
            let lines = lines.iter().map(|action| format!("{}: {}", action.connection, action.describe()));
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn a_request_is_opened_once_its_branch_is_there_and_one_that_is_there_is_taken_over() {
    let crm = offer('b', &[]);
    let with_tip = |at: Option<CommitId>| RequestFacts {
        tips: BTreeMap::from([(crm.draft.head.clone(), at)]),
        ..facts(vec![crm.clone()], Vec::new(), Vec::new())
    };
    assert_eq!(said(&with_tip(None)), "crm: wait: the repair branch is not on the forge yet, or its merge not here");
    assert_eq!(
        said(&with_tip(Some(tip('c')))),
        "crm: wait: the repair branch is not on the forge yet, or its merge not here"
    );
    assert_eq!(said(&with_tip(Some(tip('a')))), "crm: open a request to merge aam/drift/default/crm");
    let merged = RequestFacts { merged: BTreeSet::from([crm.draft.head.clone()]), ..with_tip(Some(tip('a'))) };
    assert_eq!(said(&merged), "crm: wait: the repair branch is not on the forge yet, or its merge not here");
    let elsewhere = ForgeRequest { base: "staging".to_owned(), ..shown(2, &crm) };
    let two = facts(vec![crm.clone()], Vec::new(), vec![elsewhere, shown(7, &crm), shown(5, &crm)]);
    assert_eq!(said(&two), "crm: take over request 5");
    let named = RequestRow { branch: "aam/drift/default/old".to_owned(), ..row(5, &crm) };
    let old = ForgeRequest { head: named.branch.clone(), ..shown(5, &crm) };
    insta::assert_snapshot!(said(&facts(vec![crm.clone()], vec![named], vec![old])), @"crm: close request 5: its repair is on aam/drift/default/crm now");
    assert_eq!(
        said(&facts(vec![crm.clone()], vec![row(5, &crm)], vec![shown(5, &crm)])),
        "nothing",
        "nothing is left to do"
    );
}

#[test]
fn a_request_follows_its_repair_in_place() {
    let before = offer('b', &["- t.a: string", "+ t.b: string"]);
    let now = offer('c', &["+ t.b: string", "+ t.c: date"]);
    let moved = facts(vec![now.clone()], vec![row(5, &before)], vec![shown(5, &before)]);
    insta::assert_snapshot!(said(&moved), @"
    crm: update request 5: title, text, repair
    crm: comment on request 5: its changes changed
    ");
    let Doing::Tell { text, .. } = &plan_requests(&moved)[1].what else { panic!("it tells") };
    assert_eq!(text, "no longer: - t.a: string\nnew: + t.c: date");
    let edited = Offer { stale: true, ..now.clone() };
    let stale = facts(vec![edited.clone()], vec![row(5, &before)], vec![shown(5, &before)]);
    assert_eq!(said(&stale), "crm: comment on request 5: its branch is out of date");
    let told = RequestRow { changes: edited.changes.clone(), ..row(5, &before) };
    let told = facts(vec![edited.clone()], vec![told], vec![shown(5, &before)]);
    assert_eq!(said(&told), "nothing", "once; and it says what its branch carries");
    let closed = RequestState::Closed { by: Some("ada".to_owned()), branch_deleted: false };
    insta::assert_snapshot!(said(&ended(Some(edited), closed, Some("no"))), @"crm: reject, since ada closed request 3: no");
    let people = ForgeRequest {
        title: "mine".to_owned(),
        body: format!("- [x] seen\n{}", now.draft.body),
        labels: BTreeSet::from(["AAM".to_owned(), "mine".to_owned()]),
        ..shown(5, &now)
    };
    assert_eq!(said(&facts(vec![now.clone()], vec![row(5, &now)], vec![people])), "nothing", "what people add stays");
    let other = ForgeRequest { base: "old".to_owned(), labels: BTreeSet::new(), ..shown(5, &now) };
    assert_eq!(said(&facts(vec![now.clone()], vec![row(5, &now)], vec![other])), "crm: update request 5: labels, base");
}

#[test]
fn a_request_whose_drift_is_over_is_closed_once_it_is_known_why() {
    let crm = offer('b', &[]);
    let over = facts(Vec::new(), vec![row(5, &crm)], vec![shown(5, &crm)]);
    assert_eq!(said(&over), "nothing");
    let over = RequestFacts {
        over: BTreeMap::from([((id(1), Subject::Drift), "withdrawn: it changed back".to_owned())]),
        ..over
    };
    assert_eq!(said(&over), "crm: close request 5: withdrawn: it changed back");
}

#[test]
fn what_the_end_of_a_request_means() {
    let crm = || Some(offer('b', &["- t.a: string"]));
    let closed = || RequestState::Closed { by: Some("ada".to_owned()), branch_deleted: false };
    let deleted = || RequestState::Closed { by: Some("ada".to_owned()), branch_deleted: true };
    let merged = RequestState::Merged { by: Some("ada".to_owned()), commit: Some(tip('d')) };
    let committed = RequestFacts {
        locks: BTreeMap::from([(id(1), shows('b'))]),
        ..ended(crm(), closed(), Some("squashed by hand"))
    };
    let unknown = RequestFacts {
        ended: BTreeMap::from([(3, None)]),
        ..facts(crm().into_iter().collect(), vec![row(3, &offer('b', &[]))], Vec::new())
    };
    let mut withdrawn = ended(crm(), closed(), Some("no"));
    withdrawn.ended.values_mut().flatten().for_each(|(_, review)| review.withdrawn = Some("ada".to_owned()));
    let mut opened_again = ended(crm(), closed(), Some("no"));
    opened_again.ended.values_mut().flatten().for_each(|(_, review)| review.withdrawn = Some("aam-bot".to_owned()));
    let others = |state| {
        let mut facts = ended(crm(), state, Some("I like it"));
        let said = facts.ended.values_mut().flatten().filter_map(|(_, review)| review.last_comment.as_mut());
        said.for_each(|remark| remark.author = "grace".to_owned());
        facts
    };
    let mut renamed = ended(crm(), closed(), Some("no"));
    renamed.offers[0].draft.head = "aam/drift/default/sales".to_owned();
    let cases = [
        ("closed by us", withdrawn),
        ("withdrawn once, opened again and closed by a person", opened_again),
        ("closed, others talked", others(closed())),
        ("branch deleted, others talked", others(deleted())),
        ("its connection has another name", renamed),
        ("merged", ended(None, merged, None)),
        ("closed with a word", ended(crm(), closed(), Some("wrong field\n@team"))),
        ("closed without one", ended(crm(), closed(), None)),
        ("closed with a word, branch gone", ended(crm(), deleted(), Some("no"))),
        ("branch deleted", ended(crm(), deleted(), None)),
        ("by nobody known", ended(crm(), RequestState::Closed { by: None, branch_deleted: false }, Some("no"))),
        ("committed by another way", committed),
        ("drift over", ended(None, closed(), Some("no"))),
        ("opened again meanwhile", ended(crm(), RequestState::Open, None)),
        ("not known", unknown),
    ];
    let told = cases.map(|(name, facts)| format!("{name} => {}", said(&facts))).join("\n");
    insta::assert_snapshot!(told, @"
    closed by us => crm: note that ada closed request 3: it was withdrawn
    withdrawn once, opened again and closed by a person => crm: reject, since ada closed request 3: no
    closed, others talked => crm: reject, since ada closed request 3: the request was closed without a comment
    branch deleted, others talked => crm: note that ada closed request 3: its branch was deleted, which is no rejection
    its connection has another name => crm: note that ada closed request 3: its repair is on aam/drift/default/sales now
    merged => crm: note that ada merged request 3, approved by linus
    closed with a word => crm: reject, since ada closed request 3: wrong field
    closed without one => crm: reject, since ada closed request 3: the request was closed without a comment
    closed with a word, branch gone => crm: reject, since ada closed request 3: no
    branch deleted => crm: note that ada closed request 3: its branch was deleted, which is no rejection
    by nobody known => crm: reject, since somebody closed request 3: the request was closed without a comment
    committed by another way => crm: note that ada closed request 3: what it asks for is committed
    drift over => crm: note that ada closed request 3: its drift is over
    opened again meanwhile => nothing
    not known => crm: note that somebody closed request 3: the forge does not know it any more
    ");
}

#[test]
fn a_rejection_is_of_what_the_request_showed() {
    // The source moved on after people were told of `b` and before one of them closed the request.
    let closed = RequestState::Closed { by: Some("ada".to_owned()), branch_deleted: false };
    let facts = ended(Some(offer('c', &["+ t.z: date"])), closed, Some("no"));
    // Who carries it out rejects what the row says that people were told of.
    assert_eq!(
        said(&facts),
        "crm: reject, since ada closed request 3: no",
        "and nothing is opened before that is committed"
    );
}

/// Something else of the same connection.
fn other(subject: Subject, digit: char) -> Offer {
    let mut other = offer(digit, &[]);
    (other.subject, other.drift, other.draft.head) = (subject, None, format!("aam/drift/{subject:?}/crm"));
    other
}

#[test]
fn each_subject_has_a_request_of_its_own() {
    let (drift, back) = (offer('b', &[]), other(Subject::Rollback, 'c'));
    let tips = [&drift, &back].map(|offer| (offer.draft.head.clone(), Some(offer.tip.clone()))).into();
    let both = RequestFacts { tips, ..facts(vec![drift.clone(), back.clone()], Vec::new(), Vec::new()) };
    insta::assert_snapshot!(said(&both), @"
    crm: open a request to merge aam/drift/default/crm
    crm: open a request to merge aam/drift/Rollback/crm
    ");
    let rows = vec![row(5, &drift), row(6, &back)];
    let over = BTreeMap::from([((id(1), Subject::Rollback), "its branch is gone".to_owned())]);
    let gone = RequestFacts { over, ..facts(vec![drift.clone()], rows, vec![shown(5, &drift), shown(6, &back)]) };
    assert_eq!(said(&gone), "crm: close request 6: its branch is gone");
}

#[test]
fn what_a_person_declined_is_not_asked_again_until_it_is_another() {
    let back = other(Subject::Rollback, 'c');
    let closed = ForgeRequest {
        state: RequestState::Closed { by: Some("ada".to_owned()), branch_deleted: false },
        ..shown(6, &back)
    };
    let said_no =
        Review { last_comment: Some(Remark { author: "ada".into(), text: "no".into() }), ..Review::default() };
    let ended = RequestFacts {
        ended: BTreeMap::from([(6, Some((closed, said_no)))]),
        ..facts(vec![back.clone()], vec![row(6, &back)], Vec::new())
    };
    assert_eq!(said(&ended), "crm: note that ada declined request 6: no");
    let tips = BTreeMap::from([(back.draft.head.clone(), Some(back.tip.clone()))]);
    let declined = RequestRow { state: RequestStanding::Rejected, ..row(6, &back) };
    let past = RequestFacts { past: vec![declined], tips, ..facts(vec![back.clone()], Vec::new(), Vec::new()) };
    assert_eq!(said(&past), "nothing");
    let reopened = RequestFacts { open: vec![shown(6, &back)], ..past.clone() };
    assert_eq!(said(&reopened), "crm: take over request 6");
    let again = RequestFacts { offers: vec![other(Subject::Rollback, 'd')], ..past };
    assert_eq!(said(&again), "crm: open a request to merge aam/drift/Rollback/crm");
}

#[test]
fn the_forge_merges_what_a_rule_judged_and_nothing_else() {
    let crm = Offer { rule: Some("additive".to_owned()), ..offer('b', &[]) };
    let check = |offer: &Offer, row: RequestRow, shown: ForgeRequest, past: Vec<RequestRow>| {
        said(&RequestFacts { past, ..facts(vec![offer.clone()], vec![row], vec![shown]) })
    };
    let told = |told| RequestRow {
        by_rule: Some(ByRule { rule: "additive".to_owned(), tip: tip('a'), told }),
        ..row(5, &crm)
    };
    let automate = "crm: have the forge merge request 5 by itself (rule:additive)";
    assert_eq!(check(&crm, row(5, &crm), shown(5, &crm), Vec::new()), automate);
    assert_eq!(check(&crm, told(false), shown(5, &crm), Vec::new()), automate, "it had no answer");
    assert_eq!(check(&crm, told(true), shown(5, &crm), Vec::new()), "nothing");
    let elsewhere = ForgeRequest { tip: Some(tip('c')), ..shown(5, &crm) };
    assert_eq!(check(&crm, row(5, &crm), elsewhere, Vec::new()), "nothing", "it is not there yet as it was judged");
    let people = "crm: leave the merge of request 5 to people";
    let pushed = ForgeRequest { tip: Some(tip('c')), ..shown(5, &crm) };
    assert_eq!(check(&crm, told(true), pushed, Vec::new()), people, "somebody pushed what is not known here yet");
    assert_eq!(check(&Offer { rule: None, ..crm.clone() }, told(true), shown(5, &crm), Vec::new()), people);
    let merged = RequestRow { state: RequestStanding::Merged, ..row(4, &crm) };
    assert_eq!(check(&crm, told(true), shown(5, &crm), vec![merged]), people, "it came in once and was taken back");
}
