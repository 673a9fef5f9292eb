//! Any script template: it compiles or is refused, nothing panics, and no value is in the script that comes out.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use ergon_template::{Kind, Name, Template};
use libfuzzer_sys::fuzz_target;

const VALUE: &str = "\u{1}';\"$(`value`)\n\u{2}";

fuzz_target!(|text: &str| {
    let name = |kind| Name { kind, constrained: false };
    let names = [("a", Kind::Text), ("n", Kind::Number), ("l", Kind::List)];
    let names = names.into_iter().map(|(key, kind)| (key.to_owned(), name(kind))).collect();
    let Ok(template) = Template::script(text, &names, &BTreeSet::new()) else { return };
    let values = BTreeMap::from([
        ("a".to_owned(), VALUE.into()),
        ("n".to_owned(), 7.into()),
        ("l".to_owned(), vec![VALUE, ""].into()),
    ]);
    if let Ok(rendered) = template.render(&values, "/values") {
        assert!(text.contains(VALUE) || !rendered.script.contains(VALUE));
    }
});
