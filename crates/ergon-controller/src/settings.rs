//! The installation's settings, as they are now: read from ConfigMaps, live.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ergon_api::Config;
use ergon_api::config::{ConfigName, Problem};
use ergon_engine::{Event as RunEvent, EventKind};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource as _};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::events::Events;
use crate::sync::lock;

/// How long the controller waits for the ConfigMaps before it goes on with the defaults.
const PATIENCE: Duration = Duration::from_secs(10);
/// The reason of events about ConfigMaps.
const REASON: &str = "BadSetting";

/// The settings. They change while the controller runs; whoever decides takes one state of them for all of a decision.
#[derive(Debug, Default)]
pub struct Settings {
    config: Mutex<Arc<Config>>,
    authorities: Mutex<Arc<str>>,
}

/// The ConfigMap with certificate authorities to trust besides the machine's own, and its key.
const AUTHORITIES: (&str, &str) = ("config-registry-cert", "cert");

impl Settings {
    /// The settings of now.
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.config))
    }

    /// Certificates in PEM of authorities that registries and other servers are trusted by, besides the machine's own.
    pub fn authorities(&self) -> Arc<str> {
        Arc::clone(&lock(&self.authorities))
    }

    /// Takes over what a ConfigMap says, unless there is an error in it. Gives what is wrong with it.
    pub fn take(&self, name: ConfigName, data: &BTreeMap<String, String>) -> Vec<Problem> {
        Arc::make_mut(&mut lock(&self.config)).take(name, data)
    }
}

/// The watch of the ConfigMaps, from the outside.
pub struct Keeping {
    read: watch::Receiver<bool>,
}

impl Keeping {
    /// Waits until all ConfigMaps are read, or for ten seconds: without them there are defaults.
    pub async fn read(&mut self) {
        let known = tokio::time::timeout(PATIENCE, self.read.wait_for(|read| *read)).await;
        if known.is_err() {
            warn!("the ConfigMaps cannot be read; goes on with the defaults");
        }
    }
}

/// Keeps the settings as the ConfigMaps of a namespace say. In the background, until the process ends.
pub fn keep(
    client: &Client,
    namespace: &str,
    config: watcher::Config,
    settings: &Arc<Settings>,
    events: &Events,
) -> Keeping {
    let (sender, read) = watch::channel(false);
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let mut reader = Reader {
        settings: Arc::clone(settings),
        events: events.clone(),
        seen: BTreeMap::new(),
        listed: None,
    };
    tokio::spawn(async move {
        let mut changes = watcher(api, config).default_backoff().boxed();
        while let Some(change) = changes.next().await {
            match change {
                Ok(change) => {
                    if reader.observe(change) {
                        sender.send_replace(true);
                    }
                }
                Err(error) => warn!(%error, "the watch of the ConfigMaps failed; it is resumed"),
            }
        }
    });
    Keeping { read }
}

struct Reader {
    settings: Arc<Settings>,
    events: Events,
    /// What each ConfigMap said last.
    seen: BTreeMap<ConfigName, BTreeMap<String, String>>,
    /// The ConfigMaps of the list that is coming in.
    listed: Option<Vec<ConfigName>>,
}

impl Reader {
    /// Takes over what changed. True at the end of a list.
    fn observe(&mut self, change: Event<ConfigMap>) -> bool {
        match change {
            Event::Init => self.listed = Some(Vec::new()),
            Event::InitApply(map) | Event::Apply(map) => self.take(&map),
            Event::Delete(map) => {
                if is_authorities(&map) {
                    *lock(&self.settings.authorities) = Arc::default();
                }
                if let Some(name) = name(&map) {
                    self.forget(name);
                }
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                for name in ConfigName::ALL.into_iter().filter(|name| !listed.contains(name)) {
                    self.forget(name);
                }
                return true;
            }
        }
        false
    }

    fn take(&mut self, map: &ConfigMap) {
        if is_authorities(map) {
            let data = map.data.as_ref().and_then(|data| data.get(AUTHORITIES.1));
            *lock(&self.settings.authorities) = data.map(String::as_str).unwrap_or_default().into();
        }
        let Some(name) = name(map) else { return };
        if let Some(listed) = &mut self.listed {
            listed.push(name);
        }
        let data = map.data.clone().unwrap_or_default();
        if self.seen.get(&name) == Some(&data) {
            return;
        }
        let problems = self.settings.take(name, &data);
        self.seen.insert(name, data);
        if !problems.iter().any(Problem::is_error) {
            info!(map = %name, "read the settings");
        }
        for problem in problems {
            let what = if problem.is_error() { "; the settings of before stay" } else { "" };
            warn!(map = %name, key = problem.key, "{problem}{what}");
            let message = format!("{problem}{what}");
            let event = RunEvent { kind: EventKind::Warning, reason: REASON.to_owned(), message };
            self.events.emit(map.object_ref(&()), event);
        }
    }

    fn forget(&mut self, name: ConfigName) {
        if self.seen.remove(&name).is_some() {
            self.settings.take(name, &BTreeMap::new());
            info!(map = %name, "is gone: its settings have their defaults");
        }
    }
}

fn is_authorities(map: &ConfigMap) -> bool {
    map.metadata.name.as_deref() == Some(AUTHORITIES.0)
}

fn name(map: &ConfigMap) -> Option<ConfigName> {
    ConfigName::of(map.metadata.name.as_deref()?)
}

#[cfg(test)]
mod tests {
    use ergon_api::config::Coschedule;
    use serde_json::json;

    use super::*;
    use crate::fake::Fake;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn settings_follow_the_config_maps() {
        let settings = Arc::new(Settings::default());
        let events = Events::start(&Fake::default().client(), "test", &Arc::new(Metrics::default()));
        let mut reader =
            Reader { settings: Arc::clone(&settings), events, seen: BTreeMap::new(), listed: None };
        let map = |name: &str, coschedule: &str| -> ConfigMap {
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "tekton-pipelines"},
                "data": {"coschedule": coschedule}}))
            .expect("a ConfigMap")
        };
        let coschedule = || settings.now().features.coschedule;
        reader.observe(Event::Init);
        reader.observe(Event::InitApply(map("feature-flags", "disabled")));
        reader.observe(Event::InitApply(map("somebody-elses", "pipelineruns")));
        assert!(reader.observe(Event::InitDone));
        assert_eq!(coschedule(), Coschedule::Disabled);
        reader.observe(Event::Apply(map("feature-flags", "nowhere")));
        assert_eq!(coschedule(), Coschedule::Disabled, "the last good settings stay");
        reader.observe(Event::Apply(map("feature-flags", "pipelineruns")));
        assert_eq!(coschedule(), Coschedule::PipelineRuns);
        // It went while the watch was down.
        reader.observe(Event::Init);
        reader.observe(Event::InitDone);
        assert_eq!(coschedule(), Coschedule::Workspaces);
    }
}
