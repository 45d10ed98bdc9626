//! Random stories of one repair, its request and the people around it: whatever happens in whatever order, and wherever a
//! pass is cut off, at most one request is open, nothing is rejected that no person rejected, and everything comes to rest.

use proptest::prelude::*;

use super::*;

/// What may happen.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// The source shows something, and a repair towards it is offered.
    Offer(u8),
    /// The source changes back.
    Withdraw,
    /// Somebody merges the open request.
    Merge,
    /// Somebody closes it, with a word or without.
    Close(bool),
    /// Somebody deletes the branch, which closes the request.
    DeleteBranch,
    /// The branch arrives on the forge.
    Push,
    /// The registry is lost.
    Forget,
    /// One look, of which so many actions are carried out, the last of them without being noted.
    Look(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1..4_u8).prop_map(Event::Offer),
        Just(Event::Withdraw),
        Just(Event::Merge),
        any::<bool>().prop_map(Event::Close),
        Just(Event::DeleteBranch),
        Just(Event::Push),
        Just(Event::Forget),
        (0..3_usize).prop_map(Event::Look),
    ]
}

/// Everything that there is.
struct Model {
    facts: RequestFacts,
    /// On the forge: requests, and what was said to each.
    requests: Vec<(ForgeRequest, Review)>,
    /// The branch as it is on the forge.
    pushed: Option<CommitId>,
    /// What a person closed, by what it showed; and what was committed as rejected.
    closed_by_people: Vec<Vec<String>>,
    rejected: Vec<Vec<String>>,
}

const HEAD: &str = "aam/drift/default/crm";

fn id() -> ConnectionId {
    ConnectionId(Uuid::from_u128(1))
}

fn shows(n: u8) -> Fingerprint {
    format!("s1:{}", n.to_string().repeat(64)).parse().unwrap()
}

fn offer(n: u8) -> Offer {
    Offer {
        connection: "crm".parse().unwrap(),
        id: id(),
        drift: Uuid::from_u128(u128::from(n)),
        target: shows(n),
        changes: vec![format!("+ t.f{n}: string")],
        tip: CommitId(n.to_string().repeat(40)),
        stale: false,
        draft: RequestDraft {
            head: HEAD.to_owned(),
            base: "main".to_owned(),
            title: format!("Drift {n}"),
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
        Self { facts, requests: Vec::new(), pushed: None, closed_by_people: Vec::new(), rejected: Vec::new() }
    }

    fn open(&mut self) -> Option<&mut (ForgeRequest, Review)> {
        self.requests.iter_mut().find(|(request, _)| request.state == RequestState::Open)
    }

    fn happen(&mut self, event: Event) {
        let by = || Some("ada".to_owned());
        match event {
            Event::Offer(n) if self.facts.locks[&id()] != shows(n) && !self.rejected.contains(&offer(n).changes) => {
                self.facts.offers = vec![offer(n)];
                self.facts.over.clear();
            }
            Event::Offer(_) => {}
            Event::Withdraw => {
                self.facts.offers.clear();
                self.facts.over.insert(id(), "withdrawn".to_owned());
                self.delete_branch();
            }
            Event::Push => self.pushed = self.facts.offers.first().map(|offer| offer.tip.clone()),
            Event::DeleteBranch => self.delete_branch(),
            Event::Merge => {
                let Some((request, _)) = self.open() else { return };
                request.state = RequestState::Merged { by: by(), commit: None };
                let title = request.title.clone();
                let n: u8 = title.trim_start_matches("Drift ").parse().unwrap();
                self.facts.locks.insert(id(), shows(n));
                self.facts.offers.retain(|offer| offer.target != shows(n));
                self.pushed = None;
            }
            Event::Close(word) => {
                let shown = self.facts.rows.first().map(|row| row.changes.clone());
                let Some((request, review)) = self.open() else { return };
                request.state = RequestState::Closed { by: by(), branch_deleted: false };
                review.last_comment = word.then(|| Remark { author: "ada".to_owned(), text: "no".to_owned() });
                self.closed_by_people.extend(shown);
            }
            Event::Forget => self.facts.rows.clear(),
            Event::Look(count) => {
                let actions = self.look();
                for (nth, action) in actions.iter().take(count).enumerate() {
                    self.act(action, nth + 1 < count);
                }
            }
        }
    }

    fn delete_branch(&mut self) {
        self.pushed = None;
        if let Some((request, _)) = self.open() {
            request.state = RequestState::Closed { by: Some("whoever".to_owned()), branch_deleted: true };
        }
    }

    fn look(&mut self) -> Vec<RequestAction> {
        let open = self.requests.iter().filter(|(request, _)| request.state == RequestState::Open);
        self.facts.open = open.map(|(request, _)| request.clone()).collect();
        self.facts.ended.clear();
        for row in &self.facts.rows {
            let (request, review) = &self.requests[row.number as usize - 1];
            if request.state != RequestState::Open {
                self.facts.ended.insert(row.number, Some((request.clone(), review.clone())));
            }
        }
        self.facts.tips = BTreeMap::from([(HEAD.to_owned(), self.pushed.clone())]);
        plan_requests(&self.facts)
    }

    /// Carries an action out; without `noted`, the process is killed before it is recorded.
    fn act(&mut self, action: &RequestAction, noted: bool) {
        let end = |model: &mut Self| model.facts.rows.retain(|_| !noted);
        match &action.what {
            Doing::Open(offer) => {
                let request = ForgeRequest {
                    number: self.requests.len() as u64 + 1,
                    url: String::new(),
                    title: offer.draft.title.clone(),
                    body: offer.draft.body.clone(),
                    labels: BTreeSet::new(),
                    base: "main".to_owned(),
                    head: HEAD.to_owned(),
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
                let row = self.facts.rows.iter_mut().find(|_| noted);
                row.into_iter().for_each(|row| (row.target, row.drift) = (offer.target.clone(), offer.drift));
            }
            Doing::Tell { offer, .. } => {
                let row = self.facts.rows.iter_mut().find(|_| noted);
                row.into_iter().for_each(|row| row.changes.clone_from(&offer.changes));
            }
            Doing::Close { number, .. } => {
                let (request, review) = &mut self.requests[*number as usize - 1];
                review.withdrawn = Some("aam".to_owned());
                request.state = RequestState::Closed { by: Some("aam".to_owned()), branch_deleted: false };
                end(self);
            }
            Doing::Reject { changes, .. } => {
                assert!(self.closed_by_people.contains(changes), "{changes:?} was rejected by nobody");
                self.rejected.push(changes.clone());
                self.facts.offers.retain(|offer| offer.changes != *changes);
                end(self);
            }
            Doing::NoteMerged { .. } | Doing::NoteClosed { .. } => end(self),
            Doing::Wait => {}
        }
        let open = self.requests.iter().filter(|(request, _)| request.state == RequestState::Open);
        assert!(open.count() <= 1, "two requests are open");
    }

    fn note(&mut self, offer: &Offer, number: u64, noted: bool) {
        if noted {
            self.facts.rows.push(RequestRow {
                connection: id(),
                project: String::new(),
                number,
                url: String::new(),
                branch: HEAD.to_owned(),
                drift: offer.drift,
                target: offer.target.clone(),
                changes: offer.changes.clone(),
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
}

proptest! {
    #[test]
    fn at_most_one_request_is_open_and_everything_comes_to_rest(events in prop::collection::vec(event(), 1..40)) {
        let mut model = Model::new();
        for event in events {
            model.happen(event);
        }
        model.happen(Event::Push);
        for _ in 0..6 {
            for action in model.look() {
                model.act(&action, true);
            }
        }
        prop_assert_eq!(model.look(), Vec::new());
        let open = model.requests.iter().filter(|(request, _)| request.state == RequestState::Open).count();
        let wanted = model.facts.offers.len();
        prop_assert!(open == wanted || model.facts.rows.is_empty() && wanted == 0, "{open} open, {wanted} wanted");
        prop_assert!(model.facts.rows.len() <= 1);
    }
}
