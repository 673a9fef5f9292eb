//! Two objects with one name: the one that is applied last stays.

use crate::report::Report;
use crate::rule::DUPLICATE_NAME;
use crate::set::Set;

pub(crate) fn twins<'a>(report: &mut Report<'a>, set: &Set<'a>) {
    for document in &report.source.documents {
        let Some((source, twin)) = set.twin(report.source, document) else { continue };
        let at = twin.source.value("metadata.name");
        report.document = Some(document);
        let message = format!(
            "the {} `{}` is already in {}:{}:{}",
            document.object.kind(),
            document.object.name(),
            source.name,
            at.line,
            at.column
        );
        report.at_value(&DUPLICATE_NAME, "metadata.name", message).help("give it another name".to_owned());
        report.document = None;
    }
}
