//! An end that is held up for the node's word on it, for a moment.
//!
//! The agent's report is sooner than the kubelet's status of the pod. Programs that know Tekton read a run once, when it
//! has ended, and expect what only the kubelet says: which image each step ran, and, of a failure, that the containers
//! have ended. The first is mostly known some 10 ms after a fast step's end, the second after up to a second.

use ergon_api::Group;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::steps::{StepView, container_status};
use super::verdict::{Verdict, is_over};
use super::{Observed, attempt};
use crate::fuse;

/// How long images are waited for.
const IMAGES: SignedDuration = SignedDuration::from_secs(1);
/// How long the ends of containers are waited for: the kubelet looks once a second.
const ENDS: SignedDuration = SignedDuration::from_secs(2);

/// Until when this verdict is not written, if the node has more to say on it.
pub(super) fn until(
    observed: &Observed<'_>,
    pod: &Pod,
    steps: &[StepView],
    verdict: &Verdict,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_asked_for = observed.group == Group::Tekton
        // Without reports, the node's word is all there is; a shared pod goes on.
        && observed.platform.report.is_some()
        && fuse::pod_of(observed.run).is_none();
    let is_leaving = is_over(pod) || pod.metadata.deletion_timestamp.is_some();
    if !is_asked_for || is_leaving || !steps.iter().all(|step| step.state.is_ended()) {
        return None;
    }
    let ended = steps.iter().filter_map(StepView::finished_at).max()?;
    // The next try's pod says nothing on this one's, and takes longer than that to end.
    let is_last_failure = matches!(verdict, Verdict::Failed { .. }) && !attempt::may_retry(observed.run);
    let patience = match verdict {
        Verdict::Running { .. } => return None,
        _ if is_last_failure && !have_ended(pod, steps) => ENDS,
        _ if steps.iter().any(|step| step.image_id.is_none()) => IMAGES,
        _ => return None,
    };
    // A node whose clock is far ahead would hold a run up for as long.
    let is_soon = ended.duration_since(now) <= IMAGES;
    ended.checked_add(patience).ok().filter(|until| *until > now && is_soon)
}

/// Whether the kubelet says that the steps have ended, and the agent, which outlives them. Where there are sidecars it is
/// an init container, and ends after them.
fn have_ended(pod: &Pod, steps: &[StepView]) -> bool {
    let ended = |name: &str| {
        container_status(Some(pod), name)
            .and_then(|status| status.state.as_ref())
            .is_some_and(|state| state.terminated.is_some())
    };
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let agent = containers.map(|container| container.name.as_str()).find(|name| *name == crate::pod::AGENT);
    steps.iter().map(|step| step.container.as_str()).chain(agent).all(ended)
}
