//! Which replica works on which runs. Pure: from what the replicas have said, and a time.
//!
//! A run's owner is found by rendezvous hashing over the members: who comes or goes moves only the runs that become, or
//! were, its own. Members learn of each other at different times, so nobody acts on its own view alone:
//!
//! 1. A member publishes the members that it goes by, in its Lease. It acts only on what that gives it.
//! 2. After it has published, it reads what the others have published, and does not act on what one of those gives to
//!    its publisher. Of two that want the same run, at least one reads of the other.
//! 3. It stops when it could not renew its Lease for some time, before the others may take it for gone.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

/// The members that one goes by.
pub type Members = BTreeSet<String>;

/// What a member does next, from what it sees.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Publish that it goes by these, then look again.
    Publish(Members),
    /// Act on what it has published.
    Act,
}

/// `published`: what this member has said, before it looked. `others`: who else is there, and what they have said.
pub fn next(me: &str, published: Option<&Members>, others: &BTreeMap<String, Members>) -> Next {
    let members: Members = others.keys().cloned().chain([me.to_owned()]).collect();
    if published == Some(&members) { Next::Act } else { Next::Publish(members) }
}

/// What a member acts by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    me: String,
    /// What it has published; and what it is about to publish. All of them must give it a run.
    own: Vec<Members>,
    /// What the others had published afterwards.
    others: BTreeMap<String, Members>,
    /// Until when it may act.
    until: Instant,
}

impl View {
    /// Of a member that has published `own`, and then read of the others.
    pub fn new(me: &str, own: Members, others: BTreeMap<String, Members>, until: Instant) -> Self {
        Self { me: me.to_owned(), own: vec![own], others, until }
    }

    /// The same for the time until something else is published: nothing is gained, and what is lost is lost at once.
    #[must_use]
    pub fn restricted(&self, soon: Members) -> Self {
        let mut view = self.clone();
        view.own.push(soon);
        view
    }

    /// Whether the run of this UID, or those that are parts of it, are this member's.
    pub fn is_mine(&self, root: &str, now: Instant) -> bool {
        now < self.until
            && self.own.iter().all(|members| owner_of(members, root) == Some(&self.me))
            && self.others.iter().all(|(other, members)| owner_of(members, root) != Some(other))
    }

    /// Whose the run is, as this member has published.
    pub fn owner(&self, root: &str) -> Option<&str> {
        self.own.last().and_then(|members| owner_of(members, root)).map(String::as_str)
    }

    /// Whether it gives the same runs as the other, apart from the time.
    pub fn gives_as(&self, other: &Self) -> bool {
        self.own == other.own && self.others == other.others
    }

    /// Whether all go by the same members.
    pub fn is_settled(&self) -> bool {
        let own = self.own.last();
        self.own.len() == 1 && self.others.values().all(|members| Some(members) == own)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.others.len() + 1
    }
}

/// The member whose run it is, the same on every replica and in every release.
fn owner_of<'a>(members: &'a Members, root: &str) -> Option<&'a String> {
    members.iter().max_by_key(|member| (weight(member, root), *member))
}

/// FNV-1a over both, with its bits mixed at the end: close names must not weigh alike.
fn weight(member: &str, root: &str) -> u64 {
    const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    // No text has this byte: it keeps the two apart.
    let bytes = member.bytes().chain([0xff]).chain(root.bytes());
    let mut hash = bytes.fold(START, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
        hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn members(names: &[&str]) -> Members {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn roots() -> Vec<String> {
        (0..1000).map(|at| format!("5f3c6d0e-{at:04}")).collect()
    }

    #[test]
    fn runs_are_spread_and_few_move() {
        let (two, three) = (members(&["ergon-a", "ergon-b"]), members(&["ergon-a", "ergon-b", "ergon-c"]));
        let owned = |by: &Members, who: &str| {
            roots().iter().filter(|root| owner_of(by, root).map(String::as_str) == Some(who)).count()
        };
        for who in ["ergon-a", "ergon-b"] {
            assert!((400..600).contains(&owned(&two, who)), "{who}: {}", owned(&two, who));
        }
        for who in ["ergon-a", "ergon-b", "ergon-c"] {
            assert!((250..420).contains(&owned(&three, who)), "{who}: {}", owned(&three, who));
        }
        for root in roots() {
            let (before, after) = (owner_of(&two, &root), owner_of(&three, &root));
            assert!(before == after || after.map(String::as_str) == Some("ergon-c"), "{root}");
        }
        // Replicas of different releases must agree.
        assert_eq!(weight("ergon-a", "5f3c6d0e-0000"), WEIGHT);
    }

    const WEIGHT: u64 = 10_814_657_170_804_248_923;

    #[tokio::test(start_paused = true)]
    async fn who_acts() {
        let (both, one) = (members(&["a", "b"]), members(&["a"]));
        let soon = Instant::now() + Duration::from_secs(1);
        let others = |said: &Members| BTreeMap::from([("b".to_owned(), said.clone())]);
        let count = |view: &View, now: Instant| roots().iter().filter(|root| view.is_mine(root, now)).count();
        let now = Instant::now();
        let alone = View::new("a", one.clone(), BTreeMap::new(), soon);
        assert_eq!(count(&alone, now), 1000);
        assert_eq!(count(&alone, soon), 0, "its time is over");
        let shared = View::new("a", both.clone(), others(&both), soon);
        assert!((400..600).contains(&count(&shared, now)) && shared.is_settled());
        // The other one goes by itself alone: all is its own until it says otherwise.
        let waiting = View::new("a", both.clone(), others(&members(&["b"])), soon);
        assert!(count(&waiting, now) == 0 && !waiting.is_settled());
        // What is about to be published counts already where it takes away, and not yet where it gives.
        assert_eq!(count(&alone.restricted(both.clone()), now), count(&shared, now));
        assert_eq!(count(&shared.restricted(one), now), count(&shared, now));
    }

    /// A member that lists and publishes as `Member` does, one request a step.
    struct Simulated {
        published: Option<Members>,
        about_to: Option<Members>,
        view: Option<View>,
    }

    /// Members come, go and learn of each other in any order: no run ever has two.
    #[test]
    fn no_run_is_worked_on_by_two() {
        let names = ["a", "b", "c", "d"];
        let roots: Vec<String> = roots().into_iter().take(16).collect();
        let now = Instant::now();
        let until = now + Duration::from_secs(1);
        let mut shared = 0;
        for seed in 0..150_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut choose = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let mut leases: BTreeMap<String, Members> = BTreeMap::new();
            let mut all: BTreeMap<&str, Simulated> = BTreeMap::new();
            for _ in 0..120 {
                let name = names[usize::try_from(choose(4)).expect("small")];
                if choose(12) == 0 && all.remove(name).is_some() {
                    leases.remove(name);
                    continue;
                }
                let member =
                    all.entry(name).or_insert(Simulated { published: None, about_to: None, view: None });
                if let Some(members) = member.about_to.take() {
                    leases.insert(name.to_owned(), members.clone());
                    member.published = Some(members);
                } else {
                    let mut others = leases.clone();
                    others.remove(name);
                    match (next(name, member.published.as_ref(), &others), &member.published) {
                        (Next::Act, Some(own)) => {
                            member.view = Some(View::new(name, own.clone(), others, until));
                        }
                        (Next::Publish(soon), _) => {
                            member.view = member.view.as_ref().map(|view| view.restricted(soon.clone()));
                            member.about_to = Some(soon);
                        }
                        (Next::Act, None) => panic!("nothing is published"),
                    }
                }
                for root in &roots {
                    let views = all.values().filter_map(|member| member.view.as_ref());
                    let acting = views.filter(|view| view.is_mine(root, now)).count();
                    assert!(acting <= 1, "seed {seed}: {root} has {acting}");
                    shared += acting;
                }
            }
        }
        assert!(shared > 15_000, "and mostly there is one: {shared}");
    }
}
