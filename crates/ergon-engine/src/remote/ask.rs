//! Questions as objects: a ResolutionRequest from its making to its answer.

use ergon_api::{
    Condition, ConditionStatus, Config, RefSource, ResolutionRequest, ResolutionRequestSpec, SUCCEEDED,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

use super::Request;

/// The reason of a request that no resolver answered in time.
const TIMED_OUT: &str = "ResolutionTimedOut";

/// What is to be done about a ResolutionRequest now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Next {
    /// Its conditions are to become these.
    pub conditions: Option<Vec<Condition>>,
    /// A resolver of ours is to answer it.
    pub resolve: bool,
    /// When to look again, even if nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// Looks after a request: says that it waits, that it has an answer, or that none came in time.
///
/// `is_known`: the resolver that it is for is one of ours.
pub fn attend(request: &ResolutionRequest, is_known: bool, config: &Config, now: Timestamp) -> Next {
    if request.is_done() || request.metadata.deletion_timestamp.is_some() {
        return Next::default();
    }
    let longest = config.defaults.maximum_resolution_timeout;
    let created = request.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    let end = created.checked_add(SignedDuration::from_nanos(longest.as_nanos())).unwrap_or(Timestamp::MAX);
    let status = request.status.clone().unwrap_or_default();
    let mut next = Next::default();
    let condition = if !status.data.is_empty() {
        Condition { type_: SUCCEEDED.to_owned(), status: ConditionStatus::True, ..Condition::default() }
    } else if now > end {
        let message = format!("resolution took longer than global timeout of {longest}");
        Condition::succeeded(ConditionStatus::False, TIMED_OUT, message)
    } else {
        next.resolve = is_known;
        // A moment later: at the very end it is still in time.
        next.wake_at = end.checked_add(SignedDuration::from_millis(1)).ok();
        Condition::succeeded(ConditionStatus::Unknown, "ResolutionInProgress", "waiting for resolver")
    };
    let mut changed = status;
    if changed.set_condition(condition, Time(now)) {
        next.conditions = Some(changed.conditions);
    }
    next
}

/// The object that asks a question for a run, under the name that Tekton gives it.
pub fn object_for(request: &Request, namespace: &str, run: &OwnerReference) -> ResolutionRequest {
    ResolutionRequest {
        api_version: ResolutionRequest::API_VERSION.to_owned(),
        kind: ResolutionRequest::KIND.to_owned(),
        metadata: ObjectMeta {
            name: Some(request.name(namespace, &run.name)),
            namespace: Some(namespace.to_owned()),
            labels: Some([(ResolutionRequest::RESOLVER_LABEL.to_owned(), request.resolver.clone())].into()),
            owner_references: Some(vec![run.clone()]),
            ..ObjectMeta::default()
        },
        spec: ResolutionRequestSpec { params: request.params.clone(), url: request.url.clone() },
        status: None,
    }
}

/// The answer to a question that was asked as an object: base64 and where it came from, or why there is none.
/// Nothing while it is not there.
pub fn answer_of(request: &ResolutionRequest) -> Option<Result<(&str, RefSource), String>> {
    let condition = request.condition().filter(|_| request.is_done())?;
    let status = request.status.as_ref()?;
    Some(if condition.status == ConditionStatus::True {
        let source = status.ref_source.clone().or_else(|| status.source.clone());
        Ok((&status.data, source.unwrap_or_default()))
    } else {
        let message = condition.message();
        // Mostly a name that is written wrong: the question waits for somebody who is not there.
        let is_late = condition.reason() == TIMED_OUT;
        let more = format!(": no resolver named `{}` has answered", request.resolver());
        Err(if is_late { format!("{message}{more}") } else { message.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-01-01T00:00:30Z";

    fn request(created: &str, status: &Value) -> ResolutionRequest {
        serde_json::from_value(
            json!({"metadata": {"name": "r", "creationTimestamp": created}, "status": status}),
        )
        .unwrap()
    }

    fn conditions(status: &str, reason: &str) -> Value {
        json!([{"type": "Succeeded", "status": status, "reason": reason, "message": "m"}])
    }

    #[test]
    fn a_request_waits_is_answered_or_ends() {
        let now: Timestamp = NOW.parse().unwrap();
        for (created, status, expected, resolve, wakes) in [
            (NOW, json!({}), "Unknown ResolutionInProgress waiting for resolver", true, true),
            (
                "2025-12-31T23:59:30Z",
                json!({}),
                "Unknown ResolutionInProgress waiting for resolver",
                true,
                true,
            ),
            (
                "2025-12-31T23:59:29Z",
                json!({}),
                "False ResolutionTimedOut resolution took longer than global timeout of 1m0s",
                false,
                false,
            ),
            // Late, but there.
            ("2025-01-01T00:00:00Z", json!({"data": "YQ=="}), "True  ", false, false),
            (NOW, json!({"data": "YQ==", "conditions": conditions("Unknown", "x")}), "True  ", false, false),
            (NOW, json!({"conditions": conditions("False", "ResolutionFailed")}), "", false, false),
            (NOW, json!({"conditions": conditions("True", "")}), "", false, false),
        ] {
            let request = request(created, &status);
            let next = attend(&request, true, &Config::default(), now);
            let told = next.conditions.iter().flatten().map(|condition| {
                assert_eq!(condition.last_transition_time, Some(Time(now)));
                format!("{:?} {} {}", condition.status, condition.reason(), condition.message())
            });
            assert_eq!(told.collect::<String>(), expected, "{request:?}");
            assert_eq!((next.resolve, next.wake_at.is_some()), (resolve, wakes), "{request:?}");
            assert!(!attend(&request, false, &Config::default(), now).resolve);
        }
    }

    #[test]
    fn what_is_said_once_is_not_said_again() {
        let now: Timestamp = NOW.parse().unwrap();
        let mut request = request(NOW, &json!({}));
        let next = attend(&request, false, &Config::default(), now);
        request.status.get_or_insert_default().conditions = next.conditions.unwrap();
        let later = now.checked_add(SignedDuration::from_secs(5)).unwrap();
        assert_eq!(attend(&request, false, &Config::default(), later).conditions, None);
    }

    #[test]
    fn answers() {
        let answer = |status: Value| {
            let request = request(NOW, &status);
            answer_of(&request)
                .map(|answer| answer.map(|(data, source)| (data.to_owned(), source.uri.unwrap_or_default())))
        };
        assert_eq!(answer(json!({"data": "YQ==", "conditions": conditions("Unknown", "")})), None);
        let fetched = json!({"data": "YQ==", "source": {"uri": "old"}, "conditions": conditions("True", "")});
        assert_eq!(answer(fetched.clone()), Some(Ok(("YQ==".to_owned(), "old".to_owned()))));
        let mut newer = fetched;
        newer["refSource"] = json!({"uri": "new"});
        assert_eq!(answer(newer), Some(Ok(("YQ==".to_owned(), "new".to_owned()))));
        assert_eq!(answer(json!({"conditions": conditions("False", "x")})), Some(Err("m".to_owned())));
        assert_eq!(
            answer(json!({"conditions": conditions("False", TIMED_OUT)})),
            Some(Err("m: no resolver named `` has answered".to_owned()))
        );
    }
}
