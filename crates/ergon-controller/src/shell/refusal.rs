//! What the API server's refusal to create something means.

use kube::core::Status;

/// Who must do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The user: the object can never be created as it is.
    Final,
    /// Nobody, until something else ends: the namespace's quota is used up.
    OverQuota,
    /// We, or whoever runs the cluster: tried again.
    Retry,
}

/// Reads a refusal. `age_seconds` is how old the run is.
pub(super) fn read(status: &Status, age_seconds: i64) -> Refusal {
    let says = |text: &str| status.message.contains(text);
    match status.code {
        // The same code for: not allowed to us, refused by an admission plugin (Pod Security, limits, quota), and a
        // namespace that is going away.
        403 if says("exceeded quota") || says("must specify limits") && says("quota") => Refusal::OverQuota,
        403 if says("cannot create resource") => Refusal::Retry,
        // A new namespace gets its `default` service account a moment later.
        403 if says("error looking up service account") && age_seconds < 10 => Refusal::Retry,
        400 | 403 | 422 => Refusal::Final,
        _ => Refusal::Retry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals() {
        let pod = "pods \"r-pod\" is forbidden: ";
        for (code, message, age, expected) in [
            (422, "Pod \"r-pod\" is invalid: spec.containers[0].image: Required value".to_owned(), 0, Refusal::Final),
            (400, "admission webhook \"x\" denied the request: no".to_owned(), 0, Refusal::Final),
            (403, format!("{pod}exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"), 0, Refusal::OverQuota),
            (403, format!("{pod}violates PodSecurity \"restricted:latest\": privileged"), 0, Refusal::Final),
            (
                403,
                "pods is forbidden: User \"u\" cannot create resource \"pods\" in API group \"\" in the namespace \"ns\"".to_owned(),
                0,
                Refusal::Retry,
            ),
            (403, format!("{pod}error looking up service account ns/default: serviceaccount \"default\" not found"), 1, Refusal::Retry),
            (403, format!("{pod}error looking up service account ns/x: serviceaccount \"x\" not found"), 60, Refusal::Final),
            (429, "too many requests".to_owned(), 0, Refusal::Retry),
            (500, "etcdserver: request timed out".to_owned(), 0, Refusal::Retry),
        ] {
            let status = Status { code, message: message.clone(), ..Status::failure("", "") };
            assert_eq!(read(&status, age), expected, "{code} {message}");
        }
    }
}
