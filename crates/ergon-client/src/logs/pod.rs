//! What a log's reader must know of a pod: which of its containers can be read, and why the others cannot.

use std::collections::BTreeMap;

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use tokio::sync::watch;
use tokio::time::Instant;

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

    /// Nothing more will be known of it.
    pub fn is_over(&self) -> bool {
        self.gone || self.lost.is_some()
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

/// A pod as it is, then as it changes, until it is gone or lost.
fn views(ergon: &Ergon, name: &str) -> impl Stream<Item = PodView> + Send + use<> {
    let views = watch_one::<Pod>(ergon.core_api(), name).map(|change| match change {
        Ok(Some(pod)) => PodView::of(&pod),
        Ok(None) => PodView::gone(),
        Err(error) => PodView { lost: Some(error.to_string()), ..PodView::default() },
    });
    views.scan(false, |over, view| {
        let before = std::mem::replace(over, view.is_over());
        std::future::ready((!before).then_some(view))
    })
}

/// Follows a pod until nobody looks at the view, or it is gone. `None` in the view: not known yet.
pub fn follow(ergon: &Ergon, name: &str) -> watch::Receiver<Option<PodView>> {
    let (sender, receiver) = watch::channel(None);
    let views = views(ergon, name);
    tokio::spawn(async move {
        let mut views = std::pin::pin!(views);
        loop {
            let view = tokio::select! {
                view = views.next() => view,
                () = sender.closed() => return,
            };
            let Some(view) = view else { return };
            sender.send_if_modified(|old| {
                let changed = old.as_ref() != Some(&view);
                *old = Some(view);
                changed
            });
        }
    });
    receiver
}

/// A pod that is looked at only when something has to be known of it, and for a bounded time.
pub struct PodLook {
    views: BoxStream<'static, PodView>,
    view: Option<PodView>,
    patience: Duration,
    /// From the first time that something had to be waited for.
    deadline: Option<Instant>,
}

impl PodLook {
    /// `patience`: how long is waited in all.
    pub fn new(ergon: &Ergon, name: &str, patience: Duration) -> Self {
        Self { views: views(ergon, name).boxed(), view: None, patience, deadline: None }
    }

    /// The pod once it is as wanted, or as it was last seen when it is not so in time. Nothing more can be waited for
    /// once it is gone or lost.
    pub async fn until(&mut self, wanted: impl Fn(&PodView) -> bool) -> Option<&PodView> {
        while self.view.as_ref().is_none_or(|view| !view.is_over() && !wanted(view)) {
            let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.patience);
            match tokio::time::timeout_at(deadline, self.views.next()).await {
                Ok(Some(view)) => self.view = Some(view),
                Ok(None) | Err(_) => break,
            }
        }
        self.view.as_ref()
    }
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
