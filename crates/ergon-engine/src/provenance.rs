//! Writing down under which settings a run was started.

use ergon_api::{Config, Provenance};

/// Keeps the flags of the start in a status; a change of settings changes nothing about a run that goes on.
pub(crate) fn record(provenance: &mut Option<Provenance>, config: &Config) {
    if !config.features.provenance_in_status {
        return;
    }
    let provenance = provenance.get_or_insert_default();
    if provenance.feature_flags.is_none() {
        provenance.feature_flags = serde_json::to_value(&config.features).ok();
    }
}
