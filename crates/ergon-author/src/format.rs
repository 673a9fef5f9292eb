//! The layout of a manifest's text: indentation, blank lines, the order of the fields that everybody expects first.

mod indent;
mod order;

use crate::scalars::{Scalar, scalars};

/// The text in the layout that the examples have: two spaces for each level, lists indented, no white space at the ends
/// of lines, one blank line at most, `apiVersion`, `kind`, `metadata` and `spec` in that order, and `name` first in the
/// items of lists. Comments, quotes and all other order stay. None where it is no YAML that can be laid out.
pub fn format(text: &str) -> Option<String> {
    let before = values(text)?;
    let text_in = text.replace("\r\n", "\n");
    let indented = indent::indent(&text_in)?;
    let mut formatted = order::order(&indented).unwrap_or(indented);
    while formatted.ends_with("\n\n") {
        formatted.pop();
    }
    // Whatever went wrong, a manifest never means something else afterwards.
    [formatted, text_in].into_iter().find(|formatted| values(formatted).as_ref() == Some(&before))
}

/// What the text means, whatever its layout.
fn values(text: &str) -> Option<Vec<(usize, String, String)>> {
    let one = |one: Scalar| (one.document, one.path, one.value);
    let mut values: Vec<_> = scalars(text)?.into_iter().map(one).collect();
    values.sort_unstable();
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &str) {
        let formatted = format(text).unwrap();
        assert_eq!(formatted, wanted);
        assert_eq!(format(&formatted).as_deref(), Some(wanted), "it is not stable");
    }

    #[test]
    fn levels_are_two_spaces_and_lists_are_indented() {
        check(
            "spec:\n    steps:\n    -   name: a   \n        script: |\n            one\n              two  \n\n            three\n    # about b\n    - name: b\n      args: [x,\n        y]\n      env:\n      - {name: A, value: \"1\"}\n\n\n\n# the end\nkind: Task\n",
            "# the end\nkind: Task\nspec:\n  steps:\n    - name: a\n      script: |\n        one\n          two  \n\n        three\n    # about b\n    - name: b\n      args: [x,\n        y]\n      env:\n        - {name: A, value: \"1\"}\n",
        );
    }

    #[test]
    fn what_everybody_expects_comes_first() {
        check(
            "# A task.\n\n# its spec\nspec:\n  params:\n    - description: which # one\n      name: a\n    # of b\n    - default: >-\n        x\n        y\n      name: b # b\nkind: Task\nmetadata: {name: t}\napiVersion: ergon.dev/v1\n",
            "# A task.\n\napiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: t}\n# its spec\nspec:\n  params:\n    - name: a\n      description: which # one\n    # of b\n    - name: b # b\n      default: >-\n        x\n        y\n",
        );
    }

    #[test]
    fn documents_stay_apart() {
        check(
            "a: 1\n---\n\n\nb:\n- 1\n-   - 2\n    - c: 3\n      d: 4\n",
            "a: 1\n---\n\nb:\n  - 1\n  - - 2\n    - c: 3\n      d: 4\n",
        );
    }

    #[test]
    fn what_is_laid_out_already_stays() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: |2\n     y\n  z: \"a\n    b\"\n  w: a\n    b\n\n  # last\n";
        check(text, text);
    }

    #[test]
    fn what_is_no_yaml_is_not_touched() {
        assert_eq!(format("a: [\n"), None);
    }
}
