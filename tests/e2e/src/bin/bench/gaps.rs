//! How long nothing runs between two steps of a pod, and between two tasks with pods of their own.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Mutex;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::Space;
use ergon_wire::{ExitRecord, TerminationMessage};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::cases::{Between, Gap};
use crate::measure;

/// Times in milliseconds.
#[derive(Debug, Default)]
pub struct Gaps(Vec<f64>);

impl Gaps {
    fn add(&mut self, milliseconds: i64) {
        #[expect(clippy::cast_precision_loss, reason = "they are short")]
        self.0.push(milliseconds as f64);
        self.0.sort_by(f64::total_cmp);
    }

    /// Adds those between steps that ran one after another.
    fn between(&mut self, mut records: Vec<ExitRecord>) -> Result<()> {
        records.sort_by_key(|record| record.finished_at);
        for pair in records.windows(2) {
            let started = pair[1].started_at.context("a step was not started")?;
            self.add(started - pair[0].finished_at);
        }
        Ok(())
    }

    /// How many were measured.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so many of a hundred are not above.
    pub fn percentile(&self, percent: usize) -> f64 {
        let place = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(place).copied().unwrap_or(f64::NAN)
    }

    /// The line of JSON.
    pub fn json(&self, name: &str, budget: f64) -> Value {
        json!({
            "case": name, "gaps": self.count(), "p50_ms": self.percentile(50), "p99_ms": self.percentile(99),
            "max_ms": self.percentile(100), "budget_ms": budget,
        })
    }
}

/// Measures a case: all gaps of so many runs, one after another.
pub async fn measure(space: &Space, name: &str, case: &Gap, times: usize) -> Result<Gaps> {
    let mut gaps = Gaps::default();
    for number in 0..times {
        let run = (case.run)(&format!("{name}-{number}"));
        match case.between {
            Between::Steps => {
                measure::run_once(space, &run).await?;
                for pod in pods(space).await? {
                    gaps.between(steps(&pod))?;
                }
            }
            Between::Tasks => {
                measure::run_once(space, &run).await?;
                gaps.between(pods(space).await?.iter().flat_map(steps).collect())?;
            }
            Between::Pods => {
                let seen = Mutex::new(BTreeMap::new());
                tokio::select! {
                    watching = note_creations(space, &seen) => bail!("the watch ended: {watching:?}"),
                    ended = measure::run_once(space, &run) => ended?,
                }
                let seen = seen.into_inner().unwrap_or_default();
                let mut all: Vec<(i64, i64)> = Vec::new();
                for pod in pods(space).await? {
                    let made = *seen.get(&pod.name_any()).context("a pod was not seen")?;
                    let ended = steps(&pod).iter().map(|record| record.finished_at).max();
                    all.push((made, ended.context("a pod without steps")?));
                }
                all.sort_unstable();
                for pair in all.windows(2) {
                    gaps.add(pair[1].0 - pair[0].1);
                }
            }
        }
        measure::remove_run(space, &run).await?;
    }
    ensure!(gaps.count() > 0, "there are no gaps");
    Ok(gaps)
}

/// The records that the steps of a pod left behind.
fn steps(pod: &Pod) -> Vec<ExitRecord> {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let messages = containers.filter_map(|container| {
        container
            .state
            .as_ref()?
            .terminated
            .as_ref()?
            .message
            .clone()
            .filter(|_| container.name.starts_with("step-"))
    });
    messages
        .flat_map(|message| {
            TerminationMessage::decode_all(&message).map(|left| left.record).collect::<Vec<_>>()
        })
        .collect()
}

/// The pods of the runs here, once the kubelet has told the ends of their steps.
async fn pods(space: &Space) -> Result<Vec<Pod>> {
    let names: Vec<String> = space
        .api::<Pod>()
        .list_metadata(&ListParams::default())
        .await?
        .iter()
        .map(kube::ResourceExt::name_any)
        .collect();
    let mut all = Vec::new();
    for name in names {
        all.push(space.pod_when(&name, "over", e2e::is_over).await?);
    }
    Ok(all)
}

/// Notes when each pod was first seen, in milliseconds.
async fn note_creations(space: &Space, seen: &Mutex<BTreeMap<String, i64>>) -> Result<()> {
    let api: Api<Pod> = space.api();
    let now = api.list_metadata(&ListParams::default().limit(1)).await?;
    let version = now.metadata.resource_version.context("a list without a resource version")?;
    let mut events = pin!(api.watch_metadata(&WatchParams::default(), &version).await?);
    while let Some(event) = events.try_next().await? {
        if let WatchEvent::Added(pod) = event
            && let Ok(mut seen) = seen.lock()
        {
            seen.insert(pod.name_any(), Timestamp::now().as_millisecond());
        }
    }
    Ok(())
}
