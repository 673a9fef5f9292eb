//! The plan, as the pod brings it: in its own environment, so that nothing is read from anywhere else.

use ergon_wire::{PLAN_VERSION, PodPlan};
use serde::Deserialize;

/// A plan that cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("there is no plan: neither the environment variable `ERGON_PLAN` nor `ERGON_PLAN_0` is set")]
    Missing,
    #[error("the plan in the environment is no plan: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error(
        "the plan has version {found}, and this agent reads version {PLAN_VERSION}: give the pod the agent's image that its controller has"
    )]
    Version { found: u32 },
}

/// The plan from `ERGON_PLAN`, or from `ERGON_PLAN_0`, `ERGON_PLAN_1`, … one after the other: the kernel limits the
/// length of one variable.
pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<PodPlan, PlanError> {
    let text = variable("ERGON_PLAN")
        .or_else(|| {
            let chunks = (0..).map_while(|at| variable(&format!("ERGON_PLAN_{at}")));
            Some(chunks.collect::<String>()).filter(|text| !text.is_empty())
        })
        .ok_or(PlanError::Missing)?;
    // The version first: the rest of another version may not be readable.
    let Version { version } = serde_json::from_str(&text)?;
    if version != PLAN_VERSION {
        return Err(PlanError::Version { found: version });
    }
    Ok(serde_json::from_str(&text)?)
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<PodPlan, String> {
        from_environment(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
        .map_err(|error| error.to_string())
    }

    #[test]
    fn a_plan_is_whole_or_in_pieces() {
        let expected = PodPlan { version: PLAN_VERSION, tasks: Vec::new(), ..Default::default() };
        assert_eq!(read(&[("ERGON_PLAN", r#"{"version":4,"tasks":[]}"#)]).unwrap(), expected);
        let pieces =
            [("ERGON_PLAN_1", r#"n":4,"tasks":"#), ("ERGON_PLAN_2", "[]}"), ("ERGON_PLAN_0", r#"{"versio"#)];
        assert_eq!(read(&pieces).unwrap(), expected);
    }

    #[test]
    fn what_is_no_plan_is_told() {
        for (variables, expected) in [
            (&[][..], "there is no plan: neither "),
            (&[("ERGON_PLAN", "{}")], "the plan in the environment is no plan: missing field `version`"),
            (
                &[("ERGON_PLAN", r#"{"version":1,"parts":[]}"#)],
                "the plan has version 1, and this agent reads version 4",
            ),
            (
                &[("ERGON_PLAN", r#"{"version":4}"#)],
                "the plan in the environment is no plan: missing field `tasks`",
            ),
        ] {
            let error = read(variables).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
