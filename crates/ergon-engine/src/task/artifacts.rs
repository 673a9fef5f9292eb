//! Artifacts: what steps and tasks say they used and made, in a `provenance.json`.

use ergon_api::{Artifact, ArtifactValue, Artifacts};

/// Reads a `provenance.json`; none where it is no such JSON. A mistake in it does not fail the step, as Tekton has it.
pub fn read(text: &str) -> Option<Artifacts> {
    serde_json::from_str(text).ok()
}

/// What a reference to an artifact stands for: the JSON of its values.
pub fn values_text(artifact: &Artifact) -> String {
    let values: Vec<serde_json::Value> = artifact
        .values
        .iter()
        .map(|value| {
            let mut object = serde_json::Map::new();
            if !value.digest.is_empty() {
                object.insert("digest".to_owned(), serde_json::json!(value.digest));
            }
            if let Some(uri) = &value.uri {
                object.insert("uri".to_owned(), serde_json::json!(uri));
            }
            serde_json::Value::Object(object)
        })
        .collect();
    serde_json::Value::Array(values).to_string()
}

/// Adds what another list says: new artifacts, and new values of known ones.
pub fn add(all: &mut Artifacts, more: &Artifacts) {
    merge(&mut all.inputs, &more.inputs);
    merge(&mut all.outputs, &more.outputs);
}

fn merge(all: &mut Vec<Artifact>, more: &[Artifact]) {
    for artifact in more {
        let Some(known) = all.iter_mut().find(|known| known.name == artifact.name) else {
            all.push(artifact.clone());
            continue;
        };
        let new: Vec<ArtifactValue> =
            artifact.values.iter().filter(|value| !known.values.contains(value)).cloned().collect();
        known.values.extend(new);
        known.build_output = match (known.build_output, artifact.build_output) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (known, more) => known.or(more),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_the_order_that_consumers_compare() {
        let text = r#"{"outputs": [{"name": "image", "buildOutput": true, "values": [
            {"uri": "pkg:x", "digest": {"sha256": "2", "sha1": "1"}}]}]}"#;
        let artifacts = read(text).unwrap();
        let expected = r#"[{"digest":{"sha1":"1","sha256":"2"},"uri":"pkg:x"}]"#;
        assert_eq!(values_text(&artifacts.outputs[0]), expected);
        assert_eq!(read("no JSON"), None);
    }

    #[test]
    fn what_is_known_is_not_added_twice() {
        let artifacts = |text: &str| read(text).unwrap();
        let mut all = artifacts(r#"{"outputs": [{"name": "a", "values": [{"uri": "1"}]}]}"#);
        let more = artifacts(
            r#"{"inputs": [{"name": "i", "values": [{"uri": "0"}]}],
                "outputs": [{"name": "a", "buildOutput": true, "values": [{"uri": "1"}, {"uri": "2"}]}]}"#,
        );
        add(&mut all, &more);
        let expected = artifacts(
            r#"{"inputs": [{"name": "i", "values": [{"uri": "0"}]}],
                "outputs": [{"name": "a", "buildOutput": true, "values": [{"uri": "1"}, {"uri": "2"}]}]}"#,
        );
        assert_eq!(all, expected);
    }
}
