//! ConfigMap `config-events`: where CloudEvents go.

use std::collections::BTreeMap;

use super::read::{Problem, Reader};

/// The one format that there is.
const FORMAT: &str = "tektonv1";

/// Where CloudEvents go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events {
    /// The URL that they are posted to; none: nothing is sent, unless `default-cloud-events-sink` says where.
    pub sink: Option<String>,
}

impl Events {
    pub(super) fn read(data: &BTreeMap<String, String>) -> (Self, Vec<Problem>) {
        let mut reader = Reader::new("config-events", data);
        if let Some(formats) = reader.get("formats") {
            check_formats(&mut reader, formats);
        }
        let sink = reader.text("sink");
        if let Some(sink) = &sink
            && !sink.starts_with("http://")
            && !sink.starts_with("https://")
        {
            let help = "a sink begins with `http://` or `https://`".to_owned();
            reader.error("sink", format!("`sink` is `{sink}`, which is no address"), Some(help));
        }
        (Self { sink }, reader.finish())
    }
}

fn check_formats(reader: &mut Reader<'_>, formats: &str) {
    if formats.is_empty() {
        reader.error("formats", "`formats` is empty", Some(format!("write `{FORMAT}`, or remove the key")));
        return;
    }
    for (at, format) in formats.split(',').enumerate() {
        if format != FORMAT {
            reader.error("formats", format!("`formats` has `{format}`, which is none of {FORMAT}"), None);
        } else if at > 0 {
            reader.error("formats", format!("`formats`: `{format}` stands twice"), None);
            return;
        }
    }
}
