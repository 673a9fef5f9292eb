//! Images that may be another one tomorrow.

use ergon_api::{StepActionSpec, TaskSpec};

use super::code;
use crate::report::Report;
use crate::rule::UNPINNED_IMAGE;
use crate::spec::At;

pub(crate) fn task(report: &mut Report<'_>, at: &At<'_, TaskSpec>) {
    code::each(at, |path, code| check(report, path, code.image));
    if let Some(template) = &at.spec.step_template {
        check(report, &format!("{}.stepTemplate", at.path), template.image.as_deref());
    }
}

pub(crate) fn action(report: &mut Report<'_>, at: &At<'_, StepActionSpec>) {
    check(report, &at.path, at.spec.image.as_deref());
}

fn check(report: &mut Report<'_>, path: &str, image: Option<&str>) {
    let Some(image) = image else { return };
    let what = match unpinned(image) {
        None => return,
        Some(Unpinned::NoTag) => {
            format!("the image `{image}` has no tag: what runs may change from one run to the next")
        }
        Some(Unpinned::Latest) => {
            format!("the image `{image}` is the latest one: what runs may change from one run to the next")
        }
    };
    let name = image.strip_suffix(":latest").unwrap_or(image);
    report
        .at_value(&UNPINNED_IMAGE, &format!("{path}.image"), what)
        .help(format!("write a version, as in `{name}:1.2`, or a digest: `{name}@sha256:…`"));
}

#[derive(Debug, PartialEq, Eq)]
enum Unpinned {
    NoTag,
    Latest,
}

fn unpinned(image: &str) -> Option<Unpinned> {
    if image.is_empty() || image.contains('@') || image.contains("$(") || image.contains("{{") {
        return None;
    }
    // A colon before the last slash belongs to a port.
    match image.rsplit('/').next()?.split_once(':') {
        None => Some(Unpinned::NoTag),
        Some((_, "latest" | "")) => Some(Unpinned::Latest),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_digests_pin() {
        for (image, wanted) in [
            ("busybox", Some(Unpinned::NoTag)),
            ("registry:5000/team/app", Some(Unpinned::NoTag)),
            ("registry:5000/team/app:latest", Some(Unpinned::Latest)),
            ("app:1", None),
            ("app@sha256:0", None),
            ("app:latest@sha256:0", None),
            ("$(params.image)", None),
            ("{{params.image}}", None),
        ] {
            assert_eq!(unpinned(image), wanted, "{image}");
        }
    }
}
