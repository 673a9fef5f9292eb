//! The objects of several files, and how one refers to another.

use std::collections::BTreeMap;

use ergon_api::{Document, Group, Object, PipelineSpec, StepActionSpec, TaskSpec, nearest};

use crate::Source;

/// All objects that others may refer to.
///
/// A name is looked for in the same file, then in the same folder, as `ergon run FOLDER` does, then in all files, where
/// it must be the only one.
#[derive(Debug, Default)]
pub struct Set<'a> {
    objects: BTreeMap<(&'static str, Group, &'a str), Vec<Entry<'a>>>,
}

#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    source: &'a Source,
    document: &'a Document,
}

/// What a look-up came to.
#[derive(Debug, Clone, Copy)]
pub enum Found<'a, T> {
    /// The one that is meant.
    One(&'a Source, &'a Document, &'a T),
    /// Several that may be meant.
    Several,
    /// None in these files.
    None,
}

impl<'a, T> Found<'a, T> {
    /// The one that is meant.
    pub fn one(self) -> Option<&'a T> {
        match self {
            Self::One(_, _, found) => Some(found),
            Self::Several | Self::None => None,
        }
    }
}

/// The kind, group and name of an object that can be referred to.
pub(crate) fn identity(object: &Object) -> Option<(&'static str, Group, &str)> {
    let (kind, group) = match object {
        Object::Task(object) => ("Task", object.group()),
        Object::Pipeline(object) => ("Pipeline", object.group()),
        Object::StepAction(object) => ("StepAction", object.group()),
        Object::TaskRun(object) => ("TaskRun", object.group()),
        Object::PipelineRun(object) => ("PipelineRun", object.group()),
        Object::CustomRun(_) | Object::Other(_) => return None,
    };
    Some((kind, group, object.name())).filter(|(_, _, name)| !name.is_empty())
}

impl<'a> Set<'a> {
    /// The objects of these files.
    pub fn of(sources: impl Iterator<Item = &'a Source>) -> Self {
        let mut objects: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for source in sources {
            for document in &source.documents {
                if let Some(identity) = identity(&document.object) {
                    objects.entry(identity).or_default().push(Entry { source, document });
                }
            }
        }
        Self { objects }
    }

    /// The Task of this name, seen from a file.
    pub fn task(&self, from: &Source, group: Group, name: &str) -> Found<'a, TaskSpec> {
        self.find(from, ("Task", group, name), |object| match object {
            Object::Task(task) => Some(&task.spec),
            _ => None,
        })
    }

    /// The Pipeline of this name, seen from a file.
    pub fn pipeline(&self, from: &Source, group: Group, name: &str) -> Found<'a, PipelineSpec> {
        self.find(from, ("Pipeline", group, name), |object| match object {
            Object::Pipeline(pipeline) => Some(&pipeline.spec),
            _ => None,
        })
    }

    /// The StepAction of this name, seen from a file.
    pub fn action(&self, from: &Source, group: Group, name: &str) -> Found<'a, StepActionSpec> {
        self.find(from, ("StepAction", group, name), |object| match object {
            Object::StepAction(action) => Some(&action.spec),
            _ => None,
        })
    }

    /// The names of all objects of a kind.
    pub fn names(&self, kind: &str, group: Group) -> impl Iterator<Item = &'a str> {
        let of_kind = self.objects.keys().filter(move |(known, of, _)| *known == kind && *of == group);
        of_kind.map(|(_, _, name)| *name)
    }

    /// The name that is nearest to one that there is not.
    pub fn near(&self, kind: &str, group: Group, name: &str) -> Option<&'a str> {
        nearest(name, self.names(kind, group))
    }

    /// The object of the same kind and name that comes before this one, in its file or its folder.
    pub(crate) fn twin(
        &self,
        source: &'a Source,
        document: &'a Document,
    ) -> Option<(&'a Source, &'a Document)> {
        let identity = identity(&document.object)?;
        let before = source.documents.iter().take_while(|other| !std::ptr::eq(*other, document));
        let mut same = before.filter(|other| self::identity(&other.object) == Some(identity));
        same.next().map(|other| (source, other)).or_else(|| {
            let entries = self.objects.get(&identity)?;
            let is_before = |other: &Source| other.folder() == source.folder() && other.name < source.name;
            entries.iter().find(|entry| is_before(entry.source)).map(|entry| (entry.source, entry.document))
        })
    }

    fn find<T>(
        &self,
        from: &Source,
        identity: (&'static str, Group, &str),
        spec: impl Fn(&'a Object) -> Option<&'a T>,
    ) -> Found<'a, T> {
        let Some(entries) = self.objects.get(&identity) else { return Found::None };
        let near = |is_near: &dyn Fn(&Source) -> bool| {
            let mut found = entries.iter().filter(|entry| is_near(entry.source));
            (found.next(), found.next().is_some())
        };
        let circles: [&dyn Fn(&Source) -> bool; 3] =
            [&|source| source.name == from.name, &|source| source.folder() == from.folder(), &|_| true];
        for circle in circles {
            match near(circle) {
                (Some(entry), false) => {
                    return spec(&entry.document.object)
                        .map_or(Found::None, |found| Found::One(entry.source, entry.document, found));
                }
                (Some(_), true) => return Found::Several,
                (None, _) => {}
            }
        }
        Found::None
    }
}
