//! Ending a run before its time, and removing it.

use ergon_api::{PipelineRun, TaskRun};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::connect::Ergon;
use crate::error::{Error, Result};
use crate::run::{Run, RunKind, RunRef};

/// How to end a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cancel {
    /// Stop every task now; `finally` does not run.
    #[default]
    Now,
    /// Stop every task now, then run `finally`. Only for a PipelineRun.
    RunFinally,
    /// Let running tasks end, start no others, then run `finally`. Only for a PipelineRun.
    Graceful,
}

impl Cancel {
    /// What is written into the run's `spec.status`.
    fn word(self, kind: RunKind) -> Result<&'static str> {
        match (kind, self) {
            (RunKind::TaskRun, Self::Now) => Ok("TaskRunCancelled"),
            (RunKind::PipelineRun, Self::Now) => Ok("Cancelled"),
            (RunKind::PipelineRun, Self::RunFinally) => Ok("CancelledRunFinally"),
            (RunKind::PipelineRun, Self::Graceful) => Ok("StoppedRunFinally"),
            (RunKind::TaskRun, Self::RunFinally | Self::Graceful) => {
                Err(Error::invalid("a TaskRun has no `finally`: it can only be cancelled at once"))
            }
        }
    }
}

impl Ergon {
    /// Asks for a run to end. It has ended once a watch says so. A run that is over stays as it is.
    pub async fn cancel(&self, run: &RunRef, how: Cancel) -> Result<Run> {
        let word = how.word(run.kind)?;
        let now = self.get(run).await?;
        if now.is_done() {
            return Ok(now);
        }
        let here = self.clone().in_namespace(&run.namespace);
        let what = run.to_string();
        let of = |error| Error::of(error, &what);
        // The UID makes sure that a new run which took the name meanwhile is not the one that is hit.
        let patch = Patch::Merge(json!({"metadata": {"uid": now.metadata().uid}, "spec": {"status": word}}));
        let params = PatchParams::default();
        Ok(match run.kind {
            RunKind::PipelineRun => {
                here.api::<PipelineRun>(run.group).patch(&run.name, &params, &patch).await.map_err(of)?.into()
            }
            RunKind::TaskRun => {
                here.api::<TaskRun>(run.group).patch(&run.name, &params, &patch).await.map_err(of)?.into()
            }
        })
    }

    /// Deletes a run, and with it its children and their pods and logs.
    pub async fn delete(&self, run: &RunRef) -> Result<()> {
        let here = self.clone().in_namespace(&run.namespace);
        let what = run.to_string();
        let of = |error| Error::of(error, &what);
        let params = DeleteParams::background();
        match run.kind {
            RunKind::PipelineRun => {
                here.api::<PipelineRun>(run.group).delete(&run.name, &params).await.map_err(of)?;
            }
            RunKind::TaskRun => {
                here.api::<TaskRun>(run.group).delete(&run.name, &params).await.map_err(of)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_words() {
        assert_eq!(Cancel::Now.word(RunKind::TaskRun).unwrap(), "TaskRunCancelled");
        assert_eq!(Cancel::Graceful.word(RunKind::PipelineRun).unwrap(), "StoppedRunFinally");
        assert!(Cancel::RunFinally.word(RunKind::TaskRun).is_err());
    }
}
