//! Any script template: it compiles or is refused, nothing panics, and no value is in the script that comes out.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use ergon_template::{Given, Kind, Name, Template};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const VALUE: &str = "\u{1}';\"$(`value`)\n\u{2}";

fuzz_target!(|text: &str| {
    let _ = Template::names(text);
    let names = [("a", Kind::Text), ("n", Kind::Number), ("l", Kind::List), ("o", Kind::Object)];
    let mut names: BTreeMap<String, Name> =
        names.into_iter().map(|(key, kind)| (key.to_owned(), Name::of(kind))).collect();
    names.insert("late".to_owned(), Name { late: true, ..Name::of(Kind::Text) });
    let Ok(template) = Template::script(text, &names, &BTreeSet::new()) else { return };
    let known = |name: &str, value: Value| (name.to_owned(), Given::Known(value));
    let values = BTreeMap::from([
        known("a", VALUE.into()),
        known("n", 7.into()),
        known("l", json!([VALUE, ""])),
        known("o", json!({"k": VALUE})),
        ("late".to_owned(), Given::Later("late".to_owned())),
    ]);
    if let Ok(rendered) = template.render(&values) {
        assert!(text.contains(VALUE) || !rendered.script.contains(VALUE));
    }
});
