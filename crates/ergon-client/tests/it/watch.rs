//! Watching a run to its end.

use ergon_client::{Error, Phase, RunKind};
use futures::TryStreamExt;

use crate::fake::Fake;
use crate::objects::run;

#[tokio::test(start_paused = true)]
async fn a_watch_that_breaks_goes_on_and_ends_with_the_run() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Started"));
    let ergon = fake.client();
    let reference = ergon.find("r", Some(RunKind::PipelineRun)).await.unwrap().reference();
    let mut changes = std::pin::pin!(ergon.watch(&reference));
    assert_eq!(changes.try_next().await.unwrap().unwrap().phase(), Phase::Running);
    fake.put(run("ergon.dev", "PipelineRun", "r", "Unknown", "Running"));
    let second = changes.try_next().await.unwrap().unwrap();
    assert_eq!(second.condition().unwrap().reason(), "Running");
    fake.break_watches();
    fake.put(run("ergon.dev", "PipelineRun", "r", "True", "Completed"));
    assert_eq!(changes.try_next().await.unwrap().unwrap().phase(), Phase::Succeeded);
    assert!(changes.try_next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_deleted_or_never_was_is_an_error() {
    let fake = Fake::new(&["ergon.dev"]);
    fake.put(run("ergon.dev", "TaskRun", "r", "Unknown", "Running"));
    let ergon = fake.client();
    let reference = ergon.find("r", None).await.unwrap().reference();
    let mut changes = std::pin::pin!(ergon.watch(&reference));
    changes.try_next().await.unwrap().unwrap();
    fake.remove(("taskruns", "r"));
    assert!(matches!(changes.try_next().await.unwrap_err(), Error::Deleted { .. }));
    assert!(changes.try_next().await.unwrap().is_none());
    assert!(matches!(ergon.wait(&reference).await.unwrap_err(), Error::NotFound { .. }));
}
