//! What is fetched once and what each time.

use std::sync::Arc;

use ergon_resolve::Resolvers;

use crate::bundles::{Registry, archive, is};
use crate::git::Repositories;
use crate::serve::{self, Seen};
use crate::world::{World, request};

#[tokio::test]
async fn a_commit_is_fetched_once_and_a_branch_each_time() {
    let repositories = Repositories::new(&[]);
    let (seen, commit) = (Seen::default(), repositories.of("main"));
    let url = format!("http://{}/r.git", serve::plain(seen.watch(repositories.server(true))).await);
    let (world, resolvers) = (World::default(), Resolvers::new(false));
    let ask = async |revision: &str, mode: &str| {
        let before = seen.asked().len();
        let params =
            [("url", url.as_str()), ("revision", revision), ("pathInRepo", "task.yaml"), ("cache", mode)];
        let found = resolvers.resolve(&world, &request("git", &params)).await.unwrap();
        let operation = found.annotations.get("resolution.tekton.dev/cache-operation").cloned();
        let is_asked = seen.asked().len() > before;
        (String::from_utf8(found.data).unwrap(), operation.unwrap_or_default(), is_asked)
    };
    for (revision, mode, operation, is_asked) in [
        (&*commit, "auto", "store", true),
        (&commit, "", "retrieve", false),
        (&commit, "never", "", true),
        ("main", "auto", "", true),
        ("main", "always", "store", true),
    ] {
        assert_eq!(
            ask(revision, mode).await,
            ("new".to_owned(), operation.to_owned(), is_asked),
            "{revision}"
        );
    }
    repositories.write("task.yaml", "newer");
    repositories.commit("third");
    assert_eq!(ask("main", "always").await, ("new".to_owned(), "retrieve".to_owned(), false));
    assert_eq!(ask("main", "auto").await, ("newer".to_owned(), String::new(), true));
    let why = resolvers.resolve(&world, &request("git", &[("cache", "often")])).await.unwrap_err();
    assert_eq!(
        why.to_string(),
        "invalid cache mode 'often', must be one of: [always never auto] (or empty for default)"
    );
}

#[tokio::test]
async fn many_ask_at_once_and_the_registry_is_asked_once() {
    let mut registry = Registry::default();
    let name = registry.add("b", &[(&archive("a task"), is("task", "t"))]);
    let seen = Seen::default();
    let address = serve::plain(seen.watch(registry.serve())).await;
    let world = Arc::new(World::default());
    for (reference, mode, expected) in [("@", "auto", 1), ("", "always", 1), ("", "auto", 10)] {
        let name = if reference == "@" { name.as_str() } else { "" };
        let bundle = format!("{address}/b{reference}{name}");
        let (resolvers, before) = (Arc::new(Resolvers::new(false)), seen.asked().len());
        let asking: Vec<_> = (0..10)
            .map(|_| {
                let (world, resolvers) = (Arc::clone(&world), Arc::clone(&resolvers));
                let asked = request("bundles", &[("bundle", &bundle), ("name", "t"), ("cache", mode)]);
                tokio::spawn(async move { resolvers.resolve(&*world, &asked).await })
            })
            .collect();
        for asked in asking {
            assert_eq!(asked.await.unwrap().unwrap().data, b"a task");
        }
        let manifests =
            seen.asked().split_off(before).into_iter().filter(|asked| asked.contains("/manifests/"));
        assert_eq!(manifests.count(), expected, "{reference} {mode}");
    }
}
