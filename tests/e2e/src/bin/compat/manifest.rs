//! The files: which there are, what is expected of them, and the rewrites that make them fit a test cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::features::Flags;

/// What a folder says about how its files end.
const EXPECTED: &str = "expected.json";

/// A file to run.
#[derive(Debug)]
pub struct Manifest {
    /// Its path below its folder.
    pub name: String,
    pub path: PathBuf,
    /// How it ends elsewhere, where the folder says so.
    pub expected: Option<Expected>,
}

/// How a file ended where Tekton ran it.
#[derive(Debug, Clone, Deserialize)]
pub struct Expected {
    pub flags: Option<Flags>,
    /// How long its runs took there.
    pub seconds: Option<f64>,
    /// How many TaskRuns there were.
    pub taskruns: Option<usize>,
    /// The shape of each run: see [`crate::shape`].
    #[serde(default)]
    pub runs: Vec<Value>,
}

#[derive(Deserialize)]
struct Expectations {
    files: BTreeMap<String, Expected>,
}

impl Manifest {
    /// The feature flags that it is to be run with.
    pub fn flags(&self) -> Option<Flags> {
        self.expected.as_ref()?.flags
    }

    /// Its text, moved to a namespace and to what a test cluster has.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn text(&self, namespace: &str, repository: &str) -> Result<String> {
        let text = fs::read_to_string(&self.path).with_context(|| self.path.display().to_string())?;
        Ok(rewritten(&text, namespace, repository))
    }
}

/// The manifests in a folder and in those below it, by path.
///
/// # Errors
/// The folder or its `expected.json` cannot be read.
pub fn in_folder(folder: &Path) -> Result<Vec<Manifest>> {
    let path = folder.join(EXPECTED);
    let mut expectations = BTreeMap::new();
    if path.exists() {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        expectations = serde_json::from_str::<Expectations>(&text)
            .with_context(|| format!("{} is not as expected", path.display()))?
            .files;
    }
    let mut found = Vec::new();
    collect(folder, folder, &mut expectations, &mut found)?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

fn collect(
    root: &Path,
    folder: &Path,
    expectations: &mut BTreeMap<String, Expected>,
    found: &mut Vec<Manifest>,
) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, expectations, found)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            let expected = expectations.remove(&name);
            found.push(Manifest { name, path, expected });
        }
    }
    Ok(())
}

/// The first two are those of Tekton's own test of its examples. A foreign digest cannot be met by an image that was made
/// for a test, so it goes.
fn rewritten(text: &str, namespace: &str, repository: &str) -> String {
    static RULES: LazyLock<[Regex; 3]> = LazyLock::new(|| {
        [
            r"namespace: default\b",
            r"[\w.]+/christiewilson-catfactory",
            r#"(?m)^(\s*(?:- )?(?:image|value):\s*["']?[^\s"'@]+)@sha256:[0-9a-f]{64}"#,
        ]
        .map(|rule| Regex::new(rule).expect("the rule is a regular expression"))
    });
    let [default, catfactory, digest] = &*RULES;
    let namespace = format!("namespace: {namespace}");
    let text = default.replace_all(text, regex::NoExpand(&namespace));
    let text = catfactory.replace_all(&text, regex::NoExpand(repository));
    digest.replace_all(&text, "$1").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_moved_to_the_test_cluster() {
        let digest = "0d39fcc8335d6d74d5502f6df2d30119ff4790ebbb60b364818d5112d9e3e932";
        let text = format!(
            "namespace: default\nnamespace: defaults\n- image: a.io/b:1@sha256:{digest}\n  \
             value: \"c.io/d@sha256:{digest}\" # e\n  other: f@sha256:{digest}\n  \
             default: gcr.io/christiewilson-catfactory\n"
        );
        assert_eq!(
            rewritten(&text, "space", "registry/$1"),
            format!(
                "namespace: space\nnamespace: defaults\n- image: a.io/b:1\n  value: \"c.io/d\" # e\n  \
                 other: f@sha256:{digest}\n  default: registry/$1\n"
            )
        );
    }
}
