//! The replicas and what each works on: every replica has a Lease, and renews it. See [`shares`] for the rules.
//!
//! As in Kubernetes' own leader election, a Lease counts as expired only when it has not changed for its whole duration
//! by our own clock, so that clocks need not agree; and every write names the version that it is based on.

#[cfg(test)]
mod against_a_fake;
pub mod shares;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

use self::shares::{Members, Next, View};
use crate::install::NAME;
use crate::sync::lock;

/// The label of the Leases, and its value.
const LABEL: (&str, &str) = ("ergon.dev/member", "controller");
/// The annotation with the members that a replica goes by, with commas.
const MEMBERS: &str = "ergon.dev/members";

/// The annotation with the address at which the others reach a replica.
const ADDRESS: &str = "ergon.dev/address";

/// A replica that has not renewed for so long is gone: its runs move to the others.
const DURATION: Duration = Duration::from_secs(10);
/// A replica that could not renew for so long stops, before the others may begin.
const DEADLINE: Duration = Duration::from_secs(7);
/// How often a replica renews.
const RENEW: Duration = Duration::from_secs(2);
/// How often a replica looks for the others. Runs of one that has ended go on after the next look.
const LOOK: Duration = Duration::from_secs(1);
/// The same while not all go by the same members.
const LOOK_SOON: Duration = Duration::from_millis(200);
/// Leases of replicas that ended without a word are deleted after this.
const GARBAGE: Duration = Duration::from_mins(5);
// The last renewal may be seen one look later than it was made.
const _: () = assert!(DEADLINE.as_secs() < DURATION.as_secs());
const _: () = assert!(DURATION.as_secs() + 2 * LOOK.as_secs() + RENEW.as_secs() < 15);

/// What this replica works on, for all who ask.
#[derive(Debug, Default)]
pub struct Shares {
    role: Mutex<Role>,
    /// Where the other replicas are.
    addresses: Mutex<BTreeMap<String, SocketAddr>>,
}

#[derive(Debug, Default)]
enum Role {
    /// There is no other replica.
    #[default]
    Alone,
    /// It has not joined the others yet, or has left them.
    Away,
    Member(Arc<View>),
}

impl Shares {
    /// All runs are this replica's.
    pub fn work_alone(&self) {
        *lock(&self.role) = Role::Alone;
    }

    /// No run is this replica's.
    pub fn stay_away(&self) {
        *lock(&self.role) = Role::Away;
    }

    /// Whether it works on anything.
    pub fn works(&self) -> bool {
        !matches!(*lock(&self.role), Role::Away)
    }

    /// Whether the run is this replica's. `root` gives the UID of the run that it is a part of, or its own; it is asked
    /// only where that matters. What has none is nobody's.
    pub fn is_mine(&self, root: impl FnOnce() -> Option<String>) -> bool {
        let view = match &*lock(&self.role) {
            Role::Alone => return true,
            Role::Away => return false,
            Role::Member(view) => Arc::clone(view),
        };
        root().is_some_and(|root| view.is_mine(&root, Instant::now()))
    }

    /// Where the other replica is whose run this is.
    pub fn elsewhere(&self, root: impl FnOnce() -> Option<String>) -> Option<SocketAddr> {
        let view = match &*lock(&self.role) {
            Role::Alone | Role::Away => return None,
            Role::Member(view) => Arc::clone(view),
        };
        lock(&self.addresses).get(view.owner(&root()?)?).copied()
    }

    /// How many replicas share the runs, as this one sees it; 0 where it does not work.
    pub fn members(&self) -> usize {
        match &*lock(&self.role) {
            Role::Alone => 1,
            Role::Away => 0,
            Role::Member(view) => view.len(),
        }
    }

    fn restrict(&self, soon: &Members) {
        let mut role = lock(&self.role);
        if let Role::Member(view) = &*role {
            *role = Role::Member(Arc::new(view.restricted(soon.clone())));
        }
    }

    /// Takes a new view. True where it may give other runs than before.
    fn act(&self, view: View) -> bool {
        let mut role = lock(&self.role);
        let is_same = matches!(&*role, Role::Member(known) if known.gives_as(&view));
        *role = Role::Member(Arc::new(view));
        !is_same
    }
}

/// Why a replica is no member any more.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the API server did not answer as it should")]
    Api(#[from] kube::Error),
    #[error("the Lease was written or deleted by somebody else")]
    Lost,
}

/// What is known of somebody's Lease.
struct Seen {
    version: Option<String>,
    uid: Option<String>,
    /// When it last changed, by our clock.
    at: Instant,
    members: Members,
    address: Option<SocketAddr>,
}

/// What this replica has published.
struct Own {
    lease: Lease,
    members: Members,
    /// Just before it was last written.
    renewed: Instant,
}

/// This replica, as one of several.
pub struct Member {
    api: Api<Lease>,
    identity: String,
    address: Option<SocketAddr>,
    /// The name of its Lease, and its own among the members.
    name: String,
    others: BTreeMap<String, Seen>,
    own: Option<Own>,
}

impl Member {
    /// `identity` must differ between replicas: the pod's name. `address`: where the others reach it.
    pub fn new(client: Client, namespace: &str, identity: String, address: Option<SocketAddr>) -> Self {
        let name = lease_name(&identity);
        let api = Api::namespaced(client, namespace);
        Self { api, identity, address, name, others: BTreeMap::new(), own: None }
    }

    /// Joins the others. The first try is made at once.
    pub async fn join(&mut self, shares: &Shares) {
        loop {
            match timeout(DEADLINE, self.round(shares)).await {
                Ok(Ok(Round::Published)) => continue,
                Ok(Ok(Round::Acts { is_settled, .. })) => {
                    info!(name = self.name, members = shares.members(), is_settled, "has joined");
                    return;
                }
                Ok(Err(error)) => warn!(%error, "cannot join the other replicas"),
                Err(_) => warn!("cannot join the other replicas: no answer"),
            }
            // Whatever was written: it is looked at anew.
            self.own = None;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Goes on as a member until that fails for too long. `changed` is called whenever other runs may be this replica's.
    pub async fn keep(&mut self, shares: &Shares, changed: impl Fn()) {
        let mut pause = Duration::ZERO;
        while let Some(own) = &self.own {
            let end = own.renewed + DEADLINE;
            tokio::time::sleep_until((Instant::now() + pause).min(end)).await;
            if Instant::now() >= end {
                break;
            }
            pause = LOOK;
            match timeout_at(end, self.round(shares)).await {
                Ok(Ok(Round::Published)) => pause = Duration::ZERO,
                Ok(Ok(Round::Acts { is_new, is_settled })) => {
                    if is_new {
                        info!(members = shares.members(), is_settled, "shares the runs anew");
                        changed();
                    }
                    if !is_settled {
                        pause = LOOK_SOON;
                    }
                }
                Ok(Err(RoundError::Api(error))) => warn!(%error, "the Lease cannot be renewed"),
                Ok(Err(error @ RoundError::Lost)) => {
                    warn!(%error, name = self.name, "is no member any more");
                    break;
                }
                Err(_) => break,
            }
        }
        shares.stay_away();
    }

    /// Leaves the others, so that they need not wait for the Lease to expire. This replica must have stopped.
    pub async fn leave(&mut self) -> Result<(), kube::Error> {
        let Some(own) = self.own.take() else { return Ok(()) };
        let preconditions =
            Preconditions { uid: own.lease.uid(), resource_version: own.lease.resource_version() };
        self.api.delete(&self.name, &DeleteParams::default().preconditions(preconditions)).await?;
        info!("has left the other replicas");
        Ok(())
    }

    /// One look at the others, and what follows from it.
    async fn round(&mut self, shares: &Shares) -> Result<Round, RoundError> {
        let params = ListParams::default().labels(&format!("{}={}", LABEL.0, LABEL.1));
        let listed = self.api.list(&params).await?.items;
        let found = self.observe(listed);
        self.sweep().await;
        let live: BTreeMap<String, Members> = self
            .others
            .iter()
            .filter(|(_, seen)| seen.at.elapsed() < DURATION)
            .map(|(name, seen)| (name.clone(), seen.members.clone()))
            .collect();
        match (shares::next(&self.name, self.own.as_ref().map(|own| &own.members), &live), &self.own) {
            (Next::Publish(members), _) => {
                shares.restrict(&members);
                self.write(members, found).await?;
                Ok(Round::Published)
            }
            (Next::Act, None) => Ok(Round::Published),
            (Next::Act, Some(own)) => {
                let members = own.members.clone();
                let mut renewed = own.renewed;
                if renewed.elapsed() >= RENEW {
                    renewed = self.write(members.clone(), found).await?;
                }
                let view = View::new(&self.name, members, live, renewed + DEADLINE);
                let is_settled = view.is_settled();
                let addresses = self.others.iter();
                *lock(&shares.addresses) =
                    addresses.filter_map(|(name, seen)| Some((name.clone(), seen.address?))).collect();
                Ok(Round::Acts { is_new: shares.act(view), is_settled })
            }
        }
    }

    /// Takes a list. Gives our own Lease, if it is in it.
    fn observe(&mut self, listed: Vec<Lease>) -> Option<Lease> {
        let now = Instant::now();
        let mut own = None;
        let mut others = BTreeMap::new();
        for lease in listed {
            let name = lease.name_any();
            if name == self.name {
                own = Some(lease);
                continue;
            }
            let version = lease.resource_version();
            let known = self.others.remove(&name).filter(|seen| seen.version == version);
            let seen = known.unwrap_or_else(|| Seen {
                version,
                uid: lease.uid(),
                at: now,
                members: members_of(&lease),
                address: lease.annotations().get(ADDRESS).and_then(|address| address.parse().ok()),
            });
            others.insert(name, seen);
        }
        self.others = others;
        own
    }

    /// Deletes what replicas have left behind that ended without a word.
    async fn sweep(&self) {
        for (name, seen) in self.others.iter().filter(|(_, seen)| seen.at.elapsed() >= GARBAGE) {
            let (uid, resource_version) = (seen.uid.clone(), seen.version.clone());
            let preconditions = Preconditions { uid, resource_version };
            let deleted = self.api.delete(name, &DeleteParams::default().preconditions(preconditions)).await;
            debug!(name, is_deleted = deleted.is_ok(), "the Lease of a replica that is gone");
        }
    }

    /// Publishes the members that we go by, and renews with it. Gives the time just before.
    async fn write(&mut self, members: Members, found: Option<Lease>) -> Result<Instant, RoundError> {
        let renewed = Instant::now();
        let is_member = self.own.is_some();
        // A Lease that is there although we have published nothing is that of this replica before it was restarted.
        let base = self.own.as_ref().map(|own| own.lease.clone()).or(found);
        let lease = self.lease(base.as_ref(), &members);
        let outcome = match &base {
            Some(_) => self.api.replace(&self.name, &PostParams::default(), &lease).await,
            None => self.api.create(&PostParams::default(), &lease).await,
        };
        match outcome {
            Ok(lease) => {
                self.own = Some(Own { lease, members, renewed });
                Ok(renewed)
            }
            Err(kube::Error::Api(status)) if is_member && matches!(status.code, 404 | 409) => {
                Err(RoundError::Lost)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn lease(&self, base: Option<&Lease>, members: &Members) -> Lease {
        let now = MicroTime(Timestamp::now());
        let acquired = base.and_then(|lease| lease.spec.as_ref()?.acquire_time.clone());
        let members = members.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let mut annotations = BTreeMap::from([(MEMBERS.to_owned(), members)]);
        annotations.extend(self.address.map(|address| (ADDRESS.to_owned(), address.to_string())));
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())])),
                annotations: Some(annotations),
                resource_version: base.and_then(ResourceExt::resource_version),
                ..Default::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: acquired.or_else(|| Some(now.clone())),
                renew_time: Some(now),
                ..Default::default()
            }),
        }
    }
}

/// What came of a look.
enum Round {
    /// Something was published: look again at once.
    Published,
    Acts {
        is_new: bool,
        is_settled: bool,
    },
}

fn members_of(lease: &Lease) -> Members {
    let said = lease.annotations().get(MEMBERS).map(String::as_str).unwrap_or_default();
    said.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// A name that an object can have; a pod of ours has one that says whose it is.
fn lease_name(identity: &str) -> String {
    let fits = |character: char| match character.to_ascii_lowercase() {
        character @ ('a'..='z' | '0'..='9' | '-' | '.') => character,
        _ => '-',
    };
    let name: String = identity.chars().map(fits).collect();
    let name = name.trim_matches(['-', '.']);
    if name.starts_with(NAME) { name.to_owned() } else { format!("{NAME}-{name}") }
}
