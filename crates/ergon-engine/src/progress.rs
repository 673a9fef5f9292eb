//! Telling that a run goes on.

use ergon_api::{Condition, ConditionStatus};

use crate::action::{Event, EventKind};

/// The event that a change of condition comes to while the run goes on: it has the condition's own reason and message,
/// as Tekton's has. The start and the end of a run have events of their own.
pub fn progress(before: Option<&Condition>, after: Option<&Condition>) -> Option<Event> {
    let (before, after) = (before?, after?);
    let said = |condition: &Condition| (condition.reason().to_owned(), condition.message().to_owned());
    if after.status != ConditionStatus::Unknown || said(before) == said(after) {
        return None;
    }
    let (reason, message) = said(after);
    Some(Event { kind: EventKind::Normal, reason, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_on_the_way_is_told() {
        use ConditionStatus::{False, Unknown};
        let condition = |status, reason: &str, message: &str| Condition::succeeded(status, reason, message);
        let started = condition(Unknown, "Started", "");
        let running = condition(Unknown, "Running", "Incomplete: 2");
        for (before, after, expected) in [
            (None, Some(&started), None),
            (Some(&started), Some(&running), Some("Running Incomplete: 2")),
            (Some(&running), Some(&running), None),
            (
                Some(&running),
                Some(&condition(Unknown, "Running", "Incomplete: 1")),
                Some("Running Incomplete: 1"),
            ),
            (Some(&running), Some(&condition(False, "Failed", "")), None),
            (Some(&running), None, None),
        ] {
            let told = progress(before, after).map(|event| format!("{} {}", event.reason, event.message));
            assert_eq!(told.as_deref(), expected, "{before:?} {after:?}");
        }
    }
}
