//! Random stories of what is offered of one connection, its requests and the people around them: whatever happens in whatever
//! order, and wherever a pass is cut off, at most one request is open for each subject, nothing is rejected or declined that
//! no person closed, and everything comes to rest.

use proptest::prelude::*;

use super::*;

/// What may happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Something is offered, by a rule or without one.
    Offer(u8, bool),
    /// It is over: the source changes back, the engine is as git says, …
    Withdraw,
    /// Somebody merges the open request.
    Merge,
    /// Somebody closes it, with a word or without.
    Close(bool),
    /// Somebody opens the last one again.
    Reopen,
    /// Somebody deletes the branch, which closes the request.
    DeleteBranch,
    /// The branch arrives on the forge.
    Push,
    /// A person commits to it, and what is offered moves on.
    Edit,
    /// The registry is lost.
    Forget,
    /// One look, of which so many actions are carried out, the last of them without being noted.
    Look(usize),
}

fn event() -> impl Strategy<Value = (Subject, Event)> {
    let event = prop_oneof![
        (1..4_u8, any::<bool>()).prop_map(|(n, rule)| Event::Offer(n, rule)),
        Just(Event::Withdraw),
        Just(Event::Merge),
        any::<bool>().prop_map(Event::Close),
        Just(Event::Reopen),
        Just(Event::DeleteBranch),
        Just(Event::Push),
        Just(Event::Edit),
        Just(Event::Forget),
        (0..4_usize).prop_map(Event::Look),
    ];
    (prop_oneof![Just(Subject::Drift), Just(Subject::Lock), Just(Subject::LiveEdit)], event)
}

/// Everything that there is.
struct Model {
    facts: RequestFacts,
    /// On the forge: requests, and what was said to each.
    requests: Vec<(ForgeRequest, Review)>,
    /// The branches as they are on the forge.
    pushed: BTreeMap<String, CommitId>,
    /// Requests that are over, as noted.
    past: Vec<RequestRow>,
    /// What a person closed, by what it showed; and which drifts were committed as rejected.
    closed_by_people: Vec<u64>,
    rejected: Vec<Vec<String>>,
}

fn head(subject: Subject) -> String {
    format!("aam/drift/{subject:?}/crm")
}

fn id() -> ConnectionId {
    ConnectionId(Uuid::from_u128(1))
}

fn shows(n: u8) -> Fingerprint {
    format!("s1:{}", n.to_string().repeat(64)).parse().unwrap()
}

fn offer(subject: Subject, n: u8, rule: bool) -> Offer {
    let is_drift = subject == Subject::Drift;
    Offer {
        connection: "crm".parse().unwrap(),
        id: id(),
        subject,
        drift: is_drift.then(|| Uuid::from_u128(u128::from(n))),
        target: shows(n).to_string(),
        changes: vec![format!("+ t.f{n}: string")],
        tip: CommitId(n.to_string().repeat(40)),
        stale: false,
        rule: (rule && is_drift).then(|| "additive".to_owned()),
        draft: RequestDraft {
            head: head(subject),
            base: "main".to_owned(),
            title: format!("Offer {n}"),
            body: mark(&n.to_string()),
            labels: BTreeSet::new(),
            draft: false,
        },
    }
}

impl Model {
    fn new() -> Self {
        let mut facts = RequestFacts::default();
        facts.names.insert(id(), "crm".parse().unwrap());
        facts.locks.insert(id(), shows(0));
        let (requests, past) = (Vec::new(), Vec::new());
        Self { facts, requests, pushed: BTreeMap::new(), past, closed_by_people: Vec::new(), rejected: Vec::new() }
    }

    fn open(&mut self, subject: Subject) -> Option<&mut (ForgeRequest, Review)> {
        let head = head(subject);
        self.requests.iter_mut().find(|(request, _)| request.state == RequestState::Open && request.head == head)
    }

    fn happen(&mut self, (subject, event): (Subject, Event)) {
        let by = || Some("ada".to_owned());
        match event {
            Event::Offer(n, rule) => {
                let offer = offer(subject, n, rule);
                let is_over = subject == Subject::Drift
                    && (self.facts.locks[&id()] == shows(n) || self.rejected.contains(&offer.changes));
                if !is_over {
                    self.withdraw(subject);
                    self.facts.offers.push(offer);
                    self.facts.over.remove(&(id(), subject));
                }
            }
            Event::Withdraw => {
                self.withdraw(subject);
                self.facts.over.insert((id(), subject), "withdrawn".to_owned());
                self.delete_branch(subject);
            }
            Event::Push => self.push(subject),
            Event::Edit => {
                let mut offers = self.facts.offers.iter_mut().filter(|offer| offer.subject == subject);
                offers
                    .by_ref()
                    .for_each(|offer| (offer.stale, offer.rule, offer.changes) = (true, None, vec!["+ x".into()]));
            }
            Event::DeleteBranch => self.delete_branch(subject),
            Event::Merge => {
                let Some((request, _)) = self.open(subject) else { return };
                request.state = RequestState::Merged { by: by(), commit: None };
                let n: u8 = request.title.trim_start_matches("Offer ").parse().unwrap();
                if subject == Subject::Drift {
                    self.facts.locks.insert(id(), shows(n));
                }
                let merged = |offer: &Offer| offer.subject == subject && offer.target == shows(n).as_str();
                self.facts.offers.retain(|offer| !merged(offer));
                self.pushed.remove(&head(subject));
            }
            Event::Close(word) => {
                let Some((request, review)) = self.open(subject) else { return };
                request.state = RequestState::Closed { by: by(), branch_deleted: false };
                review.last_comment = word.then(|| Remark { author: "ada".to_owned(), text: "no".to_owned() });
                let number = request.number;
                self.closed_by_people.push(number);
            }
            Event::Reopen if self.open(subject).is_none() => {
                let mut closed = self.requests.iter_mut().rev().filter(|(request, _)| request.head == head(subject));
                if let Some((request, _)) = closed.next()
                    && matches!(request.state, RequestState::Closed { .. })
                {
                    request.state = RequestState::Open;
                }
            }
            Event::Reopen => {}
            Event::Forget => {
                self.facts.rows.clear();
                self.past.clear();
            }
            Event::Look(count) => {
                let actions = self.look();
                for (nth, action) in actions.iter().take(count).enumerate() {
                    self.act(action, nth + 1 < count);
                }
            }
        }
    }

    fn withdraw(&mut self, subject: Subject) {
        self.facts.offers.retain(|offer| offer.subject != subject);
    }

    fn push(&mut self, subject: Subject) {
        let offered = self.facts.offers.iter().find(|offer| offer.subject == subject);
        match offered {
            Some(offer) => drop(self.pushed.insert(head(subject), offer.tip.clone())),
            None => drop(self.pushed.remove(&head(subject))),
        }
    }

    fn delete_branch(&mut self, subject: Subject) {
        self.pushed.remove(&head(subject));
        if let Some((request, _)) = self.open(subject) {
            request.state = RequestState::Closed { by: Some("whoever".to_owned()), branch_deleted: true };
        }
    }

    fn look(&mut self) -> Vec<RequestAction> {
        let open = self.requests.iter().filter(|(request, _)| request.state == RequestState::Open);
        let shown =
            |request: &ForgeRequest| ForgeRequest { tip: self.pushed.get(&request.head).cloned(), ..request.clone() };
        self.facts.open = open.map(|(request, _)| shown(request)).collect();
        self.facts.ended.clear();
        for row in &self.facts.rows {
            let (request, review) = &self.requests[row.number as usize - 1];
            if request.state != RequestState::Open {
                self.facts.ended.insert(row.number, Some((request.clone(), review.clone())));
            }
        }
        self.facts.tips = Subject::ALL.map(|subject| (head(subject), self.pushed.get(&head(subject)).cloned())).into();
        let newest =
            |offer: &Offer| self.past.iter().filter(|row| offer.is_of(row)).max_by_key(|row| row.number).cloned();
        self.facts.past = self.facts.offers.iter().filter_map(newest).collect();
        plan_requests(&self.facts)
    }

    /// Carries an action out; without `noted`, the process is killed before it is recorded.
    fn act(&mut self, action: &RequestAction, noted: bool) {
        let end = |model: &mut Self, number: u64, state: RequestStanding| {
            if noted {
                let over = model.facts.rows.extract_if(.., |row| row.number == number);
                let over: Vec<RequestRow> = over.map(|row| RequestRow { state, ..row }).collect();
                model.past.retain(|row| row.number != number);
                model.past.extend(over);
            }
        };
        let row = |model: &mut Self, number: u64, change: &dyn Fn(&mut RequestRow)| {
            model.facts.rows.iter_mut().filter(|row| noted && row.number == number).for_each(change);
        };
        match &action.what {
            Doing::Open(offer) => {
                let request = ForgeRequest {
                    number: self.requests.len() as u64 + 1,
                    url: String::new(),
                    title: offer.draft.title.clone(),
                    body: offer.draft.body.clone(),
                    labels: BTreeSet::new(),
                    base: "main".to_owned(),
                    head: offer.draft.head.clone(),
                    tip: None,
                    state: RequestState::Open,
                };
                self.note(offer, request.number, noted);
                self.requests.push((request, Review::default()));
            }
            Doing::Adopt { number, offer, .. } => self.note(offer, *number, noted),
            Doing::Update { number, offer, .. } => {
                let (request, _) = &mut self.requests[*number as usize - 1];
                request.title = offer.draft.title.clone();
                request.body = offer.draft.body.clone();
                row(self, *number, &|row| (row.target, row.drift) = (offer.target.clone(), offer.drift));
            }
            Doing::Tell { number, offer, .. } => row(self, *number, &|row| row.changes.clone_from(&offer.changes)),
            Doing::Automate { number, by_rule } => row(self, *number, &|row| row.by_rule = Some(by_rule.clone())),
            Doing::LeaveToPeople { number } => row(self, *number, &|row| row.by_rule = None),
            Doing::Close { number, .. } => {
                let (request, review) = &mut self.requests[*number as usize - 1];
                review.withdrawn = Some("aam".to_owned());
                request.state = RequestState::Closed { by: Some("aam".to_owned()), branch_deleted: false };
                end(self, *number, RequestStanding::Withdrawn);
            }
            Doing::Reject { number, .. } => {
                assert!(self.closed_by_people.contains(number), "{number} was rejected by nobody");
                let shown = self.facts.rows.iter().find(|row| row.number == *number).map(|row| row.changes.clone());
                self.rejected.extend(shown.clone());
                let is = |offer: &Offer| offer.subject == Subject::Drift && Some(&offer.changes) == shown.as_ref();
                self.facts.offers.retain(|offer| !is(offer));
                end(self, *number, RequestStanding::Rejected);
            }
            Doing::Decline { number, .. } => {
                assert!(self.closed_by_people.contains(number), "{number} was declined by nobody");
                end(self, *number, RequestStanding::Rejected);
            }
            Doing::NoteMerged { number, .. } => end(self, *number, RequestStanding::Merged),
            Doing::NoteClosed { number, .. } => end(self, *number, RequestStanding::Closed),
            Doing::Wait => {}
        }
        for subject in Subject::ALL {
            let open = |request: &ForgeRequest| request.state == RequestState::Open && request.head == head(subject);
            assert!(
                self.requests.iter().filter(|(request, _)| open(request)).count() <= 1,
                "two are open: {subject:?}"
            );
        }
    }

    fn note(&mut self, offer: &Offer, number: u64, noted: bool) {
        if noted {
            // One that was over and is open again is the same row.
            self.past.retain(|row| row.number != number);
            self.facts.rows.push(RequestRow {
                connection: id(),
                project: String::new(),
                number,
                url: String::new(),
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
            });
        }
    }

    /// Whether a person said no to just that, and nothing was opened since.
    fn is_declined(&self, offer: &Offer) -> bool {
        let newest = self.past.iter().filter(|row| offer.is_of(row)).max_by_key(|row| row.number);
        newest.is_some_and(|row| row.state == RequestStanding::Rejected && row.target == offer.target)
    }
}

proptest! {
    #[test]
    fn at_most_one_request_of_each_subject_is_open_and_everything_comes_to_rest(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let mut model = Model::new();
        for event in events {
            model.happen(event);
        }
        Subject::ALL.into_iter().for_each(|subject| model.push(subject));
        for _ in 0..6 {
            for action in model.look() {
                model.act(&action, true);
            }
        }
        let waits = |action: &RequestAction| action.what == Doing::Wait;
        let left: Vec<RequestAction> = model.look().into_iter().filter(|action| !waits(action)).collect();
        prop_assert_eq!(left, Vec::new());
        for subject in Subject::ALL {
            let open = model.facts.rows.iter().filter(|row| row.subject == subject).count();
            let offered = model.facts.offers.iter().filter(|offer| offer.subject == subject && !model.is_declined(offer));
            // What is out of date is not opened, and one that is open says so.
            let wanted: Vec<&Offer> = offered.collect();
            let stale = wanted.iter().any(|offer| offer.stale);
            prop_assert!(open == wanted.len() || (stale && open == 0), "{:?}: {} open of {:?}", subject, open, wanted);
        }
    }
}
