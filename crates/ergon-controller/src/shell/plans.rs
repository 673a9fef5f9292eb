//! Plans of pipelines that are under way, so that the engine need not look a large one through at each pass.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use ergon_api::PipelineRun;
use ergon_engine::run::Plan;

use super::Key;
use crate::sync::lock;

/// A smaller pipeline is looked through in no time.
const SMALLEST: usize = 16;

/// The plans of runs that are not done.
#[derive(Debug, Default)]
pub struct Plans {
    kept: Mutex<HashMap<Key, Arc<Plan>>>,
}

impl Plans {
    /// The plan of the spec in a run's status; none where there is none, or it is small.
    pub fn of(&self, key: &Key, run: &PipelineRun) -> Option<Arc<Plan>> {
        let spec = run.status.as_ref()?.pipeline_spec.as_ref()?;
        if spec.tasks.len() < SMALLEST {
            return None;
        }
        if let Some(kept) = lock(&self.kept).get(key).cloned()
            && kept.is_of(spec)
        {
            return Some(kept);
        }
        // What is no graph is for the engine to tell.
        let plan = Arc::new(Plan::of(Arc::clone(spec)).ok()?);
        lock(&self.kept).insert(key.clone(), Arc::clone(&plan));
        Some(plan)
    }

    /// The run has ended, or is gone.
    pub fn forget(&self, key: &Key) {
        lock(&self.kept).remove(key);
    }
}
