//! The files that are open in the editor, and those beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ergon_lint::{Set, Source};
use lsp_types::Uri;

use super::place::name_of;
use crate::lint::{beside, read_tests};

/// A file that is open.
#[derive(Debug)]
pub struct Open {
    pub uri: Uri,
    pub version: i32,
    pub source: Source,
    /// As it was when it could be read last.
    pub readable: Option<Source>,
}

impl Open {
    /// The file, or as it was when it could be read last.
    pub fn best(&self) -> &Source {
        match &self.readable {
            Some(readable) if self.source.documents.is_empty() => readable,
            _ => &self.source,
        }
    }
}

/// All files that are known.
#[derive(Debug, Default)]
pub struct Store {
    open: BTreeMap<String, Open>,
    /// The files of a folder that are not open, as they are on the disk.
    beside: BTreeMap<String, Vec<Source>>,
    /// Files about which something else is to be said.
    changed: BTreeSet<String>,
}

impl Store {
    /// A file is open with this text, or has it now.
    pub fn set(&mut self, uri: Uri, version: i32, text: &str) {
        let name = name_of(&uri);
        let mut source = Source::of(&name, text);
        read_tests(&mut source);
        let before = self.open.remove(&name);
        let readable = match (before, source.documents.is_empty()) {
            (_, false) => Some(source.clone()),
            (Some(before), true) => before.readable,
            (None, true) => None,
        };
        let folder = source.folder().to_owned();
        self.open.insert(name, Open { uri, version, source, readable });
        if !self.beside.contains_key(&folder) {
            self.look(&folder);
        }
        self.touch(&folder);
    }

    /// A file is no longer open.
    pub fn close(&mut self, uri: &Uri) {
        let name = name_of(uri);
        if let Some(open) = self.open.remove(&name) {
            let folder = open.source.folder().to_owned();
            self.changed.remove(&name);
            self.look(&folder);
            self.touch(&folder);
        }
    }

    /// A file was written to the disk: those beside it may have changed as well.
    pub fn saved(&mut self, uri: &Uri) {
        let name = name_of(uri);
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        self.look(&folder);
        self.touch(&folder);
    }

    /// An open file.
    pub fn get(&self, uri: &Uri) -> Option<&Open> {
        self.open.get(&name_of(uri))
    }

    /// A file by its name, open or not.
    pub fn named(&self, name: &str) -> Option<&Source> {
        let open = self.open.get(name).map(Open::best);
        open.or_else(|| self.beside.values().flatten().find(|source| source.name == name))
    }

    /// What can be referred to.
    pub fn all(&self) -> Set<'_> {
        Set::of(self.open.values().map(Open::best).chain(self.beside.values().flatten()))
    }

    /// The open files about which something else is to be said, once.
    pub fn take_changed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changed).into_iter().collect()
    }

    /// An open file by its name.
    pub fn open(&self, name: &str) -> Option<&Open> {
        self.open.get(name)
    }

    fn look(&mut self, folder: &str) {
        let found = if folder.starts_with('/') { beside(Path::new(folder)) } else { Vec::new() };
        self.beside.insert(folder.to_owned(), found);
        for sources in self.beside.values_mut() {
            sources.retain(|source| !self.open.contains_key(&source.name));
        }
    }

    fn touch(&mut self, folder: &str) {
        let here = self.open.values().filter(|open| open.source.folder() == folder);
        self.changed.extend(here.map(|open| open.source.name.clone()));
        if let Some(sources) = self.beside.get_mut(folder) {
            sources.retain(|source| !self.open.contains_key(&source.name));
        }
    }
}
