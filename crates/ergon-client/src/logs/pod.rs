//! What a log's reader must know of a pod: which of its containers can be read, and why the others cannot.

use std::collections::BTreeMap;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use tokio::sync::watch;

use crate::connect::Ergon;
use crate::watch::watch_one;

/// A pod as far as logs need it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodView {
    /// It was deleted, or it never was.
    pub gone: bool,
    /// It can no longer be watched: why.
    pub lost: Option<String>,
    /// Its containers' states by name.
    pub containers: BTreeMap<String, Container>,
    /// Why it cannot be put on a node.
    pub unschedulable: Option<String>,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Container {
    /// Nothing to read yet; why, when it is not just on its way.
    Waiting { trouble: Option<String> },
    /// It writes, or has written.
    Readable { ended: bool },
}

impl PodView {
    fn of(pod: &Pod) -> Self {
        let Some(status) = &pod.status else { return Self::default() };
        let statuses =
            [&status.init_container_statuses, &status.container_statuses].into_iter().flatten().flatten();
        let containers = statuses
            .map(|status| {
                // After a restart the last state is over, and the container is waiting or running again.
                let state = status.state.as_ref().map_or(Container::Waiting { trouble: None }, container);
                (status.name.clone(), state)
            })
            .collect();
        let unschedulable = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| {
                condition.type_ == "PodScheduled"
                    && condition.status == "False"
                    && condition.reason.as_deref() == Some("Unschedulable")
            })
            .map(|condition| condition.message.clone().unwrap_or_default());
        Self { gone: false, lost: None, containers, unschedulable }
    }

    fn gone() -> Self {
        Self { gone: true, ..Self::default() }
    }
}

fn container(state: &ContainerState) -> Container {
    if state.terminated.is_some() {
        return Container::Readable { ended: true };
    }
    if state.running.is_some() {
        return Container::Readable { ended: false };
    }
    let waiting = state.waiting.as_ref();
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or_default();
    let trouble = (!["", "ContainerCreating", "PodInitializing"].contains(&reason)).then(|| {
        match waiting.and_then(|waiting| waiting.message.as_deref()) {
            Some(message) => format!("{reason}: {message}"),
            None => reason.to_owned(),
        }
    });
    Container::Waiting { trouble }
}

/// Follows a pod until nobody looks at the view, or it is gone. `None` in the view: not known yet.
pub fn follow(ergon: &Ergon, name: &str) -> watch::Receiver<Option<PodView>> {
    let (sender, receiver) = watch::channel(None);
    let changes = watch_one::<Pod>(ergon.core_api(), name);
    tokio::spawn(async move {
        let mut changes = std::pin::pin!(changes);
        loop {
            let change = tokio::select! {
                change = changes.next() => change,
                () = sender.closed() => return,
            };
            let view = match change {
                None => return,
                Some(Ok(Some(pod))) => PodView::of(&pod),
                Some(Ok(None)) => PodView::gone(),
                Some(Err(error)) => PodView { lost: Some(error.to_string()), ..PodView::default() },
            };
            let over = view.gone || view.lost.is_some();
            sender.send_if_modified(|old| {
                let changed = old.as_ref() != Some(&view);
                *old = Some(view);
                changed
            });
            if over {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_view_says_what_can_be_read_and_why_not() {
        let pod: Pod = serde_json::from_value(json!({"status": {
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}],
            "containerStatuses": [
                {"name": "step-a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"terminated": {"exitCode": 0}}},
                {"name": "step-b", "image": "", "imageID": "", "ready": false, "restartCount": 1,
                 "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}},
                {"name": "step-c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"waiting": {"reason": "ContainerCreating"}}},
                {"name": "step-d", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}},
            ],
        }}))
        .unwrap();
        let view = PodView::of(&pod);
        assert_eq!(view.unschedulable.as_deref(), Some("no room"));
        let states: Vec<&Container> = view.containers.values().collect();
        assert_eq!(
            states,
            [
                &Container::Readable { ended: true },
                &Container::Readable { ended: false },
                &Container::Waiting { trouble: None },
                &Container::Waiting { trouble: Some("ImagePullBackOff: no such image".to_owned()) },
            ]
        );
    }
}
