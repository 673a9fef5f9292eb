//! What the watches have seen of one kind, and what we wrote ourselves and they have yet to deliver.
//!
//! Reads are from memory only. An object that we created or changed is put here at once, so that the next decision
//! is not made on older data; correctness never depends on that, since every write names what it is based on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use kube::Resource;
use tokio::sync::watch;

use crate::sync::lock;
use crate::trim::Trim;

/// How many deleted objects are remembered, so that the answer to a late write does not bring one back.
const GRAVES: usize = 4096;

/// A namespace and a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub namespace: String,
    pub name: String,
}

impl Name {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The name of an object; empty parts where it has none.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Objects of one kind by name and by owner.
#[derive(Debug)]
pub struct Cache<K> {
    inner: Mutex<Inner<K>>,
    synced: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner<K> {
    objects: BTreeMap<Name, Arc<K>>,
    /// UID of an owner to the names of what it owns.
    owned: HashMap<String, BTreeSet<Name>>,
    /// UIDs of objects deleted lately, oldest first.
    graves: VecDeque<String>,
    /// Names seen since a list began; none while no list is going on.
    listed: Option<HashSet<Name>>,
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        let inner =
            Inner { objects: BTreeMap::new(), owned: HashMap::new(), graves: VecDeque::new(), listed: None };
        Self { inner: Mutex::new(inner), synced: watch::Sender::new(false) }
    }
}

impl<K: Resource + Trim> Cache<K> {
    pub fn get(&self, name: &Name) -> Option<Arc<K>> {
        lock(&self.inner).objects.get(name).cloned()
    }

    /// All objects that name this owner, by name.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        let inner = lock(&self.inner);
        let names = inner.owned.get(uid);
        names.into_iter().flatten().filter_map(|name| inner.objects.get(name).cloned()).collect()
    }

    /// All objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let inner = lock(&self.inner);
        let from = inner.objects.range(Name::new(namespace, "")..);
        from.take_while(|(name, _)| name.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    pub fn len(&self) -> usize {
        lock(&self.inner).objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` with every object.
    pub fn for_each(&self, mut visit: impl FnMut(&K)) {
        lock(&self.inner).objects.values().for_each(|object| visit(object));
    }

    /// Takes an object that a watch delivered. False where what is here is as new.
    pub fn observe(&self, mut object: K) -> bool {
        let name = Name::of(&object);
        self.share(&name, &mut object);
        let mut inner = lock(&self.inner);
        if let Some(listed) = &mut inner.listed {
            listed.insert(name.clone());
        }
        inner.put(name, object)
    }

    /// Takes an object that the API server answered with. True where it was not here before.
    ///
    /// The watch will deliver it too, and [`Self::observe`] says then that it is known: whoever must act on it is to be
    /// told by the caller, and only after this has returned. Who is told earlier may look before the object is here,
    /// find nothing, and rest for good.
    pub fn written(&self, mut object: K) -> bool {
        let name = Name::of(&object);
        self.share(&name, &mut object);
        let mut inner = lock(&self.inner);
        let uid = object.meta().uid.clone().unwrap_or_default();
        if inner.graves.contains(&uid) {
            return false;
        }
        let is_here = inner.objects.get(&name).is_some_and(|known| known.meta().uid == object.meta().uid);
        inner.put(name, object);
        !is_here
    }

    /// Takes an object as it will be stored, in place of the same version of it. False where that is not here any more.
    pub fn assume(&self, object: K) -> bool {
        let mut inner = lock(&self.inner);
        let Some(known) = inner.objects.get_mut(&Name::of(&object)) else { return false };
        let is_same = known.meta().uid == object.meta().uid && version(known.as_ref()) == version(&object);
        if is_same {
            *known = Arc::new(object);
        }
        is_same
    }

    /// Makes an object share with the one that is here what is the same in both.
    fn share(&self, name: &Name, object: &mut K) {
        if let Some(known) = self.get(name) {
            object.share(&known);
        }
    }

    /// Takes a deletion that a watch delivered.
    pub fn delete(&self, object: &K) {
        let mut inner = lock(&self.inner);
        let uid = object.meta().uid.clone().unwrap_or_default();
        let name = Name::of(object);
        if inner.objects.get(&name).is_some_and(|known| known.meta().uid.as_deref() == Some(&uid)) {
            inner.remove(&name);
        }
        inner.bury(uid);
    }

    /// A list begins: what it does not have is gone when it ends.
    pub fn begin_list(&self) {
        lock(&self.inner).listed = Some(HashSet::new());
    }

    /// The list has ended. Gives the objects that are gone.
    pub fn end_list(&self) -> Vec<Arc<K>> {
        let mut inner = lock(&self.inner);
        let listed = inner.listed.take().unwrap_or_default();
        let gone: Vec<Name> = inner.objects.keys().filter(|name| !listed.contains(name)).cloned().collect();
        let gone = gone.iter().filter_map(|name| inner.remove(name)).collect();
        drop(inner);
        self.synced.send_replace(true);
        gone
    }

    /// Says that nothing keeps what is here up to date any more: until a whole list has been seen again.
    pub fn doubt(&self) {
        self.synced.send_replace(false);
    }

    /// Whether a whole list has been seen.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Waits until a whole list has been seen.
    pub async fn synced(&self) {
        let mut synced = self.synced.subscribe();
        // The sender lives as long as `self` does.
        let _ = synced.wait_for(|synced| *synced).await;
    }
}

impl<K: Resource> Inner<K> {
    fn put(&mut self, name: Name, object: K) -> bool {
        if let Some(known) = self.objects.get(&name) {
            let same = known.meta().uid == object.meta().uid;
            if same && version(known.as_ref()) >= version(&object) {
                return false;
            }
            self.remove(&name);
        }
        for owner in object.meta().owner_references.iter().flatten() {
            self.owned.entry(owner.uid.clone()).or_default().insert(name.clone());
        }
        self.objects.insert(name, Arc::new(object));
        true
    }

    fn remove(&mut self, name: &Name) -> Option<Arc<K>> {
        let object = self.objects.remove(name)?;
        for owner in object.meta().owner_references.iter().flatten() {
            if let Some(names) = self.owned.get_mut(&owner.uid) {
                names.remove(name);
                if names.is_empty() {
                    self.owned.remove(&owner.uid);
                }
            }
        }
        Some(object)
    }

    fn bury(&mut self, uid: String) {
        if self.graves.len() >= GRAVES {
            self.graves.pop_front();
        }
        self.graves.push_back(uid);
    }
}

/// Resource versions are numbers that grow, and may be compared for one kind (promised since Kubernetes 1.35, and so
/// in every release before).
fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, uid: &str, version: u64, owner: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {
            "namespace": "ns", "name": name, "uid": uid, "resourceVersion": version.to_string(),
            "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": owner}],
        }}))
        .expect("a pod")
    }

    fn seen(cache: &Cache<Pod>) -> Option<String> {
        cache.get(&Name::new("ns", "a"))?.metadata.resource_version.clone()
    }

    #[test]
    fn the_newer_of_a_watch_and_a_write_stays() {
        let cache = Cache::default();
        assert!(cache.observe(pod("a", "u", 5, "o")));
        assert!(!cache.written(pod("a", "u", 7, "o")), "it was here");
        assert!(!cache.observe(pod("a", "u", 6, "o")), "the watch lags");
        assert_eq!(seen(&cache).as_deref(), Some("7"));
        assert!(cache.observe(pod("a", "u", 8, "o")));
    }

    #[test]
    fn a_late_answer_does_not_bring_a_deleted_object_back() {
        let cache = Cache::default();
        cache.observe(pod("a", "u", 5, "o"));
        cache.delete(&pod("a", "u", 6, "o"));
        assert!(!cache.written(pod("a", "u", 5, "o")));
        assert_eq!(seen(&cache), None);
        assert!(cache.written(pod("a", "other", 9, "o")), "a namesake is new");
        cache.delete(&pod("a", "u", 6, "o"));
        assert_eq!(seen(&cache).as_deref(), Some("9"), "a namesake stays");
    }

    #[test]
    fn owners_are_indexed() {
        let cache = Cache::default();
        cache.observe(pod("b", "1", 1, "o"));
        cache.observe(pod("a", "2", 2, "o"));
        cache.observe(pod("c", "3", 3, "p"));
        let names = |uid: &str| -> Vec<_> {
            cache.owned_by(uid).iter().filter_map(|pod| pod.metadata.name.clone()).collect()
        };
        assert_eq!(names("o"), ["a", "b"]);
        cache.delete(&pod("a", "2", 4, "o"));
        cache.observe(pod("b", "1", 5, "p"));
        assert!(names("o").is_empty());
        assert_eq!(names("p"), ["b", "c"]);
        assert_eq!(lock(&cache.inner).owned.len(), 1);
    }

    #[test]
    fn a_namespace_is_one_and_not_those_whose_names_begin_like_it() {
        let cache = Cache::default();
        for (namespace, name) in [("ns", "b"), ("ns", "a"), ("n", "c"), ("ns-2", "d"), ("nt", "e")] {
            let mut pod = pod(name, name, 1, "o");
            pod.metadata.namespace = Some(namespace.to_owned());
            cache.observe(pod);
        }
        let names: Vec<_> =
            cache.in_namespace("ns").iter().filter_map(|pod| pod.metadata.name.clone()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(cache.in_namespace("other").is_empty());
    }

    #[tokio::test]
    async fn a_list_forgets_what_it_does_not_have() {
        let cache = Cache::default();
        cache.observe(pod("a", "1", 1, "o"));
        cache.observe(pod("b", "2", 2, "o"));
        cache.begin_list();
        cache.observe(pod("b", "2", 2, "o"));
        cache.observe(pod("c", "3", 3, "o"));
        let gone = cache.end_list();
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].metadata.name.as_deref(), Some("a"));
        assert_eq!(cache.len(), 2);
        cache.synced().await;
    }
}
