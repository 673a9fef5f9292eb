//! The installation's settings, as they are now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ergon_api::Config;
use ergon_api::config::{ConfigName, Problem};

use crate::sync::lock;

/// The settings. They change while the controller runs; whoever decides takes one state of them for all of a decision.
#[derive(Debug, Default)]
pub struct Settings {
    config: Mutex<Arc<Config>>,
}

impl Settings {
    /// The settings of now.
    pub fn now(&self) -> Arc<Config> {
        Arc::clone(&lock(&self.config))
    }

    /// Takes over what a ConfigMap says, unless there is an error in it. Gives what is wrong with it.
    pub fn take(&self, name: ConfigName, data: &BTreeMap<String, String>) -> Vec<Problem> {
        Arc::make_mut(&mut lock(&self.config)).take(name, data)
    }
}
